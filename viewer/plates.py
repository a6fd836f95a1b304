"""Plates, inspections and drops as XtalTrak has them. Every question is about one plate, one drop, or the newest few inspections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from crystal_search.crystaltrak_names import MalformedNameError, parse_image_name
from crystal_search.plate import Drop, Well
from viewer.errors import NotFound
from viewer.lab import Lab
from viewer.person import Person

#: Columns and rows of the plates that there are.
FORMATS = ((6, 4), (12, 8), (24, 16), (48, 32))
_NO_NAME = re.compile(r"[/\\\0]")
_BARCODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,39}")


@dataclass(frozen=True, slots=True)
class Plate:
    """A plate; a plate that XtalTrak's table of plates does not have is known by its barcode alone."""

    barcode: str
    name: str
    project: str | None
    set_up: str | None


@dataclass(frozen=True, slots=True)
class PlateInspection:
    """One imaging of a plate; ``days`` are whole days since the set-up, or since the first inspection where no set-up is known."""

    number: int
    taken_at: str | None
    days: int | None


@dataclass(frozen=True, slots=True)
class RecentInspection:
    plate: Plate
    number: int
    taken_at: str


@dataclass(frozen=True, slots=True)
class DropImages:
    """One drop at one inspection; ``inspection_id`` is XtalTrak's INSPECTID. ``images`` are names, visible ones first."""

    inspection_id: int
    drop: Drop
    number: int
    taken_at: str | None
    images: tuple[str, ...]


def find_plate(lab: Lab, person: Person, barcode: str) -> Plate:
    """The plate of that barcode. Raises ``NotFound`` for one that is not there and for one that is not to be seen, alike."""
    rows = lab.query("viewer_plate", {"barcode": barcode}) if is_barcode(barcode) else []
    plate = _plate(*rows[0]) if rows else Plate(barcode, barcode, None, None)
    if (
        not is_barcode(barcode)
        or not person.sees(plate.project)
        or not (rows or lab.query("viewer_plate_inspections", {"barcode": barcode}))
    ):
        raise NotFound(f"no plate {barcode[:40]!r} that you may see: check the barcode")
    return plate


def is_barcode(text: str) -> bool:
    """Whether ``text`` may be a barcode and so part of a path: no slash, no leading dot."""
    return _BARCODE.fullmatch(text) is not None


def plates_from(lab: Lab, person: Person, prefix: str, limit: int) -> list[Plate]:
    """The first plates whose barcode begins with ``prefix`` that the person may see."""
    if not is_barcode(prefix):
        return []
    rows = lab.query("viewer_find_plates", {"first_barcode": prefix, "beyond_barcode": prefix + "\uffff", "max_rows": limit})
    return [plate for barcode, name, project in rows if person.sees((plate := _plate(barcode, name, None, project)).project)]


def inspections_of(lab: Lab, plate: Plate) -> list[PlateInspection]:
    """The plate's inspections in order."""
    rows = lab.query("viewer_plate_inspections", {"barcode": plate.barcode})
    first = plate.set_up or next((taken_at for _, taken_at in rows if taken_at), None)
    return [PlateInspection(int(number), taken_at, days_between(first, taken_at)) for number, taken_at in rows]


def recent_inspections(lab: Lab, person: Person, limit: int) -> list[RecentInspection]:
    """The newest inspections of plates that the person may see, newest first."""
    rows = lab.query("viewer_recent", {"max_rows": limit})
    return [
        RecentInspection(plate, int(number), str(taken_at))
        for barcode, number, taken_at, name, project in rows
        if is_barcode(barcode) and person.sees((plate := _plate(barcode, name, None, project)).project)
    ]


def drops_of(lab: Lab, barcode: str, number: int) -> list[DropImages]:
    """The drops of one inspection in XtalTrak's order: column, row, subwell."""
    rows = lab.query("viewer_plate_drops", {"barcode": barcode, "inspection_number": number})
    return _group(lab, [(row[0], barcode, *row[1:]) for row in rows])


def course_of(lab: Lab, person: Person, inspection_id: int) -> tuple[Plate, list[DropImages]]:
    """The plate of an inspection's drop, and that drop at every inspection in order. Raises ``NotFound``."""
    if not 0 < inspection_id < 2**63:
        raise NotFound("no such drop")
    course = _group(lab, lab.query("viewer_drop_course", {"inspection_id": inspection_id}))
    if not course:
        raise NotFound(f"no drop {inspection_id} that you may see")
    return find_plate(lab, person, course[0].drop.barcode), course


def format_of(drops: Sequence[DropImages]) -> tuple[int, int]:
    """Columns and rows of the smallest plate that has all those wells."""
    columns = max((drop.drop.well.column for drop in drops), default=1)
    rows = max((drop.drop.well.row for drop in drops), default=1)
    return next((size for size in FORMATS if columns <= size[0] and rows <= size[1]), FORMATS[-1])


def profile_of(image_name: str) -> str | None:
    """The profile in a file's name, None for a name that is malformed."""
    try:
        return parse_image_name(image_name).profile
    except MalformedNameError:
        return None


def is_plain_name(name: str) -> bool:
    """Whether an image's name is one part of a path and nothing else."""
    return 0 < len(name) <= 255 and name not in (".", "..") and _NO_NAME.search(name) is None


def days_between(first: str | None, later: str | None) -> int | None:
    """Whole days between two of XtalTrak's times.

    >>> days_between("2026-11-02 16:00:00", "2026-11-09 09:00:00")
    7
    """
    try:
        return (datetime.fromisoformat(str(later)).date() - datetime.fromisoformat(str(first)).date()).days
    except ValueError:
        return None


def _group(lab: Lab, rows: Sequence[tuple[object, ...]]) -> list[DropImages]:
    """One entry a drop and inspection, from rows of id, barcode, column, row, subwell, number, time and image."""
    found: dict[int, DropImages] = {}
    for inspection_id, barcode, column, plate_row, subwell, number, taken_at, image in rows:
        key = int(str(inspection_id))
        images = (str(image),) if image is not None and is_plain_name(str(image)) else ()
        if before := found.get(key):
            several = tuple(sorted((*before.images, *images), key=lambda name: (is_uv(lab, name), name)))
            found[key] = DropImages(key, before.drop, before.number, before.taken_at, several)
            continue
        try:
            drop = Drop(str(barcode), Well(int(str(column)), int(str(plate_row))), int(str(subwell)))
        except ValueError:  # a row that is no drop of any plate: it is told by the work generator
            continue
        found[key] = DropImages(key, drop, int(str(number)), None if taken_at is None else str(taken_at), images)
    return list(found.values())


def is_uv(lab: Lab, image_name: str) -> bool:
    """Whether an image is one of the UV profiles of the settings."""
    return bool(lab.settings.viewer.uv_profiles) and profile_of(image_name) in lab.settings.viewer.uv_profiles


def _plate(barcode: str, name: str | None, set_up: str | None, project: str | None) -> Plate:
    return Plate(str(barcode), str(name or barcode), None if project is None else str(project), set_up)
