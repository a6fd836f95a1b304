"""The BOINC grid: what is submitted becomes one BOINC job, and comes back once or is given up with a reason, whoever is killed when."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fake_boinc import FakeBoinc
from scored_lab import kill_points, killed_at, lines_of
from small_disk import small_disk
from test_local_grid import answer

from assimilator.validate import packed_manifest, validator
from crystal_search.archives import (
    FORMAT_VERSION,
    Manifest,
    ModelReference,
    WorkImage,
    random_id,
    sha256_hex,
    write_results,
    write_work_unit,
)
from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.grid import ARCHIVE_PRIORITY, REALTIME_PRIORITY, GaveUp, Refused, Returned, open_grid
from crystal_search.grid.boinc import PAUSE_SECONDS, BoincGrid
from crystal_search.grid.boinc_tools import STAGING, BoincTools
from crystal_search.settings import load_settings

MODEL = ModelReference(name="tiny", sha256="a" * 64)


@dataclass
class Lab:
    """A project, packed work units, and right answers to them."""

    root: Path
    boinc: FakeBoinc = field(init=False)
    clock: float = 1000.0

    def __post_init__(self) -> None:
        self.boinc = FakeBoinc(self.root / "project")

    def grid(self, *command: str) -> BoincGrid:
        """A grid as a process that has just started has it."""
        tools = BoincTools(self.boinc.path, command)
        check = validator(self.root / "work_units")
        return BoincGrid(self.root / "state" / "boinc", self.boinc.inbox, tools, validator=check, now=lambda: self.clock)

    def pack(self, name: str) -> Path:
        content = name.encode()
        image = WorkImage(id=(i := random_id()), file=f"{i}.jpg", sha256=sha256_hex(content))
        manifest = Manifest(format_version=FORMAT_VERSION, name=name, model=MODEL, threshold=0.85, images=[image])
        path = self.root / "work_units" / f"{name}.zip"
        write_work_unit(path, manifest, {image.file: content})
        return path

    def answer(self, name: str) -> Path:
        path = self.root / "good" / f"{name}.zip"
        write_results(path, answer(packed_manifest(self.root / "work_units", name)), {})
        return path

    def out(self, *names: str) -> BoincGrid:
        """A grid whose work units of those names are at BOINC."""
        grid = self.grid()
        for name in names:
            grid.submit(self.pack(name))
        assert grid.poll() == []
        return grid

    def left_over(self) -> list[str]:
        """What a work unit that has ended must not leave behind; half-written files are swept away later."""
        folders = (self.root / "state" / "boinc" / "records", self.boinc.inbox, self.boinc.path / STAGING)
        return [path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if not path.name.startswith(".wu_")]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def acknowledged(grid: BoincGrid) -> list[Returned | Refused | GaveUp]:
    events = grid.poll()
    for event in events:
        grid.acknowledge(event)
    return events


# ---- work goes out -------------------------------------------------------------------------------------------------


def test_a_work_unit_becomes_one_job_with_its_file(lab: Lab) -> None:
    path = lab.pack("wu_b_1")
    grid = lab.grid()
    assert grid.submit(path)
    assert grid.open_work_units() == 1
    assert grid.poll() == []
    assert lab.boinc.jobs() == {"wu_b_1": ARCHIVE_PRIORITY}
    assert lab.boinc.input("wu_b_1").read_bytes() == path.read_bytes()
    assert path.exists(), "the packed work unit is not the grid's to move"
    assert grid.open_work_units() == lab.grid().open_work_units() == 1
    assert lab.left_over() == ["wu_b_1.json"]


def test_submitting_again_creates_nothing(lab: Lab) -> None:
    path = lab.pack("wu_b_1")
    assert lab.grid().submit(path, priority=7)
    assert not lab.grid().submit(path, priority=100)
    lab.grid().poll()
    assert not lab.grid().submit(path)
    lab.grid().poll()
    assert lab.boinc.jobs() == {"wu_b_1": 7}
    assert len(lab.boinc.calls("create_work")) == 1


def test_a_work_unit_that_is_not_there_is_not_taken(lab: Lab) -> None:
    with pytest.raises(FileNotFoundError):
        lab.grid().submit(lab.root / "wu_b_1.zip")
    assert lab.grid().open_work_units() == 0


def test_work_is_created_in_batches(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crystal_search.grid.boinc.CREATE_AT_ONCE", 3)
    grid = lab.grid()
    for number in range(5):
        grid.submit(lab.pack(f"wu_b_{number}"))
    grid.poll()
    assert len(lab.boinc.jobs()) == 3
    grid.poll()
    assert len(lab.boinc.jobs()) == 5
    assert len(lab.boinc.calls("stage_file")) == len(lab.boinc.calls("create_work")) == 2


def test_real_time_work_goes_first_and_with_its_priority(lab: Lab) -> None:
    grid = lab.grid()
    grid.submit(lab.pack("wu_a_1"), ARCHIVE_PRIORITY)
    grid.submit(lab.pack("wu_r_1"), REALTIME_PRIORITY)
    grid.poll()
    assert lab.boinc.jobs() == {"wu_r_1": 100}
    grid.poll()
    assert lab.boinc.jobs() == {"wu_a_1": 0, "wu_r_1": 100}


@pytest.mark.parametrize("tool", ["stage_file", "create_work"])
def test_a_poller_that_is_killed_beside_a_tool_is_made_up_for(lab: Lab, tool: str) -> None:
    """The tool did its work, and nobody noted it."""
    for number in (1, 2):
        lab.grid().submit(lab.pack(f"wu_b_{number}"))
    (lab.boinc.path / "fail" / f"kill_caller_of_{tool}").touch()
    assert killed_at(10**9, lambda: lab.grid().poll())
    assert len(lab.boinc.calls(tool)) == 1
    lab.grid().poll()
    assert lab.boinc.jobs() == {"wu_b_1": 0, "wu_b_2": 0}
    lab.boinc.assimilate("wu_b_1", lab.answer("wu_b_1"))
    lab.boinc.assimilate("wu_b_2", lab.answer("wu_b_2"))
    assert [type(event) for event in acknowledged(lab.grid())] == [Returned, Returned]
    assert lab.left_over() == []


def test_a_lost_spool_creates_nothing_twice_and_new_work_with_it(lab: Lab) -> None:
    lab.out("wu_b_1", "wu_b_2")
    shutil.rmtree(lab.root / "state")
    grid = lab.grid()
    for path in (*sorted((lab.root / "work_units").iterdir()), lab.pack("wu_b_3")):
        assert grid.submit(path)
    grid.poll()
    assert grid.open_work_units() == 3
    assert list(lab.boinc.jobs()) == ["wu_b_1", "wu_b_2", "wu_b_3"]
    creations = len(lab.boinc.calls("create_work"))
    grid.poll()
    assert len(lab.boinc.calls("create_work")) == creations


def test_another_file_of_that_name_is_given_up_and_holds_nothing_up(lab: Lab) -> None:
    (lab.boinc.path / "download" / "wu_b_1.zip").write_bytes(b"another")
    grid = lab.grid()
    for name in ("wu_b_1", "wu_b_2"):
        grid.submit(lab.pack(name))
    (event,) = acknowledged(grid)
    assert event == GaveUp("wu_b_1", "BOINC has another file of the name wu_b_1.zip")
    assert list(lab.boinc.jobs()) == ["wu_b_2"]


def test_a_packed_file_that_went_away_is_given_up(lab: Lab) -> None:
    grid = lab.grid()
    path = lab.pack("wu_b_1")
    grid.submit(path)
    path.unlink()
    assert grid.poll() == [GaveUp("wu_b_1", "its file wu_b_1.zip is gone")]


# ---- results come back ---------------------------------------------------------------------------------------------


def test_a_result_stays_until_it_is_acknowledged(lab: Lab) -> None:
    grid = lab.out("wu_b_1")
    good = lab.answer("wu_b_1")
    lab.boinc.assimilate("wu_b_1", good)
    (event,) = grid.poll()
    assert isinstance(event, Returned)
    assert event.path.read_bytes() == good.read_bytes()
    assert grid.open_work_units() == 0
    assert grid.poll() == [event] == lab.grid().poll()
    grid.acknowledge(event)
    grid.acknowledge(event)
    assert grid.poll() == []
    assert lab.left_over() == []


def test_what_our_entry_script_leaves_in_the_inbox_is_read(lab: Lab) -> None:
    grid = lab.out("wu_b_1", "wu_b_2", "wu_b_3")
    entry = Path(__file__).parents[1] / "server" / "files" / "bin" / "crystal_search_assimilate"
    upload = lab.root / "wu_b_1_0_r1804289383_0"
    upload.write_bytes(lab.answer("wu_b_1").read_bytes())
    grid.cancel("wu_b_3")
    for arguments in (["17", str(upload)], ["--error", "2", "wu_b_2", "18", "0"], ["--error", "16", "wu_b_3", "19", "0"]):
        environment = os.environ | {"CRYSTAL_SEARCH_INBOX": str(lab.boinc.inbox)}
        subprocess.run(["sh", str(entry), *arguments], check=True, env=environment)
    returned, given_up = acknowledged(grid)
    assert isinstance(returned, Returned)
    assert isinstance(given_up, GaveUp)
    assert (returned.work_unit, given_up.work_unit) == ("wu_b_1", "wu_b_2")
    assert "too many computers returned errors" in given_up.reason
    assert lab.left_over() == []


def test_a_result_that_is_being_written_is_not_looked_at(lab: Lab) -> None:
    grid = lab.out("wu_b_1")
    lab.boinc.inbox.mkdir(parents=True, exist_ok=True)
    for name in (".new.zip.part", "wu_b_1.zip.part", "wu_b_1.zip.tmp"):
        (lab.boinc.inbox / name).write_bytes(b"half")
    assert grid.poll() == []
    assert len(lab.left_over()) == 4


def test_what_is_foreign_in_the_inbox_is_logged_once_and_left(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    grid = lab.out("wu_b_1")
    good = lab.answer("wu_b_1")
    lab.boinc.assimilate("wu_other_1", good)
    (lab.boinc.inbox / "notes.txt").write_text("mine")
    (lab.boinc.inbox / "wu_b_1.txt").write_text("mine")
    (lab.boinc.inbox / "folder.zip").mkdir()
    (lab.boinc.inbox / "wu_b_1.zip").symlink_to(good)
    assert grid.poll() == grid.poll() == []
    assert sorted(record.args[0] for record in caplog.records if isinstance(record.args, tuple)) == [
        "folder.zip", "notes.txt", "wu_b_1.txt", "wu_b_1.zip", "wu_other_1.zip",
    ]  # fmt: skip
    assert len(list(lab.boinc.inbox.iterdir())) == 5


def test_a_job_that_boinc_gave_up_is_told_with_the_clients_words(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = lab.out("wu_b_1", "wu_b_2")
    lab.boinc.give_up("wu_b_1", "error mask 2: too many errors")
    lab.boinc.give_up("wu_b_2", "")
    stderr = (
        "<core_client_version>7.20.5</core_client_version>\n<![CDATA[\n<message>\nexit code 1</message>\n<stderr_txt>\n"
        "wrapper\ncrystal-search-client: wu_b_1.zip: not a readable ZIP archive\nwrapper: app exit status: 0x1\n</stderr_txt>\n]]>"
    )
    php = lab.root / "php"
    php.mkdir()
    (php / "php").write_text(f"#!/bin/sh\ntest \"$4\" = wu_b_1 && cat <<'END'\n{stderr}\nEND\n")
    (php / "php").chmod(0o755)
    monkeypatch.setenv("PATH", f"{php}:/usr/bin:/bin")
    assert acknowledged(grid) == [
        GaveUp("wu_b_1", "error mask 2: too many errors; the client said: crystal-search-client: wu_b_1.zip: not a readable ZIP archive"),
        GaveUp("wu_b_2", "BOINC gave it up without a reason"),
    ]
    assert lab.left_over() == []
    assert grid.open_work_units() == 0


def test_a_file_that_came_again_after_its_end_is_dropped(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """BOINC's assimilator was killed before it noted that it had been here."""
    caplog.set_level(logging.INFO)
    grid = lab.out("wu_b_1")
    good = lab.answer("wu_b_1")
    lab.boinc.assimilate("wu_b_1", good)
    acknowledged(grid)
    lab.boinc.assimilate("wu_b_1", good)
    assert lab.grid().poll() == []
    assert lab.left_over() == []
    assert "wu_b_1.zip came after its end and is dropped" in caplog.text


