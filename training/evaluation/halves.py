"""The open real images in two halves: one that models are chosen on, one that they are judged by (decision 0009).

``python -m training.evaluation.halves LABELS --out DIR`` writes ``choosing.csv`` and ``judging.csv``, which ``crystal-search evaluate`` and
``calibrate`` read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from crystal_search.atomic import write_atomically
from crystal_search.csv_table import Line, read_csv
from crystal_search.errors import CrystalSearchError, UsageError

COLUMNS = ("image", "label", "plate", "well", "source", "um_per_px")
#: Collections that lie in one half as a whole, and that are dealt out image by image.
CHOOSING = frozenset({"diamond_chimp", "marco_samples"})
JUDGING = frozenset({"minstrel_wells_RGKU", "diamond_crystalmatch"})
ALTERNATING = frozenset({"rockimager_empty_90j8", "clear_drops_J000597"})
#: The one plate that is split: by the row of the well.
PLATE = "minstrel_plate_CI022987"
CHOOSING_ROWS = frozenset("ABCD")
NEEDED = ("file", "label", "plate", "well", "um_per_px")


def halve(lines: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """The rows for choosing and those for judging, each in the order of the file.

    Raises ``UsageError`` for an image of a collection that the rule does not know: which half it is in has to be decided first.
    """
    position = _positions(lines)
    choosing = {line.number: _is_for_choosing(line.cells, position[line.number]) for line in lines}
    return [line for line in lines if choosing[line.number]], [line for line in lines if not choosing[line.number]]


def collection(file: str) -> str:
    """The first folder of an image's path."""
    return file.partition("/")[0]


def _positions(lines: Sequence[Line]) -> dict[int, int]:
    """Each row's place among its collection's images, sorted by name, from 0."""
    counts: dict[str, int] = {}
    positions: dict[int, int] = {}
    for line in sorted(lines, key=lambda line: line.cells["file"]):
        name = collection(line.cells["file"])
        positions[line.number] = counts.get(name, 0)
        counts[name] = positions[line.number] + 1
    return positions


def _is_for_choosing(cells: Mapping[str, str], position: int) -> bool:
    name = collection(cells["file"])
    if name in ALTERNATING:
        return position % 2 == 0
    if name == PLATE:
        return cells["well"][:1] in CHOOSING_ROWS
    if name in CHOOSING | JUDGING:
        return name in CHOOSING
    raise UsageError(f"{cells['file']}: decision 0009 does not say which half the images of {name} are in")


def table(lines: Sequence[Line]) -> bytes:
    """The rows as a labels file; an image's collection is its source."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cells in (line.cells for line in lines):
        writer.writerow(
            [cells["file"], *(cells[name] for name in ("label", "plate", "well")), collection(cells["file"]), cells["um_per_px"]]
        )
    return text.getvalue().encode("utf-8")


@click.command()
@click.argument("labels", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the three labels files.")
def main(labels: Path, out: Path) -> None:
    """Split the labels of the real images into those for choosing and those for judging."""
    try:
        choosing, judging = halve(read_csv(labels, NEEDED))
        for name, lines in (("choosing", choosing), ("judging", judging), ("all", [*choosing, *judging])):
            write_atomically(out / f"{name}.csv", table(lines))
            click.echo(f"{out / name}.csv: {len(lines)} images")
    except CrystalSearchError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
