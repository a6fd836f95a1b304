"""Batches on their way from the last result to XtalTrak: finished, held, approved, imported, undone.

Every function is one step of a transaction that the caller begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, Row, literal, select, update

from crystal_search.errors import UsageError
from crystal_search.ledger.results import utc_now
from crystal_search.ledger.schema import BatchState, ImageState, WorkUnitState, artscores, batches, images, scorings, work_units
from crystal_search.plate import Inspection, InspectionImage, drop_at


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch and where it is."""

    id: int
    name: str
    state: BatchState
    approved_by: str | None


class ScoredImage(msgspec.Struct, frozen=True, gc=False):
    """An image with its ARTscore; ``id`` is the ledger's."""

    id: int
    image: InspectionImage
    class_name: str
    score: str
    probability: float
    crystal_probability: float
    model: str


def batch_named(connection: Connection, name: str) -> Batch:
    """The batch of that name. Raises ``UsageError``."""
    row = connection.execute(select(batches).where(batches.c.name == name)).one_or_none()
    if row is None:
        raise UsageError(f"no batch {name!r} in the ledger")
    return _batch(row)


def batches_in(connection: Connection, *states: BatchState) -> list[Batch]:
    """The batches in one of those states, oldest first."""
    return [_batch(row) for row in connection.execute(select(batches).where(batches.c.state.in_(states)).order_by(batches.c.id))]


def finished_batches(connection: Connection) -> list[Batch]:
    """The open batches none of whose images is on the way any more, oldest first."""
    waiting = select(images.c.id).where(
        images.c.batch_id == batches.c.id, images.c.state == literal(ImageState.CLAIMED.value, literal_execute=True)
    )
    out = select(work_units.c.id).where(
        work_units.c.batch_id == batches.c.id,
        work_units.c.state.in_([WorkUnitState.PACKING, WorkUnitState.PACKED, WorkUnitState.SUBMITTED]),
    )
    finished = select(batches).where(batches.c.state == BatchState.OPEN, ~waiting.exists(), ~out.exists()).order_by(batches.c.id)
    return [_batch(row) for row in connection.execute(finished)]


def move_batch(connection: Connection, batch: Batch, after: BatchState, approved_by: str | None = None) -> bool:
    """Move a batch on from the state it was seen in; False, and nothing changed, when somebody else moved it."""
    moved = connection.execute(
        update(batches)
        .where(batches.c.id == batch.id, batches.c.state == batch.state)
        .values(state=after, changed_at=utc_now(), approved_by=approved_by or batches.c.approved_by)
    )
    return moved.rowcount == 1


def scored_images(connection: Connection, batch: Batch) -> Sequence[ScoredImage]:
    """The images of a batch that were scored (above the threshold, so neither ``unsure`` nor ``no_drop``), in the ledger's order."""
    rows = connection.execute(
        select(
            images.c.id,
            images.c.inspection_id,
            images.c.image_name,
            images.c.barcode,
            images.c.plate_column,
            images.c.plate_row,
            images.c.subwell,
            images.c.inspection_number,
            images.c.inspected_at,
            artscores.c.class_name,
            artscores.c.score,
            artscores.c.probability,
            artscores.c.crystal_probability,
            scorings.c.model_name,
        )
        .join_from(images, artscores)
        .join(scorings, scorings.c.id == images.c.scoring_id)
        .where(images.c.batch_id == batch.id, images.c.state == ImageState.SCORED)
        .order_by(images.c.id)
    )
    return [
        ScoredImage(
            number,
            InspectionImage(inspection_id, name, drop_at(barcode, column, row, subwell), Inspection(barcode, inspection, taken_at)),
            *score,
        )
        for number, inspection_id, name, barcode, column, row, subwell, inspection, taken_at, *score in rows.all()
    ]


def _batch(row: Row[tuple[object, ...]]) -> Batch:
    return Batch(row.id, row.name, BatchState(row.state), row.approved_by)
