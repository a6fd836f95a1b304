"""The embedded XtalTrak: XtalTrak's tables in a SQLite file, filled from a folder of CrystalTrak-named images.

It is the default where there is no Oracle, and the ground of the demo and of the tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import Any

from crystal_search import settings
from crystal_search.atomic import write_atomically
from crystal_search.crystaltrak_names import PICTURE_MARK, MalformedNameError, parse_image_name
from crystal_search.errors import SettingsError, UsageError
from crystal_search.plate import Drop
from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.images import database_time
from crystal_search.xtaltrak.sqlite import connect_sqlite

#: In this order, so that what a table refers to is there before it.
_CREATE = (
    "create_projects",
    "create_plates",
    "create_samples",
    "create_plate_drops",
    "create_sample_families",
    "create_well_conditions",
    "create_i_plate_inspections",
    "create_i_inspections",
    "create_i_images",
    "create_i_scores",
    "create_i_scores_index",
    "create_artscore_seq",
    "start_artscore_seq",
)


@dataclass(frozen=True, slots=True)
class Report:
    """What was brought in: the number of images that are new, and one line for each file that was skipped."""

    added: int
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image as it enters the embedded XtalTrak; ``taken_at`` is the lab's local time."""

    drop: Drop
    inspection: int
    taken_at: datetime
    name: str


def create_embedded(section: settings.XtalTrak) -> XtalTrak:
    """Open the embedded XtalTrak of the settings, made first where it is not there; one that is there is left as it is."""
    try:
        section.database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"xtaltrak.database: {error.filename}: can not be made ({error.strerror})") from error
    xtaltrak = connect_sqlite(section)
    with xtaltrak.transaction():
        for name in _CREATE:
            xtaltrak.execute(name)
        xtaltrak.guard_own_rows()
    xtaltrak.make_own_tables()
    return xtaltrak


def load_images(xtaltrak: XtalTrak, image_root: Path) -> Report:
    """Bring plates, inspections and images of ``<image root>/<barcode>/<inspection number>/<name>`` into the embedded XtalTrak.

    What the database has already stays as it is. A file with a malformed name, or in a folder that its name contradicts, is
    skipped with one line, never guessed. The day of the name is the date of the inspection. Raises ``UsageError``.
    """
    images: list[LoadedImage] = []
    skipped: list[str] = []
    for path in _files(image_root):
        try:
            name = parse_image_name(path.name)
        except MalformedNameError as error:
            skipped.append(str(error))
            continue
        if path.parent != image_root / name.folder:
            skipped.append(f"{path.name!r}: lies in {path.parent}, its name says {name.folder}")
            continue
        images.append(LoadedImage(name.drop, name.inspection_number, datetime.combine(name.taken_on, time()), name.file_name))
    return Report(insert_images(xtaltrak, images), tuple(skipped))


def insert_images(xtaltrak: XtalTrak, images: Iterable[LoadedImage]) -> int:
    """Bring images with their plates and inspections in, in one transaction; the number of images that were not there yet."""
    rows: list[dict[str, Any]] = [
        {
            "barcode": image.drop.barcode,
            "number": image.inspection,
            "col": image.drop.well.column,
            "row": image.drop.well.row,
            "subwell": image.drop.subwell,
            "taken_at": database_time(image.taken_at),
            "image_name": image.name,
        }
        for image in sorted(images, key=lambda image: (image.taken_at, image.drop.barcode, image.inspection, image.drop, image.name))
    ]
    with xtaltrak.transaction():
        xtaltrak.executemany("insert_plate", [{"barcode": barcode} for barcode in sorted({row["barcode"] for row in rows})])
        xtaltrak.executemany("insert_plate_inspection", [{key: row[key] for key in ("barcode", "number", "taken_at")} for row in rows])
        drop = ("barcode", "number", "col", "row", "subwell")
        xtaltrak.executemany("insert_inspection", [{key: row[key] for key in (*drop, "taken_at")} for row in rows])
        return xtaltrak.executemany("insert_image", [{key: row[key] for key in (*drop, "image_name")} for row in rows])


def import_folder(folder: Path, image_root: Path) -> Report:
    """Link, or else copy, every CrystalTrak-named image of ``folder`` (searched recursively) to where XtalTrak's users expect it.

    That is ``<image root>/<barcode>/<inspection number>/<name>``. A file that is there already stays; one that differs from it
    is skipped with one line, as is a malformed name. Raises ``UsageError`` when ``folder`` can not be read.
    """
    added = 0
    skipped: list[str] = []
    for path in _files(folder):
        try:
            target = image_root / parse_image_name(path.name).folder / path.name
        except MalformedNameError as error:
            skipped.append(str(error))
            continue
        try:
            if not target.exists():
                link_or_copy(path, target)
                added += 1
            elif not target.samefile(path) and target.read_bytes() != path.read_bytes():
                skipped.append(f"{path.name!r}: another image of that name is in {target.parent}")
        except OSError as error:  # a dangling link, a file without permission: it fails alone
            skipped.append(f"{path.name!r}: can not be read ({error.strerror or error})")
    return Report(added, tuple(skipped))


def link_or_copy(path: Path, target: Path) -> None:
    """A hard link to ``path``, or a copy where there can be none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path.resolve(), target)
    except OSError:  # another file system, or one without hard links
        write_atomically(target, path.read_bytes())


def _files(folder: Path) -> Iterator[Path]:
    """Every file below ``folder`` in order, without hidden ones (the rest of a killed program among them) and our own pictures."""

    def fail(error: OSError) -> None:
        raise UsageError(f"{error.filename}: can not be read ({error.strerror})") from error

    for parent, folders, files in os.walk(folder, onerror=fail):
        folders.sort()
        yield from (Path(parent) / name for name in sorted(files) if not name.startswith(".") and PICTURE_MARK not in name)
