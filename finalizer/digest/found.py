"""The crystals that a digest tells of, and what the next one will not tell again.

A batch is told once it has ended, when its scores are in its CSV. Batches end in any order, so what was told is a number up to
which all were, and those beyond it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from crystal_search.classes import CRYSTAL_CLASSES
from crystal_search.digest_memory import Told
from crystal_search.ledger.schema import BatchState, ImageState, artscores, batches, images, work_units
from crystal_search.plate import Drop, Well

#: A first digest tells of the batches that ended within this time.
FIRST = timedelta(days=1)
#: A batch's number may become visible so much later than larger ones: transactions end in any order.
_LATE = timedelta(hours=1)
#: Its CSV is there. What was undone is no news.
_TELLABLE = (BatchState.HELD, BatchState.APPROVED, BatchState.IMPORTED)


@dataclass(frozen=True, slots=True)
class FoundCrystal:
    """An image that was scored as a crystal; ``overlay`` is the file within the result ``<batch>/<work unit>.zip``."""

    drop: Drop
    inspection: int
    inspected_at: datetime | None
    image_name: str
    class_name: str
    probability: float
    crystal_probability: float
    batch: str
    work_unit: str
    overlay: str


def batches_to_tell(connection: Connection, told: Told | None, now: datetime, since: datetime | None = None) -> list[int]:
    """The batches that ended and were not told, oldest first; ``since`` instead: those that ended after it. ``now``, ``since``: UTC."""
    ended = select(batches.c.id).where(batches.c.state.in_(_TELLABLE)).order_by(batches.c.id)
    if since is not None or told is None:
        return list(connection.execute(ended.where(batches.c.changed_at > (since or now - FIRST))).scalars())
    beyond = set(told.beyond)
    return [number for number in connection.execute(ended.where(batches.c.id > told.through)).scalars() if number not in beyond]


def told_after(connection: Connection, told: Told | None, just_told: list[int], now: datetime, at: datetime) -> Told:
    """What is told once those batches are. On the first time every older batch that has ended counts as told too."""
    through = told.through if told else 0
    done = {*just_told, *(told.beyond if told else ())}
    later = select(batches.c.id, batches.c.state, batches.c.created_at).where(batches.c.id > through).order_by(batches.c.id)
    all_told = True
    beyond: list[int] = []
    for number, state, created_at in connection.execute(later):
        is_done = number in done or state == BatchState.UNDONE or (told is None and state != BatchState.OPEN)
        all_told = all_told and is_done and created_at <= now - _LATE  # below a new number there may be others yet
        if all_told:
            through = number
        elif is_done:
            beyond.append(number)
    return Told(at, through, beyond)


def crystals(connection: Connection, batch: int, min_probability: float) -> Iterator[FoundCrystal]:
    """The crystals of a batch whose crystal probability is at least that, in the ledger's order."""
    rows = connection.execute(
        select(
            images,
            artscores.c.class_name,
            artscores.c.probability,
            artscores.c.crystal_probability,
            batches.c.name.label("batch"),
            work_units.c.name.label("work_unit"),
        )
        .join_from(images, artscores)
        .join(batches, batches.c.id == images.c.batch_id)
        .join(work_units, work_units.c.id == images.c.work_unit_id)
        .where(
            images.c.batch_id == batch,
            images.c.state == ImageState.SCORED,
            artscores.c.class_name.in_(CRYSTAL_CLASSES),
            artscores.c.crystal_probability >= min_probability,
        )
        .order_by(images.c.id)
    )
    for row in rows:
        yield FoundCrystal(
            Drop(row.barcode, Well(row.plate_column, row.plate_row), row.subwell),
            row.inspection_number,
            row.inspected_at,
            row.image_name,
            row.class_name,
            row.probability,
            row.crystal_probability,
            row.batch,
            row.work_unit,
            f"overlays/{row.public_id.hex()}.jpg",
        )
