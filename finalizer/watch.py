"""What came into the score table since we last looked: by number, so that a round costs what is new and not what there is.

People's numbers come from a sequence, ours from one of our own that lies elsewhere. Whatever is below or above all of ours, and was not
there at the last look, is new. Once an hour, and at a service's start, everything is looked at: a row that was taken over, or that
got a number among ours, is found then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from crystal_search.ledger import Ledger
from crystal_search.ledger.writes import number_range, standing_between
from crystal_search.xtaltrak.scores import ScoreRow, ScoreTable
from finalizer.own_rows import OwnRows

_FULL_SECONDS = 3600.0
#: Transactions of people may become visible out of order.
_LOOK_BACK = 1_000
_FIRST, _LAST = -(2**62), 2**62


@dataclass(slots=True)
class Watch:
    """What is remembered from round to round: ``foreign`` rows under our name that are not ours, and how far people's numbers went."""

    foreign: set[tuple[int, int]] = field(default_factory=set)
    now: Callable[[], float] = time.monotonic
    _low: int = _FIRST
    _high: int = _LAST
    _full_at: float | None = None

    def displaced(self, ledger: Ledger, table: ScoreTable) -> list[tuple[ScoreRow, frozenset[int]]]:
        """Our rows where somebody has scored, as far as that is new; with each the numbers of our rows on its drop."""
        own_rows = OwnRows(ledger, table)
        with ledger.read() as connection:
            ours = number_range(connection)
        full = self._full_at is None or self.now() >= self._full_at
        first, last = ours or (_LAST, _LAST)
        low, high = table.last_number(_FIRST, first - 1), table.last_number(last + 1, _LAST)
        if full:
            self.foreign = set(own_rows.foreign())
            found = own_rows.displaced(self.foreign)
            self._full_at = self.now() + _FULL_SECONDS
        else:
            news = table.between(self._low - _LOOK_BACK, first - 1) + table.between(max(last + 1, self._high - _LOOK_BACK), _LAST)
            found = own_rows.kept_out(self._inspections(ledger, table, news))
        self._low, self._high = (low or _FIRST), (high or last)
        return found

    def _inspections(self, ledger: Ledger, table: ScoreTable, news: list[ScoreRow]) -> set[int]:
        named = {(row.score_id, row.inspection_id) for row in news if row.scorer == table.scorer} - self.foreign
        with ledger.read() as connection:
            self.foreign |= {row for row in named if row not in standing_between(connection, row[0], row[0])}
        return {row.inspection_id for row in news}
