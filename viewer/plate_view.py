"""What the plate page shows: every drop of one inspection with both evaluations, in XtalTrak's order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from crystal_search.classes import BY_NAME
from crystal_search.ledger.viewer_tables import viewer_seen
from viewer.evaluations import ArtScore, Score, artscores_of, disagree, is_crystal, marks_of, pieces, scores_on_plate
from viewer.lab import Lab
from viewer.person import Person
from viewer.pictures import SHEET_COLUMNS, SHEET_TILES, TILE, Picture, image_folder, listing, sheet_version
from viewer.plates import DropImages, Plate, drops_of, format_of, inspections_of

#: A drop counts as an earlier hit from this crystal probability on, where no class reached the threshold.
_HIT = 0.5


@dataclass(frozen=True, slots=True)
class PlateSheets:
    """The thumbnails of an inspection as sheets: version -> what is on each."""

    versions: tuple[str, ...]
    tiles: Mapping[str, tuple[Picture | None, ...]]


def sheets_of(lab: Lab, barcode: str, number: int, shown: Sequence[str | None]) -> tuple[PlateSheets, frozenset[str]]:
    """Sheets with one tile for each of ``shown`` in order, and the names of the files that are there."""
    folder = image_folder(lab.settings.paths.images, barcode, number)
    stamps = listing(folder)
    pictures = [Picture(folder / name, stamps[name]) if name in stamps else None for name in shown]
    groups = [tuple(pictures[start : start + SHEET_TILES]) for start in range(0, len(pictures), SHEET_TILES)]
    versions = tuple(sheet_version(group) for group in groups)
    return PlateSheets(versions, dict(zip(versions, groups, strict=True))), frozenset(stamps)


@dataclass(frozen=True, slots=True)
class InspectionDrops:
    """What is the same for everybody who opens an inspection: drops, ARTscore and image of each, thumbnails, the files that are there."""

    drops: tuple[DropImages, ...]
    arts: Mapping[int, ArtScore]
    shown: tuple[str | None, ...]
    sheets: PlateSheets
    there: frozenset[str]


def inspection_drops(lab: Lab, barcode: str, number: int) -> InspectionDrops:
    """An inspection without people's scores; it is read once for all who ask at the same moment."""

    def read() -> InspectionDrops:
        drops = drops_of(lab, barcode, number)
        with lab.ledger.read() as connection:
            arts = artscores_of(connection, lab.codes, (drop.inspection_id for drop in drops))
        shown = [shown_image(drop, arts.get(drop.inspection_id)) for drop in drops]
        sheets, there = sheets_of(lab, barcode, number, shown)
        return InspectionDrops(tuple(drops), arts, tuple(shown), sheets, there)

    return lab.shared.get(("inspection", barcode, number), read)


def shown_image(drop: DropImages, art: ArtScore | None) -> str | None:
    """The image that stands for a drop: the one whose ARTscore counts, else the first visible one."""
    if art is not None and art.image_name in drop.images:
        return art.image_name
    return drop.images[0] if drop.images else None


def plate_view(lab: Lab, person: Person, plate: Plate, number: int, blind: bool) -> tuple[dict[str, Any], PlateSheets]:
    """The plate's inspection as the browser gets it, with its sheets.

    ``blind``: no ARTscore of a drop that this person has not scored, and none of another person's scores either.
    """
    inspections = inspections_of(lab, plate)
    found = inspection_drops(lab, plate.barcode, number)
    drops, arts = found.drops, found.arts
    with lab.ledger.read() as connection:
        marks = marks_of(connection, (art.image_id for art in arts.values()))
        seen = seen_by(connection, person, [drop.inspection_id for drop in drops])
    people, ours = split_scores(scores_on_plate(lab, plate.barcode))
    columns, rows = format_of(drops)
    tiles = []
    for place, (drop, image) in enumerate(zip(drops, found.shown, strict=True)):
        tile = drop_tile(drop, image, arts.get(drop.inspection_id), people.get(drop.inspection_id, []), person, blind)
        tile |= {
            "at": place,
            "missing": image is None or image not in found.there,
            "seen": drop.inspection_id in seen,
            "inXtalTrak": drop.inspection_id in ours,
        }
        if art := tile["art"]:
            art["wrong"] = marks.get(art["imageId"], [])
        tiles.append(tile)
    return {
        "plate": {"barcode": plate.barcode, "name": plate.name, "project": plate.project},
        "inspection": number,
        "inspections": [{"number": i.number, "takenAt": i.taken_at, "days": i.days} for i in inspections],
        "columns": columns,
        "rows": rows,
        "drops": tiles,
        "sheets": found.sheets.versions,
        "sheet": {"columns": SHEET_COLUMNS, "tiles": SHEET_TILES, "width": TILE[0], "height": TILE[1]},
        "blind": blind,
    }, found.sheets


