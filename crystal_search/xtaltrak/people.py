"""What people said, in the order of XtalTrak's keys, and what XtalTrak knows of their plates; constant memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from crystal_search.classes import BY_CODE, DropClass
from crystal_search.plate import Drop, Inspection, Well
from crystal_search.xtaltrak import Row, XtalTrak

PAGE = 10_000


@dataclass(frozen=True, slots=True)
class PersonScore:
    """A person's score of an image, or of all of an inspection where ``image_name`` is None. ``scored_at`` is ISO text."""

    inspection_id: int
    score_id: int
    image_name: str | None
    score: str | None
    scored_at: str | None
    scorer: str | None
    drop: Drop
    inspection: Inspection

    @property
    def drop_class(self) -> DropClass | None:
        """The class that the score means; None for one that is not in the table of classes."""
        text = (self.score or "").strip()
        return BY_CODE.get(int(text)) if text.isascii() and text.isdigit() else None


@dataclass(frozen=True, slots=True)
class PlateDetails:
    """What XtalTrak knows of a plate, as far as it is mapped."""

    project: str | None
    samples: tuple[str, ...]
    families: tuple[str, ...]
    conditions: Mapping[Well, str]


def people_scores(xtaltrak: XtalTrak) -> Iterator[PersonScore]:
    """Every score whose scorer is not ours, by INSPECTID and SCOREID. A row that is no drop of a plate is left out."""
    after = (-1, -(2**62))
    while True:
        params = {"after_inspection": after[0], "after_score": after[1], "scorer": xtaltrak.scorer, "page_rows": PAGE}
        rows = xtaltrak.query("people_scores", params)
        for row in rows:
            if (score := _score(row)) is not None:
                yield score
        if len(rows) < PAGE:
            return
        after = (int(rows[-1][0]), int(rows[-1][1]))


def _score(row: Row) -> PersonScore | None:
    inspection_id, score_id, image_name, score, scored_at, scorer, barcode, number, taken_at, column, plate_row, subwell = row
    try:
        moment = datetime.fromisoformat(taken_at) if isinstance(taken_at, str) else taken_at
        drop = Drop(str(barcode), Well(int(column), int(plate_row)), int(subwell))
        inspection = Inspection(str(barcode), int(number), moment)
    except (TypeError, ValueError):
        return None
    image, said, at, by = (None if text is None else str(text) for text in (image_name, score, scored_at, scorer))
    return PersonScore(int(inspection_id), int(score_id), image, said, at, by, drop, inspection)


def plate_details(xtaltrak: XtalTrak, barcode: str, mapped: Collection[str]) -> PlateDetails:
    """The details of a plate; those that are not ``mapped`` are not asked for."""

    def asked(what: str, name: str) -> list[Row]:
        return xtaltrak.query(name, {"barcode": barcode}) if what in mapped else []

    projects = [str(name) for (name,) in asked("project", "plate_project")]
    conditions: dict[Well, str] = {}
    for column, row, text in asked("conditions", "plate_conditions"):
        conditions[Well(int(column), int(row))] = str(text)
    return PlateDetails(
        project=projects[0] if projects else None,
        samples=tuple(str(name) for (name,) in asked("samples", "plate_samples")),
        families=tuple(str(name) for (name,) in asked("families", "plate_families")),
        conditions=conditions,
    )
