"""The rate limit for the lab's database: how long is waited, and where not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from generator_lab import make_lab
from hypothesis import given
from hypothesis import strategies as st

from crystal_search.errors import SettingsError
from crystal_search.settings import load_settings
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.throttle import Throttle, ThrottledXtalTrak


@dataclass
class Clock:
    """Time passes only in sleep."""

    at: float = 100.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


def throttle(clock: Clock, queries: float | None = None, rows: float | None = None) -> Throttle:
    return Throttle(queries, rows, clock.now, clock.sleep)


def test_rows_and_queries_take_their_time() -> None:
    clock = Clock()
    limit = throttle(clock, queries=2.0, rows=1000.0)
    for rows in (5000, 10, 0):
        limit.wait()
        limit.asked(rows)
    limit.wait()
    assert clock.slept == [5.0, 0.5, 0.5]  # 5000 rows at 1000 a second; then a query, at two a second


@given(st.lists(st.tuples(st.integers(0, 20_000), st.floats(0, 30)), min_size=1, max_size=30))
def test_on_average_it_is_never_faster(asked: list[tuple[int, float]]) -> None:
    clock = Clock()
    limit = throttle(clock, rows=500.0)
    for rows, idle in asked:
        limit.wait()
        limit.asked(rows)
        clock.at += idle
    limit.wait()
    assert clock.at - 100.0 >= sum(rows for rows, _ in asked) / 500.0 * (1 - 1e-9)


def test_the_settings_ask_for_it(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, settings="[xtaltrak]\nrows_per_second = 250\n")
    with open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        assert isinstance(xtaltrak, ThrottledXtalTrak)
        assert xtaltrak._throttle.rows_per_second == 250
    with open_xtaltrak(lab.settings.xtaltrak) as again:
        assert isinstance(again, ThrottledXtalTrak)
        assert again._throttle is xtaltrak._throttle, "what one round has used up counts in the next"
    lab.round()
    assert lab.counts() == {"in_work": 6}
    lab.settings_file.write_text("[xtaltrak]\nrows_per_second = 0\n")
    with pytest.raises(SettingsError, match=r"xtaltrak\.rows_per_second"):
        load_settings(lab.settings_file)


def test_under_the_lock_nothing_waits(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    clock = Clock()
    with open_xtaltrak(lab.settings.xtaltrak) as inner:
        xtaltrak = ThrottledXtalTrak(inner, throttle(clock, queries=1.0))
        with xtaltrak.transaction():
            for _ in range(3):
                xtaltrak.query("newest_inspection")
            assert clock.slept == []
        xtaltrak.query("newest_inspection")
    assert clock.slept == [3.0], "afterwards it is made up for"
