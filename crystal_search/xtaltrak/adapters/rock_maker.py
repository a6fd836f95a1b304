"""Rock Maker's image tree, alone or beside its CSV export.

``<base>/WellImages/<plate id % 1000>/plateID_<id>/batchID_<id>/wellNum_<n>/profileID_<n>/d<drop>_r<region>_<kind>.jpg``; the kind
``ef`` is the extended focus image, ``th`` a thumbnail. A batch is one imaging of a plate, so an inspection. The tree says neither
when nor by which imager; the export does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from crystal_search.errors import UsageError
from crystal_search.plate import Drop, Well
from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.adapters.csv_list import Cells, rows_of, whole_number
from crystal_search.xtaltrak.adapters.source_image import SkippedError, SourceImage, imager_number, moment

NEEDED = ("BatchID", "DateImaged", "DropNum", "ImagerName", "PlateID", "ProfileID", "WellColNum", "WellNum", "WellRowLetter")

#: Rows and columns of a plate by its number of wells; Rock Maker numbers wells row by row.
FORMATS: Mapping[int, tuple[int, int]] = {24: (4, 6), 48: (6, 8), 96: (8, 12), 384: (16, 24), 1536: (32, 48)}
_NAME = re.compile(r"d(\d{1,2})_r(\d{1,6})_([A-Za-z0-9]+)\.(?:jpe?g|png|tiff?)", re.IGNORECASE)
_ORIGIN = "RockMaker"

#: A plate's inspection numbers by Rock Maker's batch.
Numbers = dict[int, int]


@dataclass(frozen=True, slots=True)
class Tree:
    """What is read: the folder above or at ``WellImages``, the kinds of images, and the plates' number of wells."""

    base: Path
    kinds: frozenset[str]
    wells: int | None

    @property
    def root(self) -> Path:
        """``WellImages``. Raises ``UsageError`` when there is none."""
        for folder in (self.base / "WellImages", self.base):
            if folder.name == "WellImages" and folder.is_dir():
                return folder
        raise UsageError(f"{self.base}: no folder WellImages there")

    def folder(self, plate: int, batch: int, well: int, profile: int) -> Path:
        """Where the images of a well lie."""
        return self.root / str(plate % 1000) / f"plateID_{plate}" / f"batchID_{batch}" / f"wellNum_{well}" / f"profileID_{profile}"