def split_scores(scores: Sequence[Score]) -> tuple[dict[int, list[Score]], set[int]]:
    """People's scores by inspection, the newest last, and the inspections that have a row under our scorer's name."""
    people: dict[int, list[Score]] = defaultdict(list)
    for score in scores:
        if not score.is_ours:
            people[score.inspection_id].append(score)
    return people, {score.inspection_id for score in scores if score.is_ours}


def drop_tile(
    drop: DropImages, image: str | None, art: ArtScore | None, people: Sequence[Score], person: Person, blind: bool
) -> dict[str, Any]:
    """One drop as the browser gets it."""
    hidden = blind and not any(score.scorer == person.name for score in people)
    return {
        "id": drop.inspection_id,
        "label": drop.drop.label,
        "column": drop.drop.well.column,
        "row": drop.drop.well.row,
        "subwell": drop.drop.subwell,
        "image": image,
        "art": None if hidden or art is None else art_json(art),
        "hidden": hidden,
        "people": [] if hidden else [score_json(score, person) for score in people],
        "disagree": not hidden and disagree(art, people[-1] if people else None),
    }


def art_json(art: ArtScore) -> dict[str, Any]:
    row = BY_NAME.get(art.class_name or "")
    return {
        "imageId": art.image_id,
        "state": art.state,
        "class": art.class_name,
        "title": row.title if row else art.state.replace("_", " "),
        "score": art.score,
        "group": row.group.value if row else None,
        "probability": art.probability,
        "crystal": art.crystal_probability,
        "reason": art.reason,
        "model": art.model,
        "scoredAt": art.scored_at.isoformat(sep=" ", timespec="seconds") if art.scored_at else None,
        "wrong": [],
    }


def score_json(score: Score, person: Person) -> dict[str, Any]:
    row = score.meaning  # without one it is shown as it stands
    return {
        "scoreId": score.score_id,
        "score": score.score,
        "title": row.title if row else f"score {score.score}",
        "group": row.group.value if row else None,
        "class": row.name if row else None,
        "who": score.scorer,
        "at": score.scored_at,
        "mine": score.scorer == person.name,
        "inspectionId": score.inspection_id,
    }


def earlier_hits(lab: Lab, person: Person, plate: Plate, number: int, blind: bool) -> dict[str, list[dict[str, Any]]]:
    """Drops with crystals at another inspection, by person or ARTscore, under ``column.row.subwell``: old hits stay in sight."""
    rows = lab.query("viewer_plate_ids", {"barcode": plate.barcode, "inspection_number": number})
    place = {int(key): (f"{column}.{row}.{subwell}", int(at)) for key, column, row, subwell, at in rows}
    hits: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    if not blind:
        with lab.ledger.read() as connection:
            for key, art in artscores_of(connection, lab.codes, place).items():
                if is_crystal(art.group) or (art.crystal_probability or 0.0) >= _HIT:
                    where, at = place[key]
                    hits[where][at] = {"number": at, "id": key, "by": "ARTscore", "score": art.score, "crystal": art.crystal_probability}
    for score in scores_on_plate(lab, plate.barcode):
        if score.inspection_id in place and is_crystal(score.group) and not score.is_ours and (not blind or score.scorer == person.name):
            where, at = place[score.inspection_id]
            hits[where][at] = {
                "number": at,
                "id": score.inspection_id,
                "by": score.scorer or "a person",
                "score": score.score,
                "crystal": None,
            }
    return {where: [by_number[at] for at in sorted(by_number)] for where, by_number in hits.items()}


def seen_by(connection: Any, person: Person, inspection_ids: Sequence[int]) -> set[int]:
    """Which of the drops the person has looked at."""
    found: set[int] = set()
    for ids in pieces(inspection_ids):
        found |= set(
            connection.execute(
                select(viewer_seen.c.inspection_id).where(viewer_seen.c.person == person.name, viewer_seen.c.inspection_id.in_(ids))
            ).scalars()
        )
    return found
