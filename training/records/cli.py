"""``crystal-search dataset records`` and ``dataset from-records``."""

from __future__ import annotations

from pathlib import Path

import click

from crystal_search.classes import NAMES
from crystal_search.errors import TryAgainLater
from training.chops import WINDOW
from training.datasets.loading import read_dataset, read_test
from training.evaluation.comparison.tables import markdown
from training.records.classes import WHITE, read_classes
from training.records.reading import to_dataset
from training.records.writing import CLASSES_TXT, FORMS, Encoding

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("records")
@click.argument("folder", metavar="DATASET", type=_FOLDER)
@click.option("--out", type=_FOLDER, required=True, help="Folder for the files.")
@click.option("--form", "forms", type=click.Choice(list(FORMS)), multiple=True, default=list(FORMS), help="Forms. [default: all three]")
@click.option("--encoding", type=click.Choice(["jpg", "png"]), default="jpg", show_default=True, help="Of chops; png loses nothing.")
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Of jpg; im2rec's default.")
@click.option("--window", type=click.IntRange(32, 1024), default=WINDOW, show_default=True, help="That the data set was built with.")
def records(folder: Path, out: Path, forms: tuple[str, ...], encoding: str, quality: int, window: int) -> None:
    """Writes a data set as record files: MXNet's .rec, TensorFlow's TFRecord, HDF5.

    Each part of the split gets its own files. Chops are gray, brightness 0 to 1.6 of an image's 92nd percentile on bytes 0 to 255.
    """
    data = read_dataset(folder, window)
    parts = {"training": data.training, "validation": data.validation, "test": read_test(data)}
    packed, totals = Encoding(encoding, quality), dict.fromkeys(forms, 0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for part, chops in parts.items():
            for form in forms:
                if chops is not None:
                    totals[form] += sum(file.stat().st_size for file in FORMS[form](out, part, chops, packed))
    except OSError as error:
        raise TryAgainLater(f"can not write to {out} ({error.strerror})") from error
    plain = totals.get("hdf5")
    rows = [[form, f"{size / 1e6:.1f}", f"{plain / size:.1f}" if plain else "-"] for form, size in totals.items()]
    click.echo(markdown(["form", "MB", "times smaller than HDF5 (the paper's .rec: 3.4)"], rows))


@click.command("from-records")
@click.argument("training", type=_FILE)
@click.argument("validation", type=_FILE)
@click.option("--test", type=_FILE, help="A third record file, of test plates.")
@click.option("--out", type=_FOLDER, required=True, help="The data set's folder, a new one.")
@click.option("--classes", type=_FILE, help=f"What the labels mean, a class a line. [default: {CLASSES_TXT} beside TRAINING, or all 13]")
@click.option("--window", type=click.IntRange(32, 1024), default=WINDOW, show_default=True, help="Side in px of the chops to train on.")
@click.option(
    "--white",
    type=click.FloatRange(0.0, min_open=True),
    default=WHITE,
    show_default=True,
    help="Byte of brightness 1; raw images: some 200.",
)
def from_records(training: Path, validation: Path, test: Path | None, out: Path, classes: Path | None, window: int, white: float) -> None:
    """Makes a data set of MXNet record files, so that a lab's own can be trained on."""
    beside = training.parent / CLASSES_TXT
    names = read_classes(classes or beside) if classes or beside.is_file() else list(NAMES)
    parts = {"training": training, "validation": validation} | ({"test": test} if test else {})
    counts = to_dataset(parts, names, out, window, white)
    click.echo(f"wrote {out}: {', '.join(f'{count} chops for {part}' for part, count in counts.items())}")
