"""How fast results come in, by the ledger, and when all that is on the way will be through."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from crystal_search.ledger.schema import BatchState, ImageState, batches, images, results

#: Long enough to hold a night, when most computers are idle.
WINDOW = timedelta(hours=24)
#: A first few results in quick succession make no pace.
_LEAST = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Pace:
    """Images that came back within ``WINDOW``, what that is in an hour, how many are on the way, and when they will be through (UTC)."""

    images: int
    images_per_hour: float
    on_the_way: int
    end: datetime | None  # None where nothing came back, or nothing is on the way


def read_pace(connection: Connection, now: datetime) -> Pace:
    """The pace at ``now`` (UTC). It counts from the first result of the last 24 hours on, and expects it to stay as it is."""
    lately = results.c.received_at > now - WINDOW
    first = connection.execute(select(func.min(results.c.received_at)).where(lately)).scalar_one()
    units = select(results.c.work_unit_id).where(lately)
    count = connection.execute(select(func.count()).select_from(images).where(images.c.work_unit_id.in_(units))).scalar_one()
    left = connection.execute(
        select(func.count())
        .select_from(images)
        .where(
            images.c.batch_id.in_(select(batches.c.id).where(batches.c.state == BatchState.OPEN)),  # no other has any, and an index serves
            images.c.state.in_([ImageState.CLAIMED, ImageState.IN_WORK]),
        )
    ).scalar_one()
    if not count:
        return Pace(0, 0.0, left, None)
    an_hour = count / (max(now - first, _LEAST) / timedelta(hours=1))
    return Pace(count, an_hour, left, now + timedelta(hours=left / an_hour) if left else None)