# ---- forged results --------------------------------------------------------------------------------------------------


def forge(lab: Lab, name: str) -> None:
    forged = lab.root / "forged.zip"
    forged.write_bytes(b"PK, or so it says")
    lab.boinc.assimilate(name, forged)


def test_a_forged_result_is_refused_and_the_work_sent_again(lab: Lab) -> None:
    grid = lab.out("wu_b_1")
    forge(lab, "wu_b_1")
    (event,) = grid.poll()
    assert isinstance(event, Refused)
    assert event.path.read_bytes() == b"PK, or so it says"
    assert "not a readable ZIP archive" in event.reason
    assert lab.grid().poll() == [event], "until it is acknowledged"
    grid.acknowledge(event)
    assert grid.open_work_units() == 1
    assert list(lab.boinc.jobs()) == ["wu_b-r2_1", "wu_b_1"]
    assert lab.boinc.input("wu_b-r2_1").read_bytes() == (lab.root / "work_units" / "wu_b_1.zip").read_bytes()
    lab.boinc.assimilate("wu_b-r2_1", lab.answer("wu_b_1"))
    assert [type(event) for event in acknowledged(grid)] == [Returned]
    assert lab.left_over() == []


def test_the_true_result_counts_that_follows_a_file_put_there_by_somebody_else(lab: Lab) -> None:
    grid = lab.out("wu_b_1")
    forge(lab, "wu_b_1")
    acknowledged(grid)
    lab.boinc.assimilate("wu_b_1", lab.answer("wu_b_1"))
    assert [type(event) for event in acknowledged(grid)] == [Returned]
    lab.boinc.assimilate("wu_b-r2_1", lab.answer("wu_b_1"))
    assert grid.poll() == []
    assert lab.left_over() == []


