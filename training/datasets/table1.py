"""Table 1 for the lab's own data: images, UV pairs and chops of each class, the paper's counts beside it as reference (P3, P4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table

from crystal_search.classes import BY_NAME, CRYSTAL_CLASSES, NAMES
from training.datasets.build import ShardReport
from training.datasets.split import PARTS

#: P3 and P4, in the order of ``NAMES``; other labs will have others.
PAPER_IMAGES = dict(zip(NAMES, (3428, 2123, 2873, 10994, 1142, 1459, 515, 788, 189, 1946, 7613, 802), strict=False))
PAPER_UV_PAIRS = dict(zip(CRYSTAL_CLASSES, (2527, 1091, 1409), strict=True))
PAPER_CHOPS = dict(zip(NAMES, (21164, 7733, 14381, 56534, 13593, 9569, 2608, 7974, 813, 7326, 159687, 4603, 18666), strict=True))


@dataclass(frozen=True, slots=True)
class Row:
    """The counts of one class. ``images`` were scored so; ``used`` of them gave at least one chop; ``chops`` by part."""

    class_name: str
    images: int
    used: int
    uv_pairs: int
    chops: dict[str, int]


def count(reports: Iterable[ShardReport]) -> list[Row]:
    """One row a class, in the order of the table of classes. Rim has chops only: they come from images of clear drops (P11)."""
    images: Counter[str] = Counter()
    used: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    chops: dict[str, Counter[str]] = {name: Counter() for name in NAMES}
    for report in reports:
        for image in report.images:
            images[image.class_name] += 1
            used[image.class_name] += bool(image.chops)
            pairs[image.class_name] += image.uv
            for name, number in image.chops.items():
                chops[name][report.part] += number
    return [Row(name, images[name], used[name], pairs[name], {part: chops[name][part] for part in PARTS}) for name in NAMES]


def warnings(rows: Sequence[Row], reports: Sequence[ShardReport]) -> list[str]:
    """One line for each thing that a training would suffer from."""
    lines = []
    if none := [row.class_name for row in rows if not row.images and row.class_name != "rim"]:
        lines.append(f"no images of {', '.join(none)}: a network can not learn these from this data set")
    for row in rows:
        if row.images and not sum(row.chops.values()):
            why = (
                ", for want of UV mates (P9; see --without-uv and --chromophore)"
                if row.class_name in CRYSTAL_CLASSES and not row.uv_pairs
                else ""
            )
            lines.append(f"{row.class_name}: {row.images} images and not one chop{why}")
    for part in PARTS:
        if not any(row.chops[part] for row in rows):
            lines.append(f"no chops for {part}: more plates are needed")
    if no_drop := sum(image.no_drop for report in reports for image in report.images):
        lines.append(f"no drop found in {no_drop} images")
    return lines


def table(rows: Sequence[Row]) -> Table:
    """The rows as a table for the terminal, 80 columns wide."""
    made = Table(title="Scored images and their chops; the last two columns are the paper's", box=None, padding=(0, 1, 0, 0))
    made.add_column("class", no_wrap=True)
    for heading in ("images", "UV", "train", "valid", "test", "chops"):
        made.add_column(heading, justify="right")
    for heading in ("P3", "P4"):
        made.add_column(heading, justify="right", style="bright_black")
    for row in rows:
        reference = PAPER_IMAGES.get(row.class_name, ""), PAPER_CHOPS[row.class_name]
        made.add_row(BY_NAME[row.class_name].title, *map(str, (*_cells(row), *reference)))
    totals = [sum(column) for column in zip(*map(_cells, rows), strict=True)]
    made.add_row("all", *map(str, (*totals, sum(PAPER_IMAGES.values()), sum(PAPER_CHOPS.values()))), style="bold")
    return made


def _cells(row: Row) -> list[int]:
    chops = [row.chops[part] for part in PARTS]
    return [row.images, row.uv_pairs, *chops, sum(chops)]
