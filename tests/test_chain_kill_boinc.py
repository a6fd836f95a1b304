"""The whole chain over a BOINC grid under SIGKILL: the tables are those of a run with the local grid that nobody disturbed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_boinc import FakeBoinc
from scored_lab import Lab
from test_chain_kill import SHOTS, Chain, prepared, score, tables
from test_chain_kill import warm as warm
from tiny_model import write_model

SEED = 20231107
KILLS = 10


class BoincChain(Chain):
    """A chain whose clients are not ours to kill; BOINC takes care of them."""

    def _kill(self, stage: str, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def shake(self, seconds: float, *arguments: str) -> None:
        for number in range(KILLS):
            pid = self.start_warm(*arguments)
            time.sleep(self.chance.uniform(0.0, seconds / 3 if number % 2 else 0.2))
            self._kill(arguments[0], pid)
            self._count(arguments[0], self.end_warm())
        self.run(*arguments)


@contextmanager
def volunteer(boinc: FakeBoinc, model: Path) -> Iterator[list[str]]:
    """A volunteer who runs the real client on each job and sends garbage for the first; BOINC lets all of it into the inbox.

    Yields the names of the jobs that were done.
    """
    done: list[str] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            for name in sorted(set(boinc.jobs()) - set(done)):
                work_unit, result = boinc.input(name), boinc.path.parent / "slot" / f"{name}.zip"
                result.parent.mkdir(exist_ok=True)
                command = [sys.executable, "-m", "client_app", str(work_unit), str(result), "--model", str(model)]
                subprocess.run(command, check=True, capture_output=True)
                if not done:
                    result.write_bytes(result.read_bytes()[:-1000])
                boinc.assimilate(name, result)
                work_unit.unlink()  # as the file deleter does
                done.append(name)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()


def over_boinc(lab: Lab, boinc: FakeBoinc) -> Lab:
    file = lab.root / "crystal-search.toml"
    settings = file.read_text().replace("[grid]", '[grid]\nkind = "boinc"')
    file.write_text(f'{settings}\n[boinc]\nproject = "{boinc.path}"\n')
    return lab


@pytest.mark.slow
def test_the_chain_over_boinc_under_kills_ends_as_the_local_one(tmp_path: Path, warm: subprocess.Popen[str]) -> None:
    model = write_model(tmp_path / "model")
    lab = prepared(tmp_path, model)
    boinc = FakeBoinc(tmp_path / "boinc" / "project")
    local = Chain(lab.copy(tmp_path / "local"), warm, random.Random(SEED))
    shaken = BoincChain(over_boinc(lab.copy(tmp_path / "shaken"), boinc), warm, random.Random(SEED))

    begun = time.monotonic()
    local.run("work-generator", "--once")
    shaken.shake(time.monotonic() - begun, "work-generator", "--once")
    for chain in (local, shaken):
        score(chain.lab, "A02a", "12")
    local.run("assimilate", "--once")
    with volunteer(boinc, model) as done:
        shaken.shake(6.0, "assimilate", "--once")
    for stage in ("finalize", "set-autoscore"):
        for chain in (local, shaken):
            chain.run(stage, "--once")

    print({"kills": shaken.kills, "jobs": done})
    expected, found = tables(local.lab), tables(shaken.lab)
    refusals, aside = found.pop("refusals"), found.pop("left over")
    assert expected.pop("refusals") == expected.pop("left over") == []
    for name in expected:
        assert found[name] == expected[name], name
    assert len(expected["images"]) == len(SHOTS) - 1 * 2
    assert len(refusals) == len(aside) == 1, "the garbage, set aside"
    assert len(done) == len(set(done)) == len(expected["work units"]) + 1, "each job was created once, and one was sent again"
    spool = shaken.lab.settings.boinc_spool / "records"
    assert [path.name for path in (*boinc.inbox.iterdir(), *spool.glob("*.json"), *(boinc.path / "download").iterdir())] == []
    assert min(shaken.kills.values()) >= 3, "how many depends on the machine's speed"