def test_three_refused_results_give_the_work_unit_up(lab: Lab) -> None:
    grid = lab.out("wu_b_1")
    kinds = []
    for job in ("wu_b_1", "wu_b-r2_1", "wu_b-r3_1"):
        forge(lab, job)
        kinds += [type(event) for event in acknowledged(grid)]
        grid.poll()
    (event,) = acknowledged(grid)
    assert kinds == [Refused] * 3
    assert isinstance(event, GaveUp)
    assert "not a readable ZIP archive" in event.reason
    assert lab.left_over() == []
    assert len(lab.boinc.jobs()) == 3


def test_the_same_forgery_twice_is_one_attempt(lab: Lab) -> None:
    grid = lab.out("wu_b_1")
    for _ in range(4):
        forge(lab, "wu_b_1")
        acknowledged(grid)
    grid.poll()
    assert list(lab.boinc.jobs()) == ["wu_b-r2_1", "wu_b_1"]
    assert grid.open_work_units() == 1


def test_a_job_that_was_sent_again_may_fail_without_ending_the_work_unit(lab: Lab) -> None:
    grid = lab.out("wu_b_1")
    forge(lab, "wu_b_1")
    acknowledged(grid)
    grid.poll()
    lab.boinc.give_up("wu_b_1")
    assert grid.poll() == []
    lab.boinc.give_up("wu_b-r2_1", "too many errors")
    assert acknowledged(grid) == [GaveUp("wu_b_1", "too many errors")]


