"""Batches that wait for approval, with their pictures: an admin looks, then lets them into XtalTrak."""

from __future__ import annotations

from typing import Any

from sqlalchemy import case, func, select

from crystal_search.classes import CLASSES, PRIORITY
from crystal_search.errors import UsageError
from crystal_search.ledger.batches import batch_named, move_batch
from crystal_search.ledger.schema import BatchState, ImageState, artscores, images
from viewer.errors import BadRequest, NotFound
from viewer.lab import Lab
from viewer.person import Person
from viewer.plates import find_plate

PAGE = 120
_WITHOUT_A_SCORE = {
    ImageState.UNSURE: "unsure",
    ImageState.NO_DROP: "no drop",
    ImageState.FAILED: "failed",
    ImageState.REFUSED: "never sent",
}


def batch_page(lab: Lab, person: Person, name: str, after: int) -> dict[str, Any]:
    """The next scored images of a batch after the first ``after``, the highest class and probability first; with the first of them how
    many images have which class, for a person who sees every project. Raises ``NotFound``."""
    try:
        with lab.ledger.read() as connection:
            batch = batch_named(connection, name)
            rows = connection.execute(
                select(images, artscores.c.class_name, artscores.c.probability, artscores.c.crystal_probability)
                .join(artscores, artscores.c.image_id == images.c.id)
                .where(images.c.batch_id == batch.id, images.c.state == ImageState.SCORED)
                .order_by(case(PRIORITY, value=artscores.c.class_name), artscores.c.probability.desc(), images.c.id)
                .offset(after)
                .limit(PAGE)
            ).all()
    except UsageError:
        raise NotFound(f"no batch {name[:60]!r}") from None
    seen: dict[str, bool] = {}
    shown = []
    for row in rows:
        if row.barcode not in seen:
            seen[row.barcode] = _sees(lab, person, row.barcode)
        if seen[row.barcode]:
            shown.append(
                {
                    "id": row.inspection_id,
                    "image": row.image_name,
                    "barcode": row.barcode,
                    "inspection": row.inspection_number,
                    "column": row.plate_column,
                    "row": row.plate_row,
                    "subwell": row.subwell,
                    "class": row.class_name,
                    "score": lab.codes.of(row.class_name),
                    "probability": row.probability,
                }
            )
    counts = [] if after or person.projects is not None else _counts(lab, batch.id)
    return {
        "name": batch.name,
        "state": batch.state,
        "images": shown,
        "next": after + PAGE if len(rows) == PAGE else None,
        "counts": counts,
    }


def _counts(lab: Lab, batch_id: int) -> list[dict[str, Any]]:
    """How many images of a batch have which class, in the table's order, then how many have none and why."""
    with lab.ledger.read() as connection:
        rows = connection.execute(
            select(images.c.state, artscores.c.class_name, func.count())
            .select_from(images.outerjoin(artscores, artscores.c.image_id == images.c.id))
            .where(images.c.batch_id == batch_id)
            .group_by(images.c.state, artscores.c.class_name)
        ).all()
    by_class = {name: count for state, name, count in rows if state == ImageState.SCORED}
    found = [
        {"class": row.name, "title": row.title, "score": lab.codes.of(row.name), "count": by_class[row.name]}
        for row in CLASSES
        if row.name in by_class
    ]
    others = ((state, sum(count for other, _, count in rows if other == state)) for state in _WITHOUT_A_SCORE)
    return found + [{"class": None, "title": _WITHOUT_A_SCORE[state], "score": None, "count": count} for state, count in others if count]


def approve(lab: Lab, person: Person, name: str) -> None:
    """Let a held batch pass, under the person's name. Raises ``NotFound``, ``BadRequest`` when it does not wait."""
    try:
        with lab.ledger.begin() as connection:
            batch = batch_named(connection, name)
            if not (lab.settings.csv / f"{batch.name}.csv").exists():
                raise BadRequest(f"batch {name}: its CSV is not there; `crystal-search finalize` writes it anew")
            if batch.state is not BatchState.HELD or not move_batch(connection, batch, BatchState.APPROVED, person.name):
                raise BadRequest(f"batch {name} does not wait for approval any more: it is {batch.state}")
    except UsageError:
        raise NotFound(f"no batch {name[:60]!r}") from None


def _sees(lab: Lab, person: Person, barcode: str) -> bool:
    try:
        find_plate(lab, person, barcode)
    except NotFound:
        return False
    return True
