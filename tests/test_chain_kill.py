"""The whole chain under SIGKILL: no image is lost, none is scored twice, and the tables are those of a run that nobody disturbed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from scored_lab import Lab, image_name
from tiny_model import encoded, picture, write_model

SEED = 20231107
#: How often each stage is to be killed: started warm, so that the kill meets it at work, and as a command with its whole start-up.
WARM_KILLS, COLD_KILLS = 14, 3

#: Two inspections of eight drops; what the tiny model sees in each image.
PATCHES: dict[str, list[tuple[str, int, int]]] = {
    "A01a": [("crystals_harvestable", 96, 64)],
    "A02a": [("precipitate", 96, 64)],
    "A03a": [("phase_separation", 96, 64)],
    "A04a": [],
    "B01a": [("precipitate", 64, 48), ("crystals_harvestable", 128, 80)],
    "B02a": [("phase_separation", 64, 48)],
    "B03a": [("precipitate", 64, 48)],
    "B04a": [],
}
SHOTS = [(label, number) for label in PATCHES for number in (1, 2)]


@dataclass
class Chain:
    """A lab with its settings file, and the commands that run in it."""

    lab: Lab
    warm: subprocess.Popen[str]
    chance: random.Random
    kills: dict[str, int] = field(default_factory=dict)

    @property
    def settings(self) -> str:
        return str(self.lab.root / "crystal-search.toml")

    @property
    def log(self) -> Path:
        return self.lab.root / "log.txt"

    def start_cold(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "crystal_search", *arguments, "--settings", self.settings]
            return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)

    def start_warm(self, *arguments: str) -> int:
        assert self.warm.stdin
        assert self.warm.stdout
        self.warm.stdin.write(json.dumps([str(self.log), *arguments, "--settings", self.settings]) + "\n")
        self.warm.stdin.flush()
        return int(self.warm.stdout.readline())

    def end_warm(self) -> int:
        """The exit code of the warm command, negative for a signal."""
        assert self.warm.stdout
        return os.waitstatus_to_exitcode(int(self.warm.stdout.readline()))

    def run(self, *arguments: str) -> None:
        """Run a command to its end, undisturbed."""
        self.start_warm(*arguments)
        code = self.end_warm()
        assert code == 0, self.log.read_text()[-3000:]

    def shake(self, seconds: float, *arguments: str) -> None:
        """Kill a command again and again, then let it end. ``seconds`` is how long it runs when started warm."""
        for number in range(WARM_KILLS):
            pid = self.start_warm(*arguments)
            time.sleep(self.chance.uniform(0.0, seconds / 3 if number % 2 else 0.05))
            self._kill(arguments[0], pid)
            self._count(arguments[0], self.end_warm())
        for _ in range(COLD_KILLS):
            process = self.start_cold(*arguments)
            time.sleep(self.chance.uniform(0.05, 1.5))
            self._kill(arguments[0], process.pid)
            self._count(arguments[0], process.wait())
        self.run(*arguments)

    def _kill(self, stage: str, pid: int) -> None:
        """Kill a process; of the assimilator its clients too, or they alone a moment before, or they live on."""
        whom = self.chance.choice(["both", "poller", "clients first"]) if stage == "assimilate" else "poller"
        if stage == "assimilate" and self.kills.get("client", 0) < 3:
            whom = "clients first"
            wait_for(lambda: any(self._clients()))
        if whom == "clients first":
            self._kill_clients()
            time.sleep(self.chance.uniform(0.0, 0.3))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if whom == "both":
            self._kill_clients()

    def _kill_clients(self) -> None:
        for pid in self._clients():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kills["client"] = self.kills.get("client", 0) + 1

    def _clients(self) -> Iterator[int]:
        """The process ids of clients that live."""
        for lock in self.lab.settings.grid_spool.glob("wu_*/lock"):
            with contextlib.suppress(ValueError, OSError):
                pid = int(lock.read_text())
                if b"client_app" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    yield pid

    def _count(self, stage: str, code: int) -> None:
        assert code in (0, -signal.SIGKILL), self.log.read_text()[-3000:]
        self.kills[stage] = self.kills.get(stage, 0) + (code != 0)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def prepared(root: Path, model: Path) -> Lab:
    """Images on disk and in XtalTrak; a person has scored one drop."""
    lab = Lab(root / "lab")
    lab.root.mkdir(parents=True)
    incoming = root / "incoming"
    incoming.mkdir()
    for pixel, (label, number) in enumerate(SHOTS):
        name = image_name(label, number).replace(".jpg", ".png")
        drawn = picture(*PATCHES[label], drop=(label, number) != ("A04a", 2))
        drawn.putpixel((0, 0), pixel)
        (incoming / name).write_bytes(encoded(drawn))
    (lab.root / "crystal-search.toml").write_text(
        f"""
        [paths]
        state = "state"
        images = "images"
        [xtaltrak]
        database = "xtaltrak.sqlite"
        um_per_px = {{}}
        [scoring]
        model = "{model}"
        [generator]
        images_per_work_unit = 3
        [grid]
        workers = 2
        [finalizer]
        rows_per_transaction = 2
        """
    )
    command = [sys.executable, "-m", "crystal_search", "load", str(incoming), "--settings", str(lab.root / "crystal-search.toml")]
    subprocess.run(command, check=True, capture_output=True)
    score(lab, "B03a", "11")
    return lab


def score(lab: Lab, label: str, value: str) -> None:
    """A person scores the first inspection of a drop."""
    name = image_name(label, 1).replace(".jpg", ".png")
    lab.execute(
        "INSERT INTO I_SCORES (SCOREID, INSPECTID, SCORE, SCOREDATE, IMAGENAME, SCOREDBY) "
        "SELECT (SELECT COALESCE(MAX(SCOREID), 0) + 1 FROM I_SCORES WHERE SCOREID < 1000000000), "
        "INSPECTID, ?, '2024-06-01 12:00:00', IMAGENAME, 'Berta' FROM I_IMAGES WHERE IMAGENAME = ?",
        value,
        name,
    )


def tables(lab: Lab) -> dict[str, Any]:
    """Everything that was decided; no times, no numbers that were given out."""
    images = "SELECT images.inspection_id, images.image_name, {} FROM images LEFT JOIN {} ORDER BY 1, 2"
    score = "artscores.status, class_name, score, probability, crystal_probability, drop_box, chops"
    change = "action, json_extract(before, '$.score'), json_extract(after, '$.score'), json_extract(after, '$.scored_at'), writes.state"
    units = (
        "SELECT work_units.state, count(*) FROM work_units JOIN images ON work_unit_id = work_units.id GROUP BY work_units.id ORDER BY 1, 2"
    )
    return {
        "score table": sorted((row[1:] for row in lab.scores()), key=repr),
        "images": lab.ledger_rows(images.format("images.state, images.reason", "batches ON batches.id = images.batch_id")),
        "artscores": lab.ledger_rows(images.format(score, "artscores ON image_id = images.id")),
        "writes": lab.ledger_rows(images.format(change, "writes ON image_id = images.id")),
        "batches": lab.ledger_rows("SELECT state, priority, search FROM batches ORDER BY id"),
        "work units": lab.ledger_rows(units),
        "results": lab.ledger_rows("SELECT count(*) FROM results"),
        "refusals": lab.ledger_rows("SELECT * FROM refusals"),
        "CSV": sorted(path.read_bytes() for path in lab.settings.csv.glob("*.csv")),
        "archives": len(list(lab.settings.results.glob("*/*.zip"))),
        "left over": [
            str(path.relative_to(lab.root))
            for folder in (lab.settings.work_units, lab.settings.refused, lab.settings.grid_spool)
            for path in folder.glob("*")
            if path.name != "lock" and not path.name.startswith(".")
        ],
    }


@pytest.fixture
def warm() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(Path(__file__).with_name("warm_start.py"))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_the_chain_under_kills_ends_as_without_them(tmp_path: Path, warm: subprocess.Popen[str]) -> None:
    print(f"seed {SEED}")
    model = write_model(tmp_path / "model")
    lab = prepared(tmp_path, model)
    quiet = Chain(lab.copy(tmp_path / "quiet"), warm, random.Random(SEED))
    shaken = Chain(lab.copy(tmp_path / "shaken"), warm, random.Random(SEED))

    seconds: dict[str, float] = {}

    def both(*arguments: str) -> None:
        begun = time.monotonic()
        quiet.run(*arguments)
        seconds[arguments[0]] = time.monotonic() - begun
        shaken.shake(seconds[arguments[0]], *arguments)

    both("work-generator", "--once")
    for chain in (quiet, shaken):
        score(chain.lab, "A02a", "12")  # before the import: ours is withheld
    both("assimilate", "--once")
    both("finalize", "--once")
    both("set-autoscore", "--once")
    for chain in (quiet, shaken):
        score(chain.lab, "A01a", "22")  # after the import: ours is taken out
    both("set-autoscore", "--once")

    print({"kills": shaken.kills, "seconds": seconds})
    assert sum(shaken.kills.values()) >= 50
    assert shaken.kills["client"] >= 3
    expected, found = tables(quiet.lab), tables(shaken.lab)
    for name in expected:
        assert found[name] == expected[name], name
    assert expected["left over"] == expected["refusals"] == []
    assert len(expected["images"]) == len(SHOTS) - 2, "all but those of the drop that a person had scored"
    assert {row[2] for row in expected["images"]} == {"scored", "no_drop"}
    assert [row[2:] for row in expected["score table"] if row[4] == "Berta"] == [
        (score, "2024-06-01 12:00:00", "Berta") for score in ("22", "12", "11")
    ]

    (batch,) = (name for (name,) in shaken.lab.ledger_rows("SELECT name FROM batches"))
    shaken.shake(0.3, "undo", batch)
    assert {row[5] for row in shaken.lab.scores()} == {"Berta"}
