"""The local grid: what is submitted comes back once or is given up with a reason, whoever is killed when."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_disk import small_disk

from assimilator.validate import validator
from crystal_search.archives import (
    FORMAT_VERSION,
    ChopResult,
    ImageResult,
    Manifest,
    ModelReference,
    Results,
    Status,
    WorkImage,
    random_id,
    sha256_hex,
    write_results,
    write_work_unit,
)
from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.grid import GaveUp, Refused, Returned
from crystal_search.grid import local as local_grid
from crystal_search.grid.local import LocalGrid

MODEL = ModelReference(name="tiny", sha256="a" * 64)
FAKE_CLIENT = (sys.executable, "-S", "-E", str(Path(__file__).with_name("fake_client.py")))

Event = Returned | Refused | GaveUp


@dataclass
class Lab:
    """A spool, packed work units, and a plan of what the fake client does with each."""

    root: Path
    clock: float = 1000.0

    @property
    def spool(self) -> Path:
        return self.root / "grid"

    def grid(self, workers: int = 1) -> LocalGrid:
        return LocalGrid(
            self.spool,
            validator=validator(self.root / "work_units"),
            workers=workers,
            command=(*FAKE_CLIENT, str(self.root / "plans")),
            now=lambda: self.clock,
        )

    def pack(self, name: str, *plans: str, images: int = 2) -> Path:
        """A work unit ZIP whose client follows ``plans``, one a run; ``good`` is a right answer."""
        content = [name.encode() + bytes([n]) for n in range(images)]
        ids = [random_id() for _ in content]
        asked = [WorkImage(id=i, file=f"{i}.jpg", sha256=sha256_hex(c)) for i, c in zip(ids, content, strict=True)]
        manifest = Manifest(format_version=FORMAT_VERSION, name=name, model=MODEL, threshold=0.85, images=asked)
        path = self.root / "work_units" / f"{name}.zip"
        write_work_unit(path, manifest, {image.file: c for image, c in zip(asked, content, strict=True)})
        write_results(self.root / "good" / f"{name}.zip", answer(manifest), {})
        folder = self.root / "plans" / name
        folder.mkdir(parents=True)
        for number, plan in enumerate(plans, 1):
            (folder / str(number)).write_text(plan.replace("good", str(self.root / "good" / f"{name}.zip")))
        return path

    def runs(self, name: str) -> list[list[str]]:
        """Process id, result's name, niceness, time and options of each run of the client."""
        folder = self.root / "plans" / name
        return [(folder / f"run-{n}").read_text().split(" ", 4) for n in range(1, len(list(folder.glob("run-*"))) + 1)]


def answer(manifest: Manifest) -> Results:
    images = [
        ImageResult(
            id=image.id,
            status=Status.SCORED,
            drop_box=(0, 0, 300, 300),
            class_name="clear",
            score="01",
            probability=0.9,
            crystal_probability=0.05,
            chops=[ChopResult(box=(0, 0, 256, 256), class_name="clear", probability=0.9)],
        )
        for image in manifest.images
    ]
    return Results(
        format_version=FORMAT_VERSION, work_unit=manifest.name, client_version="0", model=MODEL, runtime="t", provider="CPU", images=images
    )


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def drive(grid: LocalGrid, until: Callable[[list[Event]], bool], acknowledge: bool = True) -> list[Event]:
    """Poll until ``until`` holds for all that was seen."""
    seen: list[Event] = []
    end = time.monotonic() + 120
    while not until(seen):
        assert time.monotonic() < end, f"only {seen}"
        for event in grid.poll():
            if event not in seen:
                seen.append(event)
            if acknowledge:
                grid.acknowledge(event)
        time.sleep(0.01)
    return seen


def nothing_left(grid: LocalGrid) -> Callable[[list[Event]], bool]:
    return lambda _seen: grid.open_work_units() == 0 and not grid.poll()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_result_stays_until_it_is_acknowledged(lab: Lab) -> None:
    grid = lab.grid()
    grid.submit(lab.pack("wu_b_1", "copy good"))
    (event,) = drive(grid, bool, acknowledge=False)
    assert isinstance(event, Returned)
    assert event.path.read_bytes() == (lab.root / "good" / "wu_b_1.zip").read_bytes()
    assert grid.open_work_units() == 0
    assert grid.poll() == [event] == lab.grid().poll()
    grid.acknowledge(event)
    grid.acknowledge(event)
    assert grid.poll() == []
    assert (lab.root / "work_units" / "wu_b_1.zip").exists(), "the packed work unit is not the grid's to remove"


