"""A small share of the fuzzing (tests/fuzz/README.md) on every run, and proof that it would notice what it looks for."""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fuzz import driver, targets
from fuzz.driver import Summary, attack, input_of, run

from crystal_search.archives import ArchiveError

SHARE = 2000


@pytest.fixture(scope="module")
def summary() -> Summary:
    return run(range(SHARE), seed=20_261_125)


def test_nothing_but_an_answer_or_one_line_comes_out(summary: Summary) -> None:
    assert summary.findings == {}
    assert sum(outcome.answered + outcome.refused for outcome in summary.outcomes.values()) == SHARE


def test_every_target_gets_inputs_that_pass_and_inputs_that_do_not(summary: Summary) -> None:
    """Fuzzing that never gets behind the first check would prove nothing."""
    for name, outcome in summary.outcomes.items():
        assert outcome.answered >= 3, name
        assert outcome.refused >= 3 or name == "Checkpoint.load", name


def test_an_input_can_be_made_again() -> None:
    assert [input_of(7, number) for number in range(50)] == [input_of(7, number) for number in range(50)]
    assert len({input_of(7, number)[1] for number in range(50)}) > 40


def flood(_: bytes, __: Path) -> None:
    list(range(10**9))


def crash() -> None:
    faulthandler.disable()  # which pytest uses, and which would tell all about it
    os.abort()


def two_lines(_: bytes, __: Path) -> None:
    raise ArchiveError("one\ntwo")


def foreign(_: bytes, __: Path) -> None:
    raise KeyError("secret")


def slow(_: bytes, __: Path) -> None:
    begin = time.process_time()
    while time.process_time() - begin < driver.SECONDS + 0.1:
        pass


@pytest.mark.parametrize(("fault", "words"), [(two_lines, "not one line"), (foreign, "KeyError: 'secret' (test_fuzz.py")])
def test_what_may_not_happen_is_a_finding(tmp_path: Path, fault: Callable[[bytes, Path], None], words: str) -> None:
    assert words in attack(replace(targets.TARGETS[0], attack=fault), b"", tmp_path)


def test_what_takes_too_long_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "SECONDS", 0.2)
    assert attack(replace(targets.TARGETS[0], attack=slow), b"", tmp_path) == "found: 0.3 s"


def test_a_crash_a_hang_and_a_flood_are_findings_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is forked here, so that it has this test's targets; input 3 crashes it, 5 never ends, 8 takes all memory."""
    faults = {3: crash, 5: lambda: time.sleep(60), 8: lambda: flood(b"", Path())}

    def numbered(_seed: int, number: int) -> tuple[targets.Target, bytes]:
        return replace(targets.TARGETS[0], attack=lambda *_: faults.get(number, lambda: None)()), b""

    monkeypatch.setattr(driver, "input_of", numbered)
    monkeypatch.setattr(driver, "PATIENCE", 2.0)
    monkeypatch.setattr(driver, "START", "fork")
    summary = run(range(12), seed=1, processes=2, memory_mb=600)
    assert sorted(summary.findings) == [3, 5, 8]
    assert summary.findings[3] == "the process ended with -6"
    assert summary.findings[5] == "no answer in 2 s"
    assert summary.findings[8].startswith("MemoryError")
    assert sum(outcome.answered for outcome in summary.outcomes.values()) == 9
