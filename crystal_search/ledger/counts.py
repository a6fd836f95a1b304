"""Images by state, cheaply: a batch that has ended is counted once, and again only after it changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, or_, select

from crystal_search.ledger.schema import BatchState, ImageState, batches, images

#: A change becomes visible when its transaction ends, which may be this much later than the time it noted.
_OVERLAP = timedelta(hours=1)
_CHUNK = 500


class ImageCounts:
    """The counts, kept from one reading to the next.

    The first reading goes through the index of all images, seconds with fifteen million. Those after it count the batches that
    are open or have changed lately. Of a batch that has ended no image changes its state without the batch's ``changed_at``.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Counter[str]] = {}
        self._total: Counter[str] = Counter()
        self._read_until: datetime | None = None

    def read(self, connection: Connection) -> dict[str, int]:
        """Images by state, every state in the order in which they are passed through."""
        latest: datetime | None = connection.execute(select(func.max(batches.c.changed_at))).scalar_one()
        if self._read_until is None:
            self._keep(_counted(connection, None))
        else:
            changed = or_(batches.c.state == BatchState.OPEN, batches.c.changed_at > self._read_until - _OVERLAP)
            numbers = connection.execute(select(batches.c.id).where(changed)).scalars().all()
            for some in _chunks(numbers):
                found = _counted(connection, some)
                self._keep({number: found.get(number, Counter()) for number in some})
        self._read_until = latest
        return {state.value: self._total[state] for state in ImageState}

    def _keep(self, counted: dict[int, Counter[str]]) -> None:
        for number, counts in counted.items():
            self._total.subtract(self._kept.pop(number, Counter()))
            self._total.update(counts)
            self._kept[number] = counts


def _counted(connection: Connection, numbers: Sequence[int] | None) -> dict[int, Counter[str]]:
    """Images by batch and state, of those batches or of all."""
    query = select(images.c.batch_id, images.c.state, func.count()).group_by(images.c.batch_id, images.c.state)
    found: dict[int, Counter[str]] = {}
    for number, state, count in connection.execute(query if numbers is None else query.where(images.c.batch_id.in_(numbers))):
        found.setdefault(number, Counter())[state] = count
    return found


def _chunks(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), _CHUNK):
        yield numbers[start : start + _CHUNK]
