"""Several images at once, few of them in memory."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

_ItemT = TypeVar("_ItemT")
_ResultT = TypeVar("_ResultT")


def in_parallel(function: Callable[[_ItemT], _ResultT], items: Iterable[_ItemT], workers: int) -> Generator[_ResultT]:
    """``function`` of each item, as they get ready, on ``workers`` threads; few items wait at any time, so that memory stays small."""
    with ThreadPoolExecutor(workers) as pool:
        pending: set[Future[_ResultT]] = set()
        try:
            for item in items:
                pending.add(pool.submit(function, item))
                if len(pending) > workers:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from ended(done)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from ended(done)
        finally:
            for future in pending:
                future.cancel()


def ended(done: set[Future[_ResultT]]) -> Iterator[_ResultT]:
    """What came out of ``done``; an error last, or it would hide what ended together with it."""
    yield from (future.result() for future in sorted(done, key=lambda future: future.exception() is not None))