def test_submitting_again_changes_nothing(lab: Lab) -> None:
    grid = lab.grid()
    path = lab.pack("wu_b_1", "copy good")
    grid.submit(path, priority=7)
    grid.submit(path, priority=100)
    assert json.loads((lab.spool / "wu_b_1" / "state.json").read_text())["priority"] == 7
    assert len(drive(grid, nothing_left(grid))) == 1
    assert len(lab.runs("wu_b_1")) == 1


def test_a_killed_submit_leaves_nothing_half(lab: Lab) -> None:
    path = lab.pack("wu_b_1", "copy good")
    (lab.spool / ".incoming-wu_b_1").mkdir(parents=True)
    (lab.spool / ".incoming-wu_b_1" / "work_unit.zip").write_bytes(b"half")
    assert lab.grid().open_work_units() == 0
    grid = lab.grid()
    grid.submit(path)
    assert [type(event) for event in drive(grid, nothing_left(grid))] == [Returned]


def test_a_work_unit_that_is_not_there_is_not_taken(lab: Lab) -> None:
    with pytest.raises(FileNotFoundError):
        lab.grid().submit(lab.root / "wu_b_1.zip")
    assert lab.grid().open_work_units() == 0


def test_work_goes_by_priority_then_by_age(lab: Lab) -> None:
    grid = lab.grid()
    for number, priority in enumerate([0, 0, 100, 0, 100], 1):
        lab.clock += 1
        grid.submit(lab.pack(f"wu_b_{number}", "copy good"), priority)
    drive(grid, nothing_left(grid))
    started = sorted(range(1, 6), key=lambda n: float(lab.runs(f"wu_b_{n}")[0][3]))
    assert started == [3, 5, 1, 2, 4]


def test_no_more_clients_than_workers_and_each_is_nice(lab: Lab) -> None:
    grid = lab.grid(workers=2)
    go = lab.root / "go"
    for number in (1, 2, 3):
        grid.submit(lab.pack(f"wu_b_{number}", f"wait {go} copy good"))
    wait_for(lambda: grid.poll() == [] and sum(len(lab.runs(f"wu_b_{n}")) for n in (1, 2, 3)) == 2)
    for _ in range(5):
        grid.poll()
    assert sum(len(lab.runs(f"wu_b_{n}")) for n in (1, 2, 3)) == 2
    go.touch()
    drive(grid, nothing_left(grid))
    own = os.nice(0)
    assert [int(lab.runs(f"wu_b_{n}")[0][2]) for n in (1, 2, 3)] == [min(own + 10, 19)] * 3


# ---- bad results --------------------------------------------------------------------------------------------------


def rewritten(change: Callable[[dict[str, object]], None], good: Path, target: Path) -> Path:
    """The good result with its JSON changed."""
    with zipfile.ZipFile(good) as archive:
        document = json.loads(archive.read("results.json"))
    change(document)
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("results.json", json.dumps(document))
    return target


def first_image(key: str, value: object) -> Callable[[dict[str, object]], None]:
    def change(document: dict[str, object]) -> None:
        images = document["images"]
        assert isinstance(images, list)
        images[0][key] = value

    return change


def without_an_image(document: dict[str, object]) -> None:
    images = document["images"]
    assert isinstance(images, list)
    images.pop()


