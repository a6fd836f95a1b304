"""Which image has which scale, where a person knows it: from one number, or from a table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crystal_search.csv_table import read_csv
from crystal_search.errors import UsageError

#: Columns that name the image; the second is that of a labels file.
NAME_COLUMNS = ("image", "file")
SCALE_COLUMN = "um_per_px"
MOST_UM_PER_PX = 1000.0


@dataclass(frozen=True, slots=True)
class Scales:
    """``known`` maps an image's name to its scale in um/px, ``default`` is that of the others (None: not known)."""

    default: float | None = None
    known: Mapping[str, float] = field(default_factory=dict)

    def of(self, image: str) -> float | None:
        """The scale of an image in um/px, None where nobody knows it.

        >>> Scales(1.13, {"a.jpg": 2.84}).of("a.jpg"), Scales(1.13).of("a.jpg"), Scales().of("a.jpg")
        (2.84, 1.13, None)
        """
        return self.known.get(image, self.default)


def scale_of(text: str, image: str) -> float | None:
    """A scale in um/px as a table gives it; none, and one with a question mark, counts as not known. Raises ``UsageError``.

    >>> scale_of("1.131", "a.jpg"), scale_of("2.8?", "a.jpg"), scale_of("", "a.jpg")
    (1.131, None, None)
    """
    if not text or text.endswith("?"):
        return None
    try:
        scale = float(text)
    except ValueError:
        scale = -1.0
    if not 0 < scale <= MOST_UM_PER_PX:
        raise UsageError(f"{image}: um_per_px {text!r} is not a scale in um/px, a number up to {MOST_UM_PER_PX:g} such as 2.26")
    return scale


def read_scales(path: Path, images: Collection[str], default: float | None) -> Scales:
    """The scales that the CSV ``path`` gives for ``images``; rows of other images are passed over, and ``default`` is for the rest.

    Raises ``UsageError`` with one line for a file that can not be read, lacks a column or has a number that is no scale, and where it
    names none of the images.
    """
    lines = read_csv(path, (SCALE_COLUMN,))
    named = [column for column in NAME_COLUMNS if column in lines[0].cells]
    if not named:
        raise UsageError(f"{path}: no column {' or '.join(map(repr, NAME_COLUMNS))}; the columns are {', '.join(lines[0].cells)}")
    wanted: dict[str, float | None] = {}
    for line in lines:
        name, text = line.cells[named[0]], line.cells[SCALE_COLUMN]
        if name not in images:
            continue
        try:
            scale = scale_of(text, name)
        except UsageError as error:
            raise UsageError(f"{path} line {line.number}: {error}") from error
        if wanted.setdefault(name, scale) != scale:
            raise UsageError(f"{path} line {line.number}: another scale for {name} than in a line before")
    if not wanted:
        raise UsageError(f"{path}: names none of the {len(images)} images; names are those of scores.csv, relative to the folder given")
    return Scales(default, {name: scale for name, scale in wanted.items() if scale is not None})
