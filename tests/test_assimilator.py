"""What comes back goes into results/ and the ledger once, whatever it is and whoever is killed."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from scored_lab import Lab, image_name, kill_points, killed_at, lines_of
from small_disk import small_disk

from assimilator import cli as assimilator_cli
from assimilator.assimilate import assimilate
from assimilator.validate import packed_manifest, validate, validator
from crystal_search.archives import ArchiveError, sha256_hex
from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.grid import Refused, Returned, local
from crystal_search.grid.local import LocalGrid
from crystal_search.ledger.images import OpenUnit

ANSWERS = {("A01a", 1): "crystals_harvestable", ("A02a", 1): "unsure", ("A03a", 1): "no_drop", ("A04a", 1): "failed"}
OTHERS = {("B01a", 1): "clear", ("B02a", 1): "clear"}
FAKE_CLIENT = (sys.executable, "-S", "-E", str(Path(__file__).with_name("fake_client.py")))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "lab").create()
    lab.inspect(*ANSWERS, *OTHERS)
    return lab


def grid_of(lab: Lab) -> LocalGrid:
    command = (*FAKE_CLIENT, str(lab.root / "plans"))
    return LocalGrid(lab.settings.grid_spool, validator=validator(lab.settings.work_units), command=command)


def submit(lab: Lab, answers: dict[tuple[str, int], str], plan: str = "copy good") -> OpenUnit:
    """A work unit in the grid whose client will follow ``plan``."""
    unit, queued = lab.start(*answers)
    lab.pack(unit, queued)
    good = lab.answer(lab.root / "good" / f"{unit.name}.zip", unit, queued, answers)
    folder = lab.root / "plans" / unit.name
    folder.mkdir(parents=True)
    (folder / "1").write_text(plan.replace("good", str(good)))
    grid_of(lab).submit(lab.settings.work_units / f"{unit.name}.zip")
    return unit


def assimilate_all(lab: Lab, grid: LocalGrid | None = None) -> None:
    grid = grid or grid_of(lab)
    end = time.monotonic() + 120
    with lab.ledger() as ledger:
        while assimilate(lab.settings, ledger, grid) or grid.open_work_units():
            assert time.monotonic() < end
            time.sleep(0.01)


def states(lab: Lab) -> dict[str, tuple[str, str | None]]:
    return {name: (state, reason) for name, state, reason in lab.ledger_rows("SELECT image_name, state, reason FROM images")}


def test_a_result_is_kept_and_noted(lab: Lab) -> None:
    unit = submit(lab, ANSWERS)
    assimilate_all(lab)
    stored = lab.settings.results / unit.batch.name / f"{unit.name}.zip"
    good = lab.root / "good" / f"{unit.name}.zip"
    assert stored.read_bytes() == good.read_bytes()
    assert lab.ledger_rows("SELECT sha256, client_version, runtime, provider FROM results") == [
        (sha256_hex(good.read_bytes()), "0", "test", "CPU")
    ]
    assert lab.ledger_rows("SELECT name, state FROM work_units") == [(unit.name, "assimilated")]
    assert states(lab) == {
        image_name("A01a", 1): ("scored", None),
        image_name("A02a", 1): ("unsure", None),
        image_name("A03a", 1): ("no_drop", None),
        image_name("A04a", 1): ("failed", "not an image"),
    }
    chop = '[{"box":[0,0,256,256],"class_name":"clear","probability":0.5}]'
    assert lab.ledger_rows(
        "SELECT status, class_name, score, probability, crystal_probability, drop_box, chops FROM artscores ORDER BY image_id"
    ) == [
        ("scored", "crystals_harvestable", "23", 0.90625, 0.90625, "0,0,300,300", chop),
        ("unsure", None, None, None, 0.25, "0,0,300,300", chop),
        ("no_drop", None, None, None, None, None, "[]"),
    ]
    assert not (lab.settings.work_units / f"{unit.name}.zip").exists(), "what is needed of it is in the ledger"
    assert grid_of(lab).poll() == []


def test_a_second_result_of_an_ended_work_unit_changes_nothing(lab: Lab) -> None:
    """The grid may have been given the work unit twice, by a work generator that was killed in between."""
    unit = submit(lab, OTHERS)
    packed = (lab.settings.work_units / f"{unit.name}.zip").read_bytes()
    assimilate_all(lab)
    before = lab.ledger_rows("SELECT * FROM results"), lab.ledger_rows("SELECT * FROM artscores")
    (lab.settings.work_units / f"{unit.name}.zip").write_bytes(packed)
    grid_of(lab).submit(lab.settings.work_units / f"{unit.name}.zip")
    assimilate_all(lab)
    assert before == (lab.ledger_rows("SELECT * FROM results"), lab.ledger_rows("SELECT * FROM artscores"))
    assert lab.ledger_rows("SELECT * FROM refusals") == []


def test_refused_results_are_set_aside_and_the_work_unit_given_up_in_the_end(lab: Lab) -> None:
    (lab.root / "bad.zip").write_bytes(b"no archive")
    unit = submit(lab, OTHERS, f"copy {lab.root / 'bad.zip'}")
    assimilate_all(lab)
    refusals = lab.ledger_rows("SELECT work_unit, reason, file FROM refusals")
    assert [row[0] for row in refusals] == [unit.name] * 3
    assert all("not a readable ZIP" in row[1] for row in refusals)
    assert sorted(row[2] for row in refusals) == sorted(path.name for path in lab.settings.refused.iterdir())
    assert {path.read_bytes() for path in lab.settings.refused.iterdir()} == {b"no archive"}
    (ended,) = lab.ledger_rows("SELECT state, reason FROM work_units")
    assert ended[0] == "gave_up"
    assert "not a readable ZIP" in ended[1]
    assert {state for state, _ in states(lab).values()} == {"failed"}
    assert all(reason and "not a readable ZIP" in reason for _, reason in states(lab).values())
    assert list(lab.settings.work_units.iterdir()) == []
    assert lab.ledger_rows("SELECT * FROM artscores") == []


def test_a_bad_result_does_not_hold_up_the_others(lab: Lab) -> None:
    (lab.root / "bad.zip").write_bytes(b"no archive")
    submit(lab, OTHERS, f"copy {lab.root / 'bad.zip'}")
    submit(lab, ANSWERS)
    assimilate_all(lab)
    assert sorted(row[0] for row in lab.ledger_rows("SELECT state FROM work_units")) == ["assimilated", "gave_up"]


def test_a_result_for_a_work_unit_that_is_not_ours_is_refused_with_its_reason(lab: Lab) -> None:
    unit = submit(lab, OTHERS)
    spool = lab.settings.grid_spool
    (spool / unit.name).rename(spool / "wu_stranger_1")
    (lab.root / "plans" / unit.name).rename(lab.root / "plans" / "wu_stranger_1")
    assimilate_all(lab)
    reasons = lab.ledger_rows("SELECT work_unit, reason FROM refusals")
    assert reasons == [("wu_stranger_1", "unknown work unit 'wu_stranger_1': none of that name is out")] * 3
    assert lab.ledger_rows("SELECT state FROM work_units") == [("packed",)]


def test_a_disk_that_fails_for_a_moment_throws_no_result_away(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    submit(lab, OTHERS)
    grid = grid_of(lab)
    read = zipfile.ZipExtFile.read
    failures = iter([True, False, True] + [False] * 1000)  # the grid's validator meets one, the assimilator another

    def sometimes(file: zipfile.ZipExtFile, *arguments: int) -> bytes:
        if next(failures):
            raise OSError(errno.EIO, "Input/output error")
        return read(file, *arguments)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", sometimes)
    troubles = []
    end = time.monotonic() + 120
    while lab.ledger_rows("SELECT state FROM work_units") != [("assimilated",)]:
        assert time.monotonic() < end
        try:
            with lab.ledger() as ledger:
                assimilate(lab.settings, ledger, grid)
        except TryAgainLater as error:
            troubles.append(str(error))
    assert len(troubles) == 2
    assert all("can not be read (Input/output error)" in line for line in troubles)
    assert lab.ledger_rows("SELECT * FROM refusals") == []


def test_a_client_without_the_right_model_costs_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = submit(lab, OTHERS, "exit 3")
    file = lab.root / "crystal-search.toml"
    file.write_text('[paths]\nstate = "state"\n[generator]\npoll_seconds = 0.1\n[services]\nlongest_pause_seconds = 0.2\n')
    monkeypatch.setattr(assimilator_cli, "open_grid", lambda settings, validator: grid_of(lab))
    for _ in range(4):
        result = CliRunner().invoke(assimilator_cli.assimilate, ["--settings", str(file), "--once"])
        assert isinstance(result.exception, SettingsError)
        assert str(result.exception) == "1 work units wait, for the client says: the client says 3"
    assert lab.ledger_rows("SELECT state FROM work_units") == [("packed",)]
    told: list[str] = []

    def mended(message: str, *arguments: object) -> None:
        told.append(message % arguments)
        for plan in (lab.root / "plans" / unit.name).glob("[0-9]*"):
            plan.write_text(f"copy {lab.root / 'good' / f'{unit.name}.zip'}")

    monkeypatch.setattr(local, "SETTINGS_PAUSE_SECONDS", 0.5)
    monkeypatch.setattr(logging.getLogger("assimilate"), "warning", mended)

    def stop_when_it_is_in() -> None:
        end = time.monotonic() + 60
        while lab.ledger_rows("SELECT state FROM work_units") != [("assimilated",)] and time.monotonic() < end:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

    stop = threading.Thread(target=stop_when_it_is_in)
    stop.start()
    assert CliRunner().invoke(assimilator_cli.assimilate, ["--settings", str(file)]).exit_code == 0
    stop.join()
    assert told == ["1 work units wait, for the client says: the client says 3"]
    assert lab.ledger_rows("SELECT state FROM work_units") == [("assimilated",)]


class OneEvent:
    """A grid that has one thing to say."""

    def __init__(self, event: Returned | Refused) -> None:
        self.event: Returned | Refused | None = event

    def poll(self) -> list[Returned | Refused]:
        return [self.event] if self.event else []

    def acknowledge(self, event: object) -> None:
        assert event == self.event
        self.event = None

    def submit(self, work_unit: Path, priority: int = 0) -> bool:
        raise AssertionError

    def cancel(self, name: str) -> None:
        raise AssertionError

    def open_work_units(self) -> int:
        return 0


def hear(lab: Lab, event: Returned | Refused) -> None:
    grid = OneEvent(event)
    with lab.ledger() as ledger:
        assert assimilate(lab.settings, ledger, grid) == 1
    assert grid.event is None


def test_results_that_the_ledger_can_not_place_are_set_aside(lab: Lab) -> None:
    """A grid's validator knows the work unit's file only."""
    unit, queued = lab.start(*OTHERS)
    path = lab.answer(lab.root / "result.zip", unit, queued[:1], OTHERS)
    hear(lab, Returned(unit.name, path))
    ((reason,),) = lab.ledger_rows("SELECT reason FROM refusals")
    assert "not the images that the ledger has" in reason
    assert lab.ledger_rows("SELECT state FROM work_units") == [("gave_up",)]
    hear(lab, Returned("wu_stranger_1", path))
    assert "unknown work unit" in lab.ledger_rows("SELECT reason FROM refusals")[1][0]
    assert not lab.settings.results.exists()


def test_an_event_heard_twice_is_noted_once(lab: Lab) -> None:
    """The grid repeats an event whose acknowledgement was lost in a kill."""
    unit, queued = lab.start(*OTHERS)
    path = lab.answer(lab.root / "result.zip", unit, queued, OTHERS)
    hear(lab, Refused(unit.name, path, "wrong"))
    hear(lab, Refused(unit.name, path, "wrong"))
    assert len(lab.ledger_rows("SELECT * FROM refusals")) == len(list(lab.settings.refused.iterdir())) == 1
    hear(lab, Returned(unit.name, path))
    hear(lab, Returned(unit.name, path))
    assert len(lab.ledger_rows("SELECT * FROM results")) == 1


def test_a_hostile_name_stays_in_the_refused_folder(lab: Lab) -> None:
    (lab.root / "r.zip").write_bytes(b"x")
    hear(lab, Refused("../../etc/passwd", lab.root / "r.zip", "bad"))
    (kept,) = lab.settings.refused.iterdir()
    assert kept.name == f"------etc-passwd-r-{sha256_hex(b'x')[:8]}.zip"


def test_the_validator_wants_the_work_units_own_answer(lab: Lab) -> None:
    unit, queued = lab.start(*OTHERS)
    manifest = lab.pack(unit, queued)
    path = lab.answer(lab.root / "result.zip", unit, queued, OTHERS)
    assert packed_manifest(lab.settings.work_units, unit.name) == manifest
    assert [image.id for image in validate(path, manifest).images] == [image.id for image in manifest.images]
    for name in ("wu_stranger_1", "../work_units/x", ""):
        with pytest.raises(ArchiveError, match="unknown work unit"):
            validator(lab.settings.work_units)(name, path)


def test_a_full_disk_keeps_the_result_in_the_grid(lab: Lab) -> None:
    submit(lab, OTHERS)
    with small_disk(lab.settings.results) as disk:
        grid = grid_of(lab)
        while not grid.poll():
            time.sleep(0.01)
        disk.fill()
        with lab.ledger() as ledger, pytest.raises(TryAgainLater, match="disk full"):
            assimilate(lab.settings, ledger, grid)
        assert lab.ledger_rows("SELECT state FROM work_units") == [("packed",)]
        disk.free()
        assimilate_all(lab, grid)
        assert lab.ledger_rows("SELECT state FROM work_units") == [("assimilated",)]


def outcome(lab: Lab) -> tuple[Any, ...]:
    files = [path for folder in (lab.settings.results, lab.settings.refused, lab.settings.work_units) for path in folder.rglob("*")]
    return (
        lab.ledger_rows("SELECT name, state, reason FROM work_units ORDER BY id"),
        lab.ledger_rows("SELECT id, state, reason FROM images ORDER BY id"),
        lab.ledger_rows("SELECT image_id, status, score FROM artscores ORDER BY image_id"),
        lab.ledger_rows("SELECT work_unit_id, sha256 FROM results ORDER BY 1"),
        lab.ledger_rows("SELECT work_unit, reason, file FROM refusals ORDER BY file"),
        {path.relative_to(lab.root): path.read_bytes() for path in files if path.is_file() and not path.name.endswith(".part")},
        [path.name for path in lab.settings.grid_spool.iterdir() if not path.name.startswith(".") and path.is_dir()],
    )


@pytest.mark.slow
def test_a_kill_at_any_line_neither_loses_nor_doubles(lab: Lab, tmp_path: Path) -> None:
    (lab.root / "bad.zip").write_bytes(b"no archive")
    submit(lab, OTHERS, f"copy {lab.root / 'bad.zip'}")
    submit(lab, ANSWERS)
    grid = grid_of(lab)
    end = time.monotonic() + 120
    while grid.open_work_units():
        grid.poll()
        time.sleep(0.01)
        assert time.monotonic() < end
    quiet = lab.copy(tmp_path / "quiet")
    lines = lines_of(lambda: assimilate_all(quiet))
    expected = outcome(quiet)
    assert [len(part) for part in expected] == [2, 6, 3, 1, 3, 4, 0]
    for number, line in enumerate(kill_points(30, lines, seed=3)):
        shaken = lab.copy(tmp_path / f"kill-{number}")
        killed_at(line, lambda shaken=shaken: assimilate_all(shaken))
        assimilate_all(shaken)
        assert outcome(shaken) == expected, f"killed at line {line} of {lines}"


def test_work_that_waits_for_a_slow_grid_does_not_wait_ten_times_as_long() -> None:
    """Creating a hundred work units at BOINC took 16 s on a busy machine, and nine hundred were still to be created."""
    assert assimilator_cli.pause_after(16.0, 30.0) == 30.0
    assert assimilator_cli.pause_after(1.0, 30.0) == 10.0
    assert assimilator_cli.pause_after(0.001, 30.0) == assimilator_cli.pause_after(16.0, 0.0) == 0.2
