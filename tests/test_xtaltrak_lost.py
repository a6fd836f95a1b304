"""XtalTrak is lost at any statement of an import or an undo, before or after it: the next round ends as if nothing had been."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from scored_lab import Lab, kill_points

from crystal_search.errors import TryAgainLater
from crystal_search.xtaltrak.sqlite import SqliteXtalTrak

#: Statements at which it is lost, of each of the two; 0: all of them.
LOSSES = int(os.environ.get("CRYSTAL_SEARCH_TEST_LOSSES", "8"))
SHOTS = {("A01a", 1): "crystals_harvestable", ("A01c", 1): "precipitate", ("A02a", 1): "clear", ("A07a", 1): "clear"}


def prepared(root: Path) -> tuple[Lab, str]:
    """Inserts, an update, a withheld row and a row to take out, two rows under one lock, and tables of our own."""
    lab = Lab(root, {"rows_per_transaction": 2, "own_table": True, "regions": True}).create()
    lab.inspect(*SHOTS)
    lab.batch({("A01a", 1): "clear", ("A07a", 1): "other"})
    lab.finish()
    lab.person("A07a", 1, "31")
    lab.person("A02a", 1, None, None)
    return lab, lab.batch(SHOTS, scoring='{"step":16}')


def held(lab: Lab) -> tuple[Any, ...]:
    """Everything but times and numbers given out."""
    return (
        sorted((row[1:] for row in lab.scores()), key=repr),
        sorted(lab.execute("SELECT * FROM ARTSCORES")),
        sorted(lab.execute("SELECT * FROM ARTSCORE_REGIONS")),
        lab.ledger_rows("SELECT image_id, action, json_extract(after, '$.score'), state FROM writes ORDER BY image_id, id"),
        lab.ledger_rows("SELECT name, state FROM batches ORDER BY id"),
    )


@contextmanager
def lost_at(step: int, after: bool = False) -> Iterator[Callable[[], int]]:
    """From its ``step``-th statement or commit on XtalTrak is away, until the block ends; ``after``: that one still came through."""
    steps = count(1)
    done = 0

    def met() -> bool:
        nonlocal done
        done = next(steps)
        return done > step or (done == step and not after)

    def losing(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: SqliteXtalTrak, *args: Any) -> Any:
            if met():
                raise TryAgainLater("XtalTrak: the connection is lost")
            answer = method(self, *args)
            if done >= step:
                raise TryAgainLater("XtalTrak: the connection is lost")
            return answer

        return call

    original = SqliteXtalTrak.transaction

    @contextmanager
    def transaction(self: SqliteXtalTrak) -> Iterator[None]:
        with original(self):
            yield
            if met():  # rolled back
                raise TryAgainLater("XtalTrak: the connection is lost")
        if done >= step:  # committed, and nobody told us
            raise TryAgainLater("XtalTrak: the connection is lost")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("execute", "executemany", "query"):
            patch.setattr(SqliteXtalTrak, name, losing(getattr(SqliteXtalTrak, name)))
        patch.setattr(SqliteXtalTrak, "transaction", transaction)
        yield lambda: done


@pytest.mark.parametrize("what", ["import", "undo"])
def test_the_next_round_ends_as_if_nothing_had_been(tmp_path: Path, what: str) -> None:
    lab, batch = prepared(tmp_path / "lab")
    lab.finalize()
    if what == "undo":
        lab.finish()

    def work(lab: Lab) -> None:
        if what == "undo":
            lab.undo(batch)
        else:
            assert lab.set_autoscore() == []

    quiet = lab.copy(tmp_path / "quiet")
    with lost_at(10**9) as statements:
        work(quiet)
    expected, steps = held(quiet), statements()
    for step in kill_points(LOSSES, steps, seed=6) if LOSSES else range(1, steps + 1):
        for after in (False, True):
            shaken = lab.copy(tmp_path / f"lost-{step}-{after}")
            with pytest.raises(TryAgainLater, match="the connection is lost"), lost_at(step, after):
                work(shaken)
            people = [row[1:] for row in shaken.people()]
            work(shaken)
            assert held(shaken) == expected, f"lost {'after' if after else 'before'} statement {step} of {steps}"
            assert [row[1:] for row in shaken.people()] == people == [row[1:] for row in quiet.people()]