def well_of(number: int, wells: int) -> Well:
    """The well of a number from 1 on, row by row, on a plate of so many wells. Raises ``ValueError``.

    >>> well_of(13, 96).label, well_of(384, 384).label
    ('B01', 'P24')
    """
    _, columns = FORMATS[wells]
    if not 1 <= number <= wells:
        raise ValueError(f"well {number} is not on a plate of {wells} wells")
    return Well((number - 1) % columns + 1, (number - 1) // columns + 1)


# ---- with the export ------------------------------------------------------------------------------------------------


def read_export(xtaltrak: XtalTrak, tree: Tree, export: Path, date_format: str | None) -> Iterator[SourceImage | SkippedError]:
    """The images that the export's rows name, from the tree. A column ``Barcode``, if there is one, names the plate."""
    plates: dict[str, dict[int, datetime]] = {}
    for _, cells in rows_of(export, NEEDED):  # numbers follow the dates, wherever the rows stand
        if not isinstance(cells, SkippedError):
            try:
                row = _read_row(cells, date_format)
            except ValueError:
                continue  # the second reading says so
            seen = plates.setdefault(row.barcode, {})
            seen[row.batch] = min(row.taken_at, seen.get(row.batch, row.taken_at))
    numbers = {barcode: inspection_numbers(xtaltrak, barcode, sorted(seen, key=lambda b: (seen[b], b))) for barcode, seen in plates.items()}
    for line, cells in rows_of(export, NEEDED):
        where = f"{export.name} line {line}"
        try:
            if isinstance(cells, SkippedError):
                raise cells
            yield from _images_of_row(_read_row(cells, date_format), tree, numbers, where)
        except ValueError as error:
            yield SkippedError(f"{where}: {error}")
        except SkippedError as error:
            yield error


@dataclass(frozen=True, slots=True)
class _Row:
    barcode: str
    plate: int
    batch: int
    well_number: int
    well: Well
    drop: int
    profile: int
    taken_at: datetime
    imager: int


def _read_row(cells: Cells, date_format: str | None) -> _Row:
    plate = whole_number("PlateID", cells["PlateID"])
    return _Row(
        barcode=cells.get("Barcode") or _barcode(plate),
        plate=plate,
        batch=whole_number("BatchID", cells["BatchID"]),
        well_number=whole_number("WellNum", cells["WellNum"]),
        well=Well.from_label(f"{cells['WellRowLetter']}{whole_number('WellColNum', cells['WellColNum'])}"),
        drop=whole_number("DropNum", cells["DropNum"]),
        profile=whole_number("ProfileID", cells["ProfileID"]),
        taken_at=moment(cells["DateImaged"], date_format),
        imager=imager_number(cells["ImagerName"]),
    )


def _images_of_row(row: _Row, tree: Tree, numbers: Mapping[str, Numbers], where: str) -> Iterator[SourceImage]:
    if tree.wells is not None and row.well != well_of(row.well_number, tree.wells):
        expected = well_of(row.well_number, tree.wells).label
        raise ValueError(f"well {row.well_number} of {tree.wells} is {expected}, the row says {row.well.label}")
    folder = tree.folder(row.plate, row.batch, row.well_number, row.profile)
    found = [(path, match) for path, match in _images_in(folder, tree.kinds) if int(match[1]) == row.drop]
    if not found:
        raise SkippedError(f"{where}: no image of drop {row.drop} in {folder}")
    for path, match in found:
        yield _source(path, match, row.barcode, row.batch, numbers[row.barcode][row.batch], row.well, row.profile, row.taken_at, row.imager)


# ---- the tree alone -------------------------------------------------------------------------------------------------


def read_tree(xtaltrak: XtalTrak, tree: Tree) -> Iterator[SourceImage | SkippedError]:
    """Every image of the tree. Its time is its file's, its imager 0, and the well that of a plate of ``wells``, 96 unless given."""
    for bucket in _folders(tree.root, r"(\d+)"):
        for plate_folder, plate in _numbered(bucket, "plateID"):
            if plate % 1000 != int(bucket.name):
                yield SkippedError(f"{plate_folder}: plate {plate} belongs into the folder {plate % 1000}")
                continue
            barcode = _barcode(plate)
            batches = [(folder, batch) for folder, batch in _numbered(plate_folder, "batchID")]
            numbers = inspection_numbers(xtaltrak, barcode, [batch for _, batch in batches])
            for folder, batch in batches:
                yield from _images_of_batch(tree, folder, barcode, batch, numbers[batch])


def _images_of_batch(tree: Tree, batch_folder: Path, barcode: str, batch: int, inspection: int) -> Iterator[SourceImage | SkippedError]:
    for well_folder, well_number in _numbered(batch_folder, "wellNum"):
        try:
            well = well_of(well_number, tree.wells or 96)
        except ValueError as error:
            yield SkippedError(f"{well_folder}: {error}; --wells says how many there are")
            continue
        for folder, profile in _numbered(well_folder, "profileID"):
            try:
                for path in sorted(folder.iterdir()):
                    if not path.name.startswith(".") and not _NAME.fullmatch(path.name):
                        yield SkippedError(f"{path}: not a name such as d1_r1_ef.jpg")
                for path, match in _images_in(folder, tree.kinds):
                    taken_at = datetime.fromtimestamp(path.stat().st_mtime).replace(microsecond=0)
                    yield _source(path, match, barcode, batch, inspection, well, profile, taken_at, 0)
            except OSError as error:
                yield SkippedError(f"{error.filename}: can not be read ({error.strerror})")


# ---- both -----------------------------------------------------------------------------------------------------------


def inspection_numbers(xtaltrak: XtalTrak, barcode: str, batches: Sequence[int]) -> Numbers:
    """The inspection number of each batch of a plate: the one it has in XtalTrak, or in that order the next ones after all there."""
    known: Numbers = {}
    highest = 0
    for number, name in xtaltrak.query("plate_inspections", {"barcode": barcode}):
        highest = max(highest, int(number))
        fields = (name or "").split("_")
        if fields[0] == _ORIGIN:
            known[int(fields[5])] = int(number)
    for batch in batches:
        if batch not in known:
            highest += 1
            known[batch] = highest
    return known


def _source(
    path: Path, match: re.Match[str], barcode: str, batch: int, inspection: int, well: Well, profile: int, taken_at: datetime, imager: int
) -> SourceImage:
    return SourceImage(
        path=path,
        drop=Drop(barcode, well, int(match[1])),
        inspection=inspection,
        taken_at=taken_at,
        imager=imager,
        profile=f"RM{profile}",
        origin=(_ORIGIN, str(batch)),
        remark=f"r{match[2]}-{match[3].lower()}",
        where=str(path),
    )


def _barcode(plate: int) -> str:
    return f"RM{plate}"


def _images_in(folder: Path, kinds: frozenset[str]) -> list[tuple[Path, re.Match[str]]]:
    """The images of those kinds in a folder, in order; none where there is no such folder."""
    if not folder.is_dir():
        return []
    matches = ((path, _NAME.fullmatch(path.name)) for path in sorted(folder.iterdir()))
    return [(path, match) for path, match in matches if match and match[3].lower() in kinds]


def _numbered(folder: Path, what: str) -> list[tuple[Path, int]]:
    """The folders ``<what>_<number>``, by number."""
    found = [(path, int(path.name.rpartition("_")[2])) for path in _folders(folder, rf"{what}_(\d+)")]
    return sorted(found, key=lambda item: item[1])


def _folders(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if re.fullmatch(pattern, path.name) and path.is_dir())
    except OSError as error:
        raise UsageError(f"{error.filename}: can not be read ({error.strerror})") from error
