"""Work that many ask for at the same moment is done once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class Shared:
    """Calls that are under way, by key: who asks while one is gets its result, or its error. Nothing is kept afterwards.

    For what no caller has changed just before: it may have been read a moment before the call.
    """

    def __init__(self) -> None:
        self._under_way: dict[Hashable, Future[Any]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], _Result]) -> _Result:
        """What ``make`` returns, called by the first who asks."""
        with self._lock:
            found = self._under_way.get(key)
            if found is None:
                mine: Future[_Result] = Future()
                self._under_way[key] = mine
        if found is not None:
            result: _Result = found.result()
            return result
        try:
            made = make()
        except BaseException as error:
            self._done(key)
            mine.set_exception(error)
            raise
        self._done(key)
        mine.set_result(made)
        return made

    def _done(self, key: Hashable) -> None:
        with self._lock:
            del self._under_way[key]