# ---- cancelling ------------------------------------------------------------------------------------------------------


def test_cancelling_cancels_the_job_and_drops_what_comes_later(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    grid = lab.out("wu_b_1")
    good = lab.answer("wu_b_1")
    grid.cancel("wu_b_1")
    grid.cancel("wu_b_1")
    grid.cancel("wu_never_1")
    assert lab.boinc.calls("cancel_jobs") == ["--name wu_b_1"]
    assert grid.open_work_units() == 0
    lab.boinc.assimilate("wu_b_1", good)
    lab.boinc.give_up("wu_b_1")
    assert grid.poll() == []
    assert lab.left_over() == []
    assert caplog.text.count("came after its end and is dropped") == 2


def test_cancelling_what_boinc_has_not_yet(lab: Lab) -> None:
    grid = lab.grid()
    grid.submit(lab.pack("wu_b_1"))
    grid.cancel("wu_b_1")
    grid.poll()
    assert lab.boinc.jobs() == {}
    assert grid.open_work_units() == 0


def test_a_cancelled_work_unit_that_is_submitted_again_is_given_up(lab: Lab) -> None:
    grid = lab.out("wu_b_1")
    grid.cancel("wu_b_1")
    grid.submit(lab.root / "work_units" / "wu_b_1.zip")
    assert acknowledged(grid) == [GaveUp("wu_b_1", "it was cancelled or had ended before, and BOINC takes a name only once")]


def test_cancelling_while_the_server_is_away_changes_nothing(lab: Lab) -> None:
    grid = lab.out("wu_b_1")
    lab.boinc.break_tool("cancel_jobs", "boinc_db.open: can't connect to database")
    with pytest.raises(TryAgainLater, match="can't connect to database"):
        grid.cancel("wu_b_1")
    assert grid.open_work_units() == 1


# ---- when something is wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["stage_file", "create_work"])
def test_a_server_that_is_away_is_one_line_and_nothing_is_lost(lab: Lab, tool: str) -> None:
    grid = lab.grid()
    for number in range(20):
        grid.submit(lab.pack(f"wu_b_{number}"))
    lab.boinc.break_tool(tool)
    with pytest.raises(TryAgainLater, match=f"^BOINC's bin/{tool} failed: can't connect to database; .*again$"):
        grid.poll()
    tried = len(lab.boinc.calls(tool))
    assert tried <= 4, "it does not ask for each work unit"
    with pytest.raises(TryAgainLater):
        grid.poll()
    assert len(lab.boinc.calls(tool)) == tried, "it waits before it asks again"
    lab.boinc.mend()
    lab.clock += PAUSE_SECONDS
    grid.poll()
    assert len(lab.boinc.jobs()) == 20


def test_results_are_taken_in_while_work_can_not_be_created(lab: Lab) -> None:
    grid = lab.out("wu_b_1")
    lab.boinc.break_tool("stage_file")
    grid.submit(lab.pack("wu_b_2"))
    lab.boinc.assimilate("wu_b_1", lab.answer("wu_b_1"))
    assert [type(event) for event in acknowledged(grid)] == [Returned]
    with pytest.raises(TryAgainLater):
        grid.poll()


def test_an_application_that_boinc_does_not_know(lab: Lab) -> None:
    grid = lab.grid()
    grid.submit(lab.pack("wu_b_1"))
    lab.boinc.break_tool("create_work", "create_work: app not found")
    with pytest.raises(SettingsError, match="crystal-search server install"):
        grid.poll()


def test_a_full_disk_says_so_and_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        lab = Lab(disk.path)
        grid = lab.grid()
        path = lab.pack("wu_b_1")
        grid.submit(path)
        disk.fill()
        with pytest.raises(TryAgainLater, match="disk full"):
            grid.poll()
        disk.free()
        lab.clock += PAUSE_SECONDS
        grid.poll()
        assert list(lab.boinc.jobs()) == ["wu_b_1"]


def settings_file(lab: Lab, text: str) -> Path:
    file = lab.root / "crystal-search.toml"
    file.write_text(text)
    return file


def test_a_project_directory_that_is_none(lab: Lab) -> None:
    settings = load_settings(settings_file(lab, '[grid]\nkind = "boinc"\n[boinc]\nproject = "nowhere"\n'))
    with pytest.raises(SettingsError, match=r"^boinc\.project: .*/nowhere is no BOINC project: it has no config\.xml$"):
        open_grid(settings, validator(settings.work_units))
    assert open_grid(settings).submit(lab.pack("wu_b_1")), "who only submits need not see the project"


def test_a_project_without_our_application(lab: Lab) -> None:
    settings = load_settings(settings_file(lab, '[grid]\nkind = "boinc"\n[boinc]\nproject = "project"\n'))
    assert settings.boinc_inbox == lab.boinc.inbox
    open_grid(settings, validator(settings.work_units))
    (lab.boinc.path / "templates" / "crystal_search_in").unlink()
    with pytest.raises(SettingsError, match="templates/crystal_search_in is missing: run `crystal-search server install"):
        open_grid(settings, validator(settings.work_units))


def test_a_kind_without_its_project(lab: Lab) -> None:
    with pytest.raises(SettingsError, match=r"boinc\.project is missing"):
        load_settings(settings_file(lab, '[grid]\nkind = "boinc"\n'))


def script(lab: Lab, text: str) -> str:
    path = lab.root / "prefix"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("prefix", "error", "line"),
    [
        ('exec "$@"', None, ""),
        ('exec "$@" </dev/null', SettingsError, "does not pass standard input on .*needs -i"),
        ('cd / && exec "$@"', SettingsError, "does not run in the project directory"),
        (
            "echo 'Error response from daemon: container apache is not running' >&2; exit 1",
            TryAgainLater,
            "container apache is not running",
        ),
        (None, SettingsError, "boinc.command: /nowhere/docker can not be run"),
    ],
)
def test_tools_that_run_elsewhere(lab: Lab, prefix: str | None, error: type[Exception] | None, line: str) -> None:
    grid = lab.grid(script(lab, prefix) if prefix else "/nowhere/docker")
    grid.submit(lab.pack("wu_b_1"))
    if error is None:
        grid.poll()
        assert list(lab.boinc.jobs()) == ["wu_b_1"]
    else:
        with pytest.raises(error, match=line):
            grid.poll()
        assert lab.boinc.jobs() == {}
        assert grid.open_work_units() == 1


