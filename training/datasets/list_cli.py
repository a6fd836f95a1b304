"""``crystal-search dataset disagreements`` and ``dataset unpack``."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import click

from crystal_search.atomic import write_atomically
from crystal_search.errors import CrystalSearchError, TryAgainLater, UsageError
from crystal_search.settings import load_settings
from crystal_search.xtaltrak import open_xtaltrak
from training.datasets.disagreements import as_csv, from_ledger, from_scores, of_no_use
from training.datasets.from_xtaltrak import read_xtaltrak
from training.datasets.unpack import unpack
from training.evaluation.labels import read_labels
from training.evaluation.scores import read_scores

_log = logging.getLogger("dataset")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("disagreements")
@click.argument("scores", type=_FILE, required=False)
@click.option("--labels", type=_FILE, help="CSV: what people said of the images of SCORES.")
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Without SCORES: settings of XtalTrak and the ledger.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="CSV file for `dataset build --labels`.")
def disagreements(scores: Path | None, labels: Path | None, settings_file: Path | None, out: Path) -> None:
    """Lists the images that a person and the ARTscore put into different groups.

    With SCORES, a scores.csv, and --labels, or without both from XtalTrak and the ledger. Look at the list: where the person is wrong,
    correct the column label or delete the row; then `dataset build --labels` makes training chops of it.
    """
    if (scores is None) != (labels is None):
        raise UsageError("SCORES and --labels belong together: name both, or neither for XtalTrak and the ledger")
    if scores and labels:
        found = from_scores(read_labels(labels), read_scores(scores, str(scores)).scores)
    else:
        settings = load_settings(settings_file)
        with open_xtaltrak(settings.xtaltrak) as database:
            people = read_xtaltrak(database, settings)
        found = from_ledger(people, settings.ledger_url)
    try:
        write_atomically(out, as_csv(found))
    except OSError as error:
        raise TryAgainLater(f"can not write {out} ({error.strerror})") from error
    kinds = Counter(one.kind for one in found)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none"
    click.echo(f"{out}: {len(found)} disagreements ({told}); {of_no_use(found)} of empty wells, which no training takes")


@click.command("unpack")
@click.argument("files", metavar="TFRECORD...", nargs=-1, required=True, type=_FILE)
@click.option("--label-names", default="", help="What the numbers in image/class/label mean, from 0 on: Name,Name,...")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the images and labels.csv.")
def unpack_tfrecords(files: tuple[Path, ...], label_names: str, out: Path) -> None:
    """Writes the images of TFRecords and a labels.csv, to score and to evaluate with: MARCO's test split, for example."""
    found = unpack(files, [name.strip() for name in label_names.split(",") if name.strip()], out)
    for line in found.problems:
        _log.warning("left out %s", line)
    click.echo(f"wrote {len(found.images)} images and {out / 'labels.csv'}")
    if found.problems:
        raise CrystalSearchError(f"{out} is finished; {len(found.problems)} records were left out, one line each above")
