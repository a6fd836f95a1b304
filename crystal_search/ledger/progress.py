"""How far everything is and how long it takes, by the ledger, for a reading that is repeated every half minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any

from sqlalchemy import Column, Connection, Row, func, select

from crystal_search.ledger.counts import ImageCounts
from crystal_search.ledger.schema import (
    BatchState,
    ImageState,
    WorkUnitState,
    WriteState,
    artscores,
    batches,
    images,
    refusals,
    work_units,
    writes,
)

#: Images that came back with a result; none of them ever goes out again in the same pass.
RETURNED = (ImageState.SCORED, ImageState.UNSURE, ImageState.NO_DROP)
#: The lag is that of the latest real-time work: so many batches, so many images.
_LAG_BATCHES, _LAG_IMAGES = 20, 1000
QUANTILES = (0.5, 0.95)

#: Seconds by quantile, by what the lag ends with: ``score`` in the ledger, ``xtaltrak`` in its score table.
Lag = dict[str, dict[float, float]]


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts by state, results that were set aside, the lag, and the age in seconds of the oldest open batch by kind of work."""

    at: datetime
    images: dict[str, int]
    work_units: dict[str, int]
    batches: dict[str, int]
    refused_results: int
    lag: Lag
    oldest_open: dict[str, float]


def read_progress(connection: Connection, counts: ImageCounts) -> Progress:
    """The progress now; ``counts`` is what makes a repeated reading cheap."""
    now = datetime.now(UTC)
    return Progress(
        at=now,
        images=counts.read(connection),
        work_units=count_by(connection, work_units.c.state, [state.value for state in WorkUnitState]),
        batches=count_by(connection, batches.c.state, [state.value for state in BatchState]),
        refused_results=connection.execute(select(func.count()).select_from(refusals)).scalar_one(),
        lag=read_lag(connection),
        oldest_open=_oldest_open(connection, now),
    )


def count_by(connection: Connection, column: Column[str], states: list[str]) -> dict[str, int]:
    """Rows of the column's table by its value, every one of ``states`` in that order."""
    found = connection.execute(select(column, func.count()).group_by(column))
    return dict.fromkeys(states, 0) | {row[0]: row[1] for row in found}


def read_lag(connection: Connection) -> Lag:
    """From the inspection, whose time is this machine's local time, to the score of the latest real-time images.

    A kind of lag of which there is no image yet is left out.
    """
    latest = (
        connection.execute(
            select(batches.c.id)
            .where(batches.c.priority > 0, batches.c.state != BatchState.OPEN)
            .order_by(batches.c.id.desc())
            .limit(_LAG_BATCHES)
        )
        .scalars()
        .all()
    )
    seen: list[Row[Any, Any, Any, Any]] = []
    for number in latest:  # a batch at a time: no need to sort what is in all of them
        if len(seen) < _LAG_IMAGES:
            seen += connection.execute(
                select(images.c.id, images.c.batch_id, images.c.inspected_at, artscores.c.scored_at)
                .join_from(images, artscores)
                .where(images.c.batch_id == number, images.c.inspected_at.is_not(None))
                .limit(_LAG_IMAGES - len(seen))
            ).all()
    inspected = {row.id: row.inspected_at.astimezone(UTC) for row in seen}
    written = connection.execute(
        select(writes.c.image_id, writes.c.written_at).where(
            writes.c.batch_id.in_({row.batch_id for row in seen}), writes.c.state == WriteState.WRITTEN
        )
    )
    lags = {
        "score": [_seconds(inspected[row.id], row.scored_at) for row in seen],
        "xtaltrak": [_seconds(inspected[image], at) for image, at in written if image in inspected],
    }
    return {until: {q: quantile(sorted(found), q) for q in QUANTILES} for until, found in lags.items() if found}


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5), quantile([1.0, 2.0, 3.0, 4.0], 0.95)
    (2.0, 4.0)
    """
    return ordered[ceil(share * len(ordered)) - 1]


def _seconds(inspected: datetime, at: datetime) -> float:
    return (at.replace(tzinfo=UTC) - inspected).total_seconds()


def _oldest_open(connection: Connection, now: datetime) -> dict[str, float]:
    found = connection.execute(
        select(batches.c.priority, func.min(batches.c.created_at)).where(batches.c.state == BatchState.OPEN).group_by(batches.c.priority)
    )
    return {"realtime" if priority > 0 else "archive": _seconds(first.replace(tzinfo=UTC), now) for priority, first in found}