BAD = {
    "wrong model": (lambda d: d["model"].update(name="mine"), "scored with model mine"),
    "wrong model hash": (lambda d: d["model"].update(sha256="b" * 64), "scored with model tiny"),
    "another work unit's": (lambda d: d.update(work_unit="wu_b_9"), "answers wu_b_9"),
    "missing image": (without_an_image, "1 missing"),
    "foreign image": (first_image("id", "c" * 32), "1 foreign"),
    "no number": (first_image("probability", float("nan")), "malformed"),
    "beyond one": (first_image("probability", 1.5), "<= 1.0"),
    "below the threshold": (first_image("probability", 0.5), "not above the threshold"),
    "score of another class": (first_image("score", "23"), "is not that of clear"),
    "newer format": (lambda d: d.update(format_version=2), "format version 2"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_result_is_set_aside_and_the_work_sent_again(lab: Lab, case: str) -> None:
    change, reason = BAD[case]
    path = lab.pack("wu_b_1")
    bad = rewritten(change, lab.root / "good" / "wu_b_1.zip", lab.root / "bad.zip")
    (lab.root / "plans" / "wu_b_1" / "1").write_text(f"copy {bad}")
    (lab.root / "plans" / "wu_b_1" / "2").write_text(f"copy {lab.root / 'good' / 'wu_b_1.zip'}")
    grid = lab.grid()
    grid.submit(path)
    refused, returned = drive(grid, nothing_left(grid))
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert "\n" not in refused.reason
    assert isinstance(returned, Returned)
    assert [run[1] for run in lab.runs("wu_b_1")] == ["result-1.zip", "result-2.zip"], "a refused attempt's checkpoint is not gone on with"


def garbage(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(range(256)) * 9)


def traversal(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../etc/passwd", "x")


def not_json(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("results.json", b"\xff\xfe{")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("make", "reason"),
    [(garbage, "not a readable ZIP"), (traversal, "refused entry name"), (not_json, "results.json"), (empty, "not a readable ZIP")],
)
def test_three_refused_results_give_the_work_unit_up(lab: Lab, make: Callable[[Path], None], reason: str) -> None:
    make(lab.root / "bad.zip")
    grid = lab.grid()
    grid.submit(lab.pack("wu_b_1", f"copy {lab.root / 'bad.zip'}"))
    *refused, gave_up = drive(grid, lambda seen: bool(seen) and isinstance(seen[-1], GaveUp))
    assert [type(event) for event in refused] == [Refused] * 3
    assert len({event.path for event in refused if isinstance(event, Refused)}) == 3
    assert isinstance(gave_up, GaveUp)
    assert reason in gave_up.reason
    assert len(lab.runs("wu_b_1")) == 3
    assert grid.poll() == []
    assert list(lab.spool.glob("[!.]*_*")) == []


def test_refused_results_are_told_before_the_work_unit_is_given_up(lab: Lab) -> None:
    """Otherwise the file of the last refusal would go with its work unit."""
    garbage(lab.root / "bad.zip")
    grid = lab.grid()
    grid.submit(lab.pack("wu_b_1", f"copy {lab.root / 'bad.zip'}"))
    events = drive(grid, lambda seen: len(seen) == 3, acknowledge=False)
    assert [type(event) for event in events] == [Refused] * 3
    assert all(isinstance(event, Refused) and event.path.exists() for event in events)
    for event in events:
        grid.acknowledge(event)
        grid.acknowledge(event)
    assert [type(event) for event in grid.poll()] == [GaveUp]


def test_a_result_for_a_work_unit_that_nobody_sent_is_refused(lab: Lab) -> None:
    path = lab.pack("wu_b_1", "copy good")
    grid = lab.grid()
    grid.submit(path)
    path.unlink()
    (event,) = drive(grid, bool)
    assert isinstance(event, Refused)
    assert "unknown work unit 'wu_b_1'" in event.reason
    grid.cancel("wu_b_1")


def test_a_client_that_fails_is_started_three_times_and_its_last_word_kept(lab: Lab) -> None:
    grid = lab.grid()
    grid.submit(lab.pack("wu_b_1", "exit 1", "exit 2", "exit 1"))
    (event,) = drive(grid, bool)
    assert event == GaveUp("wu_b_1", "the client says 1")


def complaint(grid: LocalGrid) -> str:
    """What the grid raises in the end."""
    with pytest.raises(SettingsError) as caught:
        drive(grid, lambda _seen: False)
    return str(caught.value)


def test_a_model_that_does_not_fit_is_no_attempt(lab: Lab) -> None:
    """One client says so for all, however often; once it is mended, everything comes back."""
    grid = lab.grid(workers=2)
    for number in (1, 2, 3, 4):
        grid.submit(lab.pack(f"wu_b_{number}", *["exit 3"] * 5, "copy good"))
    assert complaint(grid) == "4 work units wait, for the client says: the client says 3"
    assert sum(len(lab.runs(f"wu_b_{n}")) for n in (1, 2, 3, 4)) == 2
    assert complaint(grid), "still"
    assert sum(len(lab.runs(f"wu_b_{n}")) for n in (1, 2, 3, 4)) == 2
    for _ in range(4):
        lab.clock += local_grid.SETTINGS_PAUSE_SECONDS + 1
        for _ in range(3):
            assert complaint(grid)
            time.sleep(0.1)
    for number in (1, 2, 3, 4):
        for plan in (lab.root / "plans" / f"wu_b_{number}").glob("[0-9]*"):
            plan.write_text(f"copy {lab.root / 'good' / f'wu_b_{number}.zip'}")
    events = drive(lab.grid(workers=2), lambda seen: len(seen) == 4)
    assert [type(event) for event in events] == [Returned] * 4
    assert {run[1] for n in (1, 2, 3, 4) for run in lab.runs(f"wu_b_{n}")} == {"result-1.zip"}


def test_work_for_another_model_does_not_hold_up_the_rest(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = lab.grid()
    grid.submit(lab.pack("wu_b_1", "exit 3", "copy good"))
    monkeypatch.setattr(sys.modules[__name__], "MODEL", ModelReference(name="tiny", sha256="b" * 64))
    lab.clock += 1
    grid.submit(lab.pack("wu_b_2", "copy good"))
    (event,) = drive(grid, bool)
    assert event.work_unit == "wu_b_2"
    assert complaint(grid).startswith("1 work units wait")
    lab.clock += local_grid.SETTINGS_PAUSE_SECONDS + 1
    end = time.monotonic() + 120
    events: list[Event] = []
    while not events and time.monotonic() < end:
        with contextlib.suppress(SettingsError):
            events = list(grid.poll())
    assert [type(event) for event in events] == [Returned]


def test_no_result_and_no_word_is_a_failure_too(lab: Lab) -> None:
    grid = lab.grid()
    grid.submit(lab.pack("wu_b_1", "copy /dev/null"))
    (lab.root / "plans" / "wu_b_1" / "1").write_text("exit 0")
    (event,) = drive(grid, bool)
    assert isinstance(event, GaveUp)


# ---- interruptions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", ["exit 4", "kill"])
def test_an_interrupted_client_goes_on_after_a_pause_that_grows(lab: Lab, plan: str) -> None:
    grid = lab.grid()
    grid.submit(lab.pack("wu_b_1", plan, plan, plan, "copy good"))
    for pause, runs in ((1, 1), (2, 2), (4, 3)):
        wait_for(lambda runs=runs: grid.poll() == [] and len(lab.runs("wu_b_1")) == runs)
        wait_for(lambda: grid.poll() == [] and local_grid._read_state(lab.spool / "wu_b_1").phase is local_grid._Phase.QUEUED)
        lab.clock += pause - 0.5
        grid.poll()
        assert len(lab.runs("wu_b_1")) == runs, "not before its time"
        lab.clock += 0.6
    (event,) = drive(grid, bool)
    assert isinstance(event, Returned)
    assert {run[1] for run in lab.runs("wu_b_1")} == {"result-1.zip"}, "the same attempt, so that its checkpoint counts"


def test_a_client_that_hangs_is_stopped_and_goes_on(lab: Lab) -> None:
    """Its checkpoint, the share that is done and its log are signs of life."""
    grid = lab.grid()
    grid.submit(lab.pack("wu_b_1", f"wait {lab.root / 'never'} copy good", "copy good"))
    wait_for(lambda: grid.poll() == [] and len(lab.runs("wu_b_1")) == 1)
    pid = int(lab.runs("wu_b_1")[0][0])
    checkpoint = lab.spool / "wu_b_1" / "result-1.zip.checkpoint"
    checkpoint.mkdir()
    for number in range(3):
        (checkpoint / str(number)).touch()
        grid.poll()
        lab.clock += 1799
        grid.poll()
    assert len(lab.runs("wu_b_1")) == 1
    assert local_grid._is_locked(lab.spool / "wu_b_1")
    lab.clock += 2
    grid.poll()
    assert not Path(f"/proc/{pid}").exists()
    state = json.loads((lab.spool / "wu_b_1" / "state.json").read_text())
    assert (state["phase"], state["failures"], state["interruptions"]) == ("queued", 0, 1)
    assert state["reason"] == "no progress for 1800 s"
    lab.clock += 2
    (event,) = drive(grid, bool)
    assert isinstance(event, Returned)
    assert [run[1] for run in lab.runs("wu_b_1")] == ["result-1.zip"] * 2


def test_a_client_that_hangs_is_stopped_also_when_another_process_started_it(lab: Lab) -> None:
    with poller(lab, lab.pack("wu_b_1", f"wait {lab.root / 'never'} copy good", "copy good")):
        wait_for(lambda: len(lab.runs("wu_b_1")) == 1)
    grid = lab.grid()
    assert grid.poll() == []
    lab.clock += 1801
    assert grid.poll() == []
    lab.clock += 2
    assert isinstance(drive(grid, bool)[0], Returned)


def test_endless_interruptions_end(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_grid, "MAX_INTERRUPTIONS", 2)
    monkeypatch.setattr(local_grid, "MAX_PAUSE_SECONDS", 0.0)
    grid = lab.grid()
    grid.submit(lab.pack("wu_b_1", "exit 4"))
    (event,) = drive(grid, bool)
    assert isinstance(event, GaveUp)
    assert event.reason == "interrupted 3 times; the last time: the client says 4"
    assert len(lab.runs("wu_b_1")) == 9


def test_a_pause_set_by_a_clock_that_ran_ahead_does_not_last(lab: Lab) -> None:
    grid = lab.grid()
    lab.clock = 5e9
    grid.submit(lab.pack("wu_b_1", "kill", "copy good"))
    wait_for(lambda: grid.poll() == [] and b'"not_before":5' in (lab.spool / "wu_b_1" / "state.json").read_bytes())
    lab.clock = 2e9
    assert isinstance(drive(grid, bool)[0], Returned)


POLLER = """
import sys, time
from pathlib import Path
from crystal_search.grid.local import LocalGrid
spool, plans, work_unit, *command = sys.argv[1:]
grid = LocalGrid(Path(spool), validator=lambda name, path: None, command=[*command, plans])
grid.submit(Path(work_unit))
while True:
    grid.poll()
    time.sleep(0.01)
"""


@contextmanager
def poller(lab: Lab, work_unit: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that submits and polls until it is killed."""
    arguments = [str(lab.spool), str(lab.root / "plans"), str(work_unit), *FAKE_CLIENT]
    process = subprocess.Popen([sys.executable, "-c", POLLER, *arguments])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_client_that_outlives_its_poller_is_waited_for(lab: Lab) -> None:
    go = lab.root / "go"
    with poller(lab, lab.pack("wu_b_1", f"wait {go} copy good")):
        wait_for(lambda: len(lab.runs("wu_b_1")) == 1)
    grid = lab.grid()
    for _ in range(5):
        assert grid.poll() == []
    assert len(lab.runs("wu_b_1")) == 1, "it runs, so it is not started again"
    go.touch()
    (event,) = drive(grid, bool)
    assert isinstance(event, Returned)
    assert len(lab.runs("wu_b_1")) == 1


def test_a_client_that_died_with_its_poller_is_started_again_at_once(lab: Lab) -> None:
    with poller(lab, lab.pack("wu_b_1", f"wait {lab.root / 'never'} copy good", "copy good")) as process:
        wait_for(lambda: len(lab.runs("wu_b_1")) == 1)
        process.kill()
        process.wait()
        os.kill(int(lab.runs("wu_b_1")[0][0]), signal.SIGKILL)
    (event,) = drive(lab.grid(), bool)
    assert isinstance(event, Returned)
    assert [run[1] for run in lab.runs("wu_b_1")] == ["result-1.zip"] * 2


def test_cancelling_stops_the_client_and_forgets_the_work(lab: Lab) -> None:
    """Also when another process started it."""
    with poller(lab, lab.pack("wu_b_1", f"wait {lab.root / 'never'} copy good")):
        wait_for(lambda: len(lab.runs("wu_b_1")) == 1)
    grid = lab.grid()
    grid.cancel("wu_b_1")
    grid.cancel("wu_b_1")
    pid = int(lab.runs("wu_b_1")[0][0])
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split(")")[1])
    assert grid.open_work_units() == 0
    assert grid.poll() == []


def test_an_unreadable_state_starts_the_work_again(lab: Lab) -> None:
    grid = lab.grid()
    grid.submit(lab.pack("wu_b_1", "copy good"))
    (lab.spool / "wu_b_1" / "state.json").write_bytes(b"\0\0")
    (event,) = drive(grid, bool)
    assert isinstance(event, Returned)


def test_what_is_not_a_work_unit_in_the_spool_is_left_alone(lab: Lab) -> None:
    grid = lab.grid()
    (lab.spool / "lost+found").mkdir(parents=True)
    assert grid.poll() == []
    assert (lab.spool / "lost+found").is_dir()


def test_a_full_disk_says_so_and_loses_nothing(lab: Lab) -> None:
    with small_disk(lab.root / "grid") as disk:
        grid = lab.grid()
        grid.submit(lab.pack("wu_b_1", "copy good"))
        disk.fill()
        with pytest.raises(TryAgainLater, match="disk full"):
            grid.poll()
        second = lab.pack("wu_b_2", "copy good") if disk.real else lab.root / "wu_b_2.zip"
        with pytest.raises(TryAgainLater if disk.real else FileNotFoundError):
            grid.submit(second)
        disk.free()
        assert [type(event) for event in drive(grid, nothing_left(grid))] == [Returned]
