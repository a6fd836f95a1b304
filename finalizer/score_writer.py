"""The one way into the score table and out again: noted in the ledger, done in XtalTrak under its lock, settled by looking there."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.ledger import Ledger
from crystal_search.ledger.writes import (
    Action,
    Plan,
    Write,
    note_outcomes,
    note_plans,
    note_removing,
    outcome,
    settle_plans,
    unsettled,
    written_as,
    written_by,
    written_over,
)
from crystal_search.xtaltrak.scores import ScoreRow, ScoreTable
from finalizer.own_rows import OwnRows

_log = logging.getLogger(__name__)
_Item = TypeVar("_Item")
_WAIT_SECONDS = 30.0


def chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """``items`` in pieces of at most ``size``.

    >>> list(chunks("abcde", 2))
    ['ab', 'cd', 'e']
    """
    for start in range(0, len(items), size):
        yield items[start : start + size]


@contextmanager
def only_writer(lock: Path) -> Iterator[None]:
    """One program at a time writes scores: ``settle`` takes what it finds unsettled for a dead program's.

    Raises ``TryAgainLater`` when another one is at it for longer than 30 s, ``SettingsError`` when ``lock`` can not be made.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SettingsError(f"paths.state: {error.filename}: can not be used ({error.strerror})") from error
    try:
        end = time.monotonic() + _WAIT_SECONDS
        while not _try_lock(handle):
            if time.monotonic() > end:
                ends = "`crystal-search pause set-autoscore` ends its round"
                raise TryAgainLater(f"{lock}: another set-autoscore or undo is at work; try again later ({ends})")
            time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Fate(StrEnum):
    """What ``take_back`` does with a row."""

    TAKEN_BACK = "taken back"
    LEFT = "left"  # it changed since
    GONE = "gone"  # somebody deleted it or took it over


class ScoreWriter:
    """Writes and removes our own rows, at most ``rows`` under one lock. To be used by the ``only_writer`` alone."""

    def __init__(self, ledger: Ledger, table: ScoreTable, rows: int) -> None:
        self._ledger = ledger
        self._table = table
        self._rows = rows
        self._own_rows = OwnRows(ledger, table)

    def settle(self) -> list[tuple[Write, ScoreRow | None]]:
        """Find out what became of writes and removals that were noted.

        Returns those that happened, in their new states, each with the row that has its number now.
        """
        with self._ledger.read() as connection:
            pending = unsettled(connection)
        settled: list[tuple[Write, ScoreRow | None]] = []
        for some in chunks(pending, self._rows):
            rows = self._rows_now([write.plan.after.score_id for write in some])
            outcomes = [(write, outcome(write, row)) for write, row in zip(some, rows, strict=True)]
            with self._ledger.begin() as connection:
                note_outcomes(connection, outcomes)
            settled += [
                (Write(write.id, state, write.plan), row) for (write, state), row in zip(outcomes, rows, strict=True) if state is not None
            ]
        return settled

    def _rows_now(self, numbers: Sequence[int]) -> list[ScoreRow | None]:
        """The row that has each number; numbers that were given out together are read together."""
        if max(numbers) - min(numbers) > 2 * len(numbers):
            return [self._table.row(number) for number in numbers]
        found = {row.score_id: row for row in self._table.between(min(numbers), max(numbers))}
        return [found.get(number) for number in numbers]

    def write(self, batch_id: int, plans: Sequence[Plan]) -> set[int]:
        """Make the planned writes, as far as nobody was quicker; returns the ledger's ids of the images that were written."""
        with self._ledger.begin() as connection:
            note_plans(connection, batch_id, plans)
        for some in chunks(plans, self._rows):
            with self._table.locked():
                self._table.insert((plan.after, plan.own) for plan in some if plan.before is None)
                self._table.update((plan.before, plan.after, plan.own) for plan in some if plan.before is not None)
        rows = self._rows_now([plan.after.score_id for plan in plans])
        written = [plan for plan, row in zip(plans, rows, strict=True) if row == plan.after]
        missed = [plan.after.score_id for plan, row in zip(plans, rows, strict=True) if row != plan.after]
        with self._ledger.begin() as connection:
            settle_plans(connection, [plan.after.score_id for plan in written], missed)
        return {plan.image_id for plan in written}

    def take_out_displaced(self, foreign: Sequence[tuple[int, int]]) -> int:
        """Take our rows out where a person has scored since (rule 3); returns how many there were.

        ``foreign`` are the rows under our name that are not ours: they count as people's.
        """
        return self.take_out(self._own_rows.displaced(foreign))

    def take_out(self, displaced: Sequence[tuple[ScoreRow, frozenset[int]]]) -> int:
        """Take those rows of ours out, each with the numbers of our rows on its drop, where somebody has scored; how many there were."""
        for some in chunks(displaced, self._rows):
            with self._ledger.begin() as connection:
                note_removing(connection, written_as(connection, (row.score_id for row, _ in some)))
            with self._table.locked():
                self._table.take_out(some)
            self.settle()
            for row, _ in some:
                _log.info("a person has scored the drop of %s: our score %s is taken out", row.image_name, row.score)
        return len(displaced)

    def take_back(self, batch_id: int) -> tuple[int, list[Write]]:
        """Take back what a batch wrote; returns how many rows, and those that were left because they changed since."""
        with self._ledger.read() as connection:
            written = written_by(connection, batch_id)
        left: list[Write] = []
        for all_of_them in chunks(written, self._rows):
            with self._ledger.begin() as connection:
                over = written_over(connection, all_of_them)
                some = [write for write in all_of_them if write.id not in over]
                left += [write for write in all_of_them if write.id in over]
                note_removing(connection, some)
            with self._table.locked():
                self._table.delete(write.plan.after for write in some if write.plan.action is Action.INSERT)
                self._table.restore((write.plan.before, write.plan.after) for write in some if write.plan.before is not None)
            left += [write for write, row in self.settle() if row is not None and row != write.plan.before]
        return len(written) - len(left), left

    def would_take_back(self, batch_id: int) -> list[tuple[Write, Fate]]:
        """What ``take_back`` would do with each row of a batch; nothing is written."""
        with self._ledger.read() as connection:
            written = written_by(connection, batch_id)
        found: list[tuple[Write, Fate]] = []
        for some in chunks(written, self._rows):
            with self._ledger.read() as connection:
                over = written_over(connection, some)
            rows = self._rows_now([write.plan.after.score_id for write in some])
            found += [(write, Fate.LEFT if write.id in over else self._fate(write, row)) for write, row in zip(some, rows, strict=True)]
        return found

    def _fate(self, write: Write, row: ScoreRow | None) -> Fate:
        if row == write.plan.after:
            return Fate.TAKEN_BACK if row.scorer == self._table.scorer else Fate.LEFT
        return Fate.GONE if row is None or row == write.plan.before else Fate.LEFT
