"""Inputs by their number, attacked in processes of their own, so that a crash, a hang or a flood of memory is seen and its input is kept.

An input depends on the seed and its number alone: whatever was found can be made again.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from client_app.memory import DEFAULT_MEMORY_MB, limit_memory
from crystal_search.errors import CrystalSearchError

from .damage import Chance
from .targets import TARGETS, Target

#: An input takes at most this long, in seconds of the processor, which other programs do not prolong.
SECONDS = 5.0
#: How a worker begins: as a new program, without what this one holds.
START = "spawn"
#: A worker that is silent for so long hangs.
PATIENCE = 60.0

_Report = tuple[int, str, float, int]
_ANSWERED, _REFUSED, _FOUND = "answered", "refused", "found: "


@dataclass
class Outcome:
    """What became of all inputs of one target."""

    answered: int = 0
    refused: int = 0
    slowest: tuple[float, int] = (0.0, -1)


@dataclass
class Summary:
    """``outcomes`` by target; ``peak`` in MB, ``slowest`` and ``peak`` with the input's number; ``findings`` by number."""

    outcomes: dict[str, Outcome] = field(default_factory=lambda: {target.name: Outcome() for target in TARGETS})
    peak: tuple[int, int] = (0, -1)
    findings: dict[int, str] = field(default_factory=dict)


def input_of(seed: int, number: int) -> tuple[Target, bytes]:
    """Input ``number`` of a seed, and what it is for."""
    chance = np.random.default_rng([seed, number])
    target = _target(chance)
    return target, target.make(chance)


def _target(chance: Chance) -> Target:
    place = int(chance.integers(1000))
    for target in TARGETS:
        if place < target.share:
            return target
        place -= target.share
    raise AssertionError("the shares are thousandths")


def attack(target: Target, content: bytes, folder: Path) -> str:
    """``answered``, ``refused``, or ``found: `` and what should not have happened."""
    begin = time.process_time()
    try:
        target.attack(content, folder)
        outcome = _ANSWERED
    except CrystalSearchError as error:
        line = str(error)
        outcome = _REFUSED if line and "\n" not in line else f"{_FOUND}not one line: {line[:200]!r}"
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        outcome = f"{_FOUND}{type(error).__name__}: {' '.join(str(error).split())[:200]} ({Path(last.filename).name}:{last.lineno})"
    seconds = time.process_time() - begin
    return f"{_FOUND}{seconds:.1f} s" if seconds > SECONDS and not outcome.startswith(_FOUND) else outcome


def _work(reports: Connection, seed: int, numbers: Sequence[int], memory_mb: int) -> None:
    """In a process of its own: each input, and what became of it, with seconds and the peak of memory so far in MB."""
    limit_memory(memory_mb, 1)
    _silence_libtiff()
    warnings.simplefilter("ignore")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            target, content = input_of(seed, number)
            reports.send((number, "", 0.0, 0))
            begin = time.process_time()
            outcome = attack(target, content, Path(folder))
            reports.send((number, outcome, time.process_time() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))


def _silence_libtiff() -> None:
    """It complains about every damaged file on the standard error of C; that of Python stays."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


class _Worker:
    """One process and the inputs that are left for it."""

    def __init__(self, seed: int, numbers: Sequence[int], memory_mb: int) -> None:
        self._seed, self._left, self._memory_mb = seed, list(numbers), memory_mb
        self.at: int | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context(START)
        self.reports, theirs = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(target=_work, args=(theirs, self._seed, self._left, self._memory_mb), daemon=True)
        self.process.start()
        theirs.close()
        self.heard = time.monotonic()

    def receive(self) -> _Report | None:
        """The next report; None when there will be no more from this process."""
        try:
            report: _Report = self.reports.recv()
        except EOFError:
            return None
        self.heard = time.monotonic()
        self.at = report[0]
        if report[1]:
            self.at = None
            self._left.remove(report[0])
        return report

    def ended(self) -> str | None:
        """How the process ended inside of an input, or None where it was done; in the first case another one goes on behind that input."""
        self.process.join()
        code = self.process.exitcode
        self.reports.close()
        if code == 0 and not self._left:
            return None
        if self.at is None:
            raise RuntimeError(f"a worker ended with {code} outside of an input")
        self._left.remove(self.at)
        return f"the process ended with {code}"

    def go_on(self) -> bool:
        self.at = None
        if self._left:
            self._start()
        return bool(self._left)


def run(
    numbers: Sequence[int], seed: int, processes: int = 2, memory_mb: int = DEFAULT_MEMORY_MB, tick: Callable[[], None] = lambda: None
) -> Summary:
    """Attack with the inputs ``numbers`` of ``seed``; ``tick`` is called for each that is done."""
    summary = Summary()
    workers = [_Worker(seed, numbers[first::processes], memory_mb) for first in range(min(processes, len(numbers)))]
    while workers:
        ready = wait([worker.reports for worker in workers], timeout=1.0)
        for worker in list(workers):
            if worker.reports in ready:
                if (report := worker.receive()) is not None:
                    if report[1]:
                        _note(summary, seed, report)
                        tick()
                    continue
                how, at = "", worker.at
                if (ended := worker.ended()) is not None and at is not None:
                    how = ended
            elif time.monotonic() - worker.heard > PATIENCE and worker.at is not None:
                worker.process.kill()
                at = worker.at
                worker.ended()
                how = f"no answer in {PATIENCE:.0f} s"
            else:
                continue
            if how and at is not None:
                summary.findings[at] = how
                tick()
            if not worker.go_on():
                workers.remove(worker)
    return summary


def _note(summary: Summary, seed: int, report: _Report) -> None:
    number, outcome, seconds, peak = report
    of_target = summary.outcomes[_target(np.random.default_rng([seed, number])).name]
    if outcome.startswith(_FOUND):
        summary.findings[number] = outcome.removeprefix(_FOUND)
    elif outcome == _ANSWERED:
        of_target.answered += 1
    else:
        of_target.refused += 1
    of_target.slowest = max(of_target.slowest, (seconds, number))
    if peak > summary.peak[0]:
        summary.peak = peak, number


def table(summary: Summary) -> Iterator[str]:
    """The summary for people, line by line."""
    yield f"{'target':<42} {'inputs':>8} {'answered':>9} {'refused':>8}  slowest (input)"
    for name, outcome in summary.outcomes.items():
        seconds, number = outcome.slowest
        total = outcome.answered + outcome.refused
        yield f"{name:<42} {total:>8} {outcome.answered:>9} {outcome.refused:>8}  {seconds:.2f} s ({number})"
    yield f"peak of memory {summary.peak[0]} MB (input {summary.peak[1]})"
    yield f"{len(summary.findings)} findings"
    for number, what in sorted(summary.findings.items()):
        yield f"  {number}: {what}"
