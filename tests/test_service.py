"""The loop of every service."""

from __future__ import annotations

import logging
import os
import signal
import time

import pytest

from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.service import Stop, run_service


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
    assert told == ["the disk is full", "works again", "the disk is full", "the ledger is away", "works again", "stopped by a signal"]


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