def test_an_unreadable_record_still_takes_its_result(lab: Lab) -> None:
    lab.out("wu_b_1", "wu_b_2")
    for number in (1, 2):
        (lab.root / "state" / "boinc" / "records" / f"wu_b_{number}.json").write_text("{")
    lab.boinc.assimilate("wu_b_1", lab.answer("wu_b_1"))
    returned, lost = acknowledged(lab.grid())
    assert isinstance(returned, Returned)
    assert lost == GaveUp("wu_b_2", "its record on the disk became unreadable")


# ---- killed anywhere --------------------------------------------------------------------------------------------------


def a_life(lab: Lab) -> None:
    """All that can happen to work units, each step one that may have been done before."""
    for path in sorted((lab.root / "work_units").iterdir()):
        lab.grid().submit(path)
    grid = lab.grid()
    while events := grid.poll():
        for event in events:
            with (lab.root / "events").open("a") as log:
                log.write(f"{type(event).__name__} {event.work_unit}\n")
            if not isinstance(event, Refused):  # as the assimilator does
                (lab.root / "work_units" / f"{event.work_unit}.zip").unlink(missing_ok=True)
            grid.acknowledge(event)


@pytest.mark.slow
def test_killed_at_any_line_each_work_unit_ends_once(tmp_path: Path) -> None:
    """One result is right, one forged and then right, one job fails; the volunteers are quicker than the grid."""

    def prepared(folder: Path) -> Lab:
        lab = Lab(folder)
        for number in (1, 2, 3):
            lab.pack(f"wu_b_{number}")
        lab.boinc.assimilate("wu_b_1", lab.answer("wu_b_1"))
        forge(lab, "wu_b_2")
        lab.boinc.assimilate("wu_b-r2_2", lab.answer("wu_b_2"))
        lab.boinc.give_up("wu_b_3")
        return lab

    lines = lines_of(lambda: a_life(prepared(tmp_path / "quiet")))
    expected = {"Returned wu_b_1", "Refused wu_b_2", "Returned wu_b_2", "GaveUp wu_b_3"}
    assert set((tmp_path / "quiet" / "events").read_text().splitlines()) == expected
    for line in kill_points(30, lines, seed=20231107):
        lab = prepared(tmp_path / str(line))
        killed_at(line, lambda lab=lab: a_life(lab))  # type: ignore[misc]
        a_life(lab)
        assert set((lab.root / "events").read_text().splitlines()) == expected, line
        assert lab.left_over() == [], line
        assert lab.grid().open_work_units() == 0


def test_the_load_figure_still_runs(tmp_path: Path) -> None:
    """``tests/load_boinc.py`` itself fails when a result is lost."""
    load = Path(__file__).with_name("load_boinc.py")
    arguments = [str(tmp_path / "load"), "--work-units", "4", "--at-once", "4", "--overlay-kb", "1"]
    environment = os.environ | {"PYTHONPATH": str(load.parents[1])}
    told = subprocess.run([sys.executable, str(load), *arguments], capture_output=True, text=True, check=True, env=environment)
    assert (json.loads(told.stdout)["images"], json.loads(told.stdout)["lost"]) == (256, 0)
