"""The loop of every service."""

from __future__ import annotations

import logging
import os
import signal
import time

import pytest

from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.service import Pulse, Stop, run_service


def test_once_works_until_nothing_is_left() -> None:
    left = [True, True, False, True]
    run_service("s", lambda stop: left.pop(0), once=True, seconds=60)
    assert left == [True]


def test_once_tells_that_something_is_away() -> None:
    def away(stop: Stop) -> None:
        raise TryAgainLater("the disk is full")

    with pytest.raises(TryAgainLater, match="full"):
        run_service("s", away, once=True, seconds=60)


def test_a_loop_tells_a_trouble_once_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rounds = iter(["the disk is full", "the disk is full", "", "the disk is full", "the ledger is away", None])

    def one_round(stop: Stop) -> bool:
        trouble = next(rounds)
        if trouble is None:
            stop.set()
        elif trouble:
            raise TryAgainLater(trouble)
        return False

    run_service("s", one_round, once=False, seconds=0.001)
    told = [record.getMessage() for record in caplog.records]
    back = "works again after 0 s"
    assert told == ["the disk is full", back, "the disk is full", "the ledger is away", back, "stopped by a signal"]


def test_the_pause_doubles_while_something_is_away_up_to_the_longest_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pauses: list[float] = []
    monkeypatch.setattr(Stop, "wait", lambda self, seconds: pauses.append(seconds))

    def one_round(stop: Stop) -> None:
        if len(pauses) == 8:
            stop.set()
        elif len(pauses) != 6:
            raise TryAgainLater(f"away, by whichever of {len(pauses) % 2} names")

    run_service("s", one_round, once=False, seconds=10, longest_pause=100)
    assert pauses == [10, 20, 40, 80, 100, 100, 10, 10, 10]  # the seventh round succeeds, the eighth fails for the first time again
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "away, by whichever of 0 names",
        "away, by whichever of 1 names",
        "away, by whichever of 1 names",
    ]


def test_a_pause_that_is_longer_than_the_longest_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Stop, "wait", lambda self, seconds: pauses.append(seconds))

    def one_round(stop: Stop) -> None:
        if len(pauses) < 3:
            raise TryAgainLater("away")
        stop.set()

    run_service("retention", one_round, once=False, seconds=3600, longest_pause=100)
    assert pauses == [3600, 3600, 3600, 3600]


def test_a_pulse_turns_bad_with_a_failed_round_and_good_with_the_next() -> None:
    pulse = Pulse("s")
    seen: list[str | None] = []

    def one_round(stop: Stop) -> bool:
        seen.append(pulse.unwell(60))
        if len(seen) < 3:
            raise TryAgainLater("the ledger is away")
        stop._asked = len(seen) == 4
        return True

    run_service("s", one_round, once=False, seconds=0.001, pulse=pulse)
    assert seen == [None, "for 0 s: the ledger is away", "for 0 s: the ledger is away", None]
    assert (pulse.rounds, pulse.succeeded_at is not None) == ({"done": 2, "failed": 2}, True)


def test_a_round_that_never_looks_up_is_no_life() -> None:
    pulse, stop = Pulse("s"), Stop()
    assert pulse.unwell(60) is None  # not begun yet
    pulse.begin(stop)
    stop.looked_at -= 61
    assert pulse.unwell(60) == "no sign of life for 61 s"
    stop.is_set()
    assert pulse.unwell(60) is None


def test_another_error_ends_a_loop() -> None:
    def wrong(stop: Stop) -> None:
        raise SettingsError("no model")

    with pytest.raises(SettingsError):
        run_service("s", wrong, once=False, seconds=0.001)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_pause_and_the_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    rounds = 0

    def one_round(stop: Stop) -> None:
        nonlocal rounds
        rounds += 1
        os.kill(os.getpid(), number)
        assert stop.is_set()
        assert signal.getsignal(number) == before  # a second signal ends the program at once

    start = time.monotonic()
    run_service("s", one_round, once=False, seconds=60)
    assert time.monotonic() - start < 30
    assert rounds == 1
    assert signal.getsignal(number) == before


def test_a_signal_stops_once_too() -> None:
    def endless(stop: Stop) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    run_service("s", endless, once=True, seconds=60)
