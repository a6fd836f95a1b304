"""How fast the lab's production database may be asked: so many queries, and so many rows, a second for each of our programs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from crystal_search.xtaltrak import Params, Row, XtalTrak

_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class Throttle:
    """Sleeps as long as what was asked and read so far takes at the rates allowed; None is no limit.

    What was saved up in quiet times is not spent at once: a burst is followed by the pause that it takes, whatever came before.
    """

    queries_per_second: float | None = None
    rows_per_second: float | None = None
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _free_at: float = 0.0

    def wait(self) -> None:
        """To be called before a query."""
        if (seconds := self._free_at - self.now()) > 0:
            self.sleep(seconds)

    def asked(self, rows: int) -> None:
        """To be called after a query, with the number of rows that it brought or changed."""
        cost = 1 / self.queries_per_second if self.queries_per_second else 0.0
        cost = max(cost, rows / self.rows_per_second if self.rows_per_second else 0.0)
        self._free_at = max(self._free_at, self.now()) + cost


class ThrottledXtalTrak(XtalTrak):
    """An open XtalTrak that is asked no faster than its ``throttle`` allows.

    Within a transaction nothing waits: people's scores would wait with it. What was asked there counts afterwards.
    """

    def __init__(self, inner: XtalTrak, throttle: Throttle) -> None:
        super().__init__(inner.names, inner.scorer)
        self.dialect = inner.dialect  # type: ignore[misc]
        self._inner = inner
        self._throttle = throttle
        self._in_transaction = False

    def execute(self, name: str, params: Params | None = None) -> int:
        return self._counted(lambda: self._inner.execute(name, params), lambda changed: changed)

    def executemany(self, name: str, rows: Iterable[Params]) -> int:
        return self._counted(lambda: self._inner.executemany(name, rows), lambda changed: changed)

    def query(self, name: str, params: Params | None = None) -> list[Row]:
        return self._counted(lambda: self._inner.query(name, params), len)

    def guard_own_rows(self) -> None:
        self._inner.guard_own_rows()

    def guard_people_rows(self) -> None:
        self._inner.guard_people_rows()

    def forbid_writes(self) -> None:
        self._inner.forbid_writes()

    def make_own_tables(self) -> None:
        self._inner.make_own_tables()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if not self._in_transaction:
            self._throttle.wait()
        with self._inner.transaction():
            self._in_transaction = True
            try:
                yield
            finally:
                self._in_transaction = False

    @property
    def version(self) -> str:
        return self._inner.version

    def close(self) -> None:
        self._inner.close()

    def _counted(self, ask: Callable[[], _Answer], rows: Callable[[_Answer], int]) -> _Answer:
        if not self._in_transaction:
            self._throttle.wait()
        answer = ask()
        self._throttle.asked(rows(answer))
        return answer


@cache
def throttle_of(queries_per_second: float | None, rows_per_second: float | None) -> Throttle:
    """The one throttle of this process: XtalTrak is opened anew for every round."""
    return Throttle(queries_per_second, rows_per_second)
