"""Batches that wait for approval, with their pictures: an admin looks, then lets them into XtalTrak."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from crystal_search.classes import PRIORITY
from crystal_search.errors import UsageError
from crystal_search.ledger.batches import batch_named, move_batch
from crystal_search.ledger.schema import BatchState, ImageState, artscores, images
from viewer.errors import BadRequest, NotFound
from viewer.lab import Lab
from viewer.person import Person
from viewer.plates import find_plate

PAGE = 120


def batch_page(lab: Lab, person: Person, name: str, after: int) -> dict[str, Any]:
    """The next scored images of a batch, by the ledger's numbers from ``after`` on. Raises ``NotFound``."""
    try:
        with lab.ledger.read() as connection:
            batch = batch_named(connection, name)
            rows = connection.execute(
                select(images, artscores.c.class_name, artscores.c.probability, artscores.c.crystal_probability)
                .join(artscores, artscores.c.image_id == images.c.id)
                .where(images.c.batch_id == batch.id, images.c.state == ImageState.SCORED, images.c.id > after)
                .order_by(images.c.id)
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
                    "rank": PRIORITY[row.class_name],
                }
            )
    return {"name": batch.name, "state": batch.state, "images": shown, "next": rows[-1].id if len(rows) == PAGE else None}


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
