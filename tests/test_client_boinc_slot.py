"""Started by BOINC without its wrapper: the archives of the slot, the model that BOINC put there, and what BOINC is told at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_client_run import work_unit
from tiny_model import encoded, picture, write_model

from client_app import main as main_module
from client_app.main import client
from client_app.model import load_model
from crystal_search.archives import read_results
from crystal_search.errors import TryAgainLater

GOOD = encoded(picture(("precipitate", 96, 64)))
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A slot with a work unit, and with its model where an app version puts it."""
    monkeypatch.delenv("CRYSTAL_SEARCH_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "init_data.xml").write_text("<app_init_data>\n</app_init_data>\n")
    work_unit(tmp_path / "in.zip", write_model(tmp_path / "models" / "tiny-1"), GOOD)
    return tmp_path


def words(slot: Path) -> set[str]:
    """What BOINC finds said."""
    return {path.name for path in slot.glob("boinc_*")}


def test_boinc_hears_that_the_work_unit_is_done(slot: Path) -> None:
    assert client(["--nthreads", "1.000000"]) == 0
    assert words(slot) == {"boinc_finish_called"}
    assert (slot / "boinc_finish_called").read_bytes() == b""
    assert read_results(slot / "out.zip").model == load_model(slot / "models" / "tiny-1").reference


def test_below_the_wrapper_it_is_the_wrapper_that_speaks(slot: Path) -> None:
    """The wrapper's job.xml names the archives."""
    assert client(["in.zip", "out.zip", "--nthreads", "1"]) == 0
    assert words(slot) == set()
    assert (slot / "out.zip").is_file()


def test_outside_of_a_slot_the_archives_have_to_be_named(slot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (slot / "init_data.xml").unlink()
    assert client([]) == 2
    assert words(slot) == set()
    assert "IN.zip OUT.zip" in capsys.readouterr().err


def test_what_can_not_go_on_now_goes_on_later(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise TryAgainLater("only 50 MB of memory are free")

    monkeypatch.setattr(main_module, "run", no_memory)
    assert client([]) == 0, "BOINC takes any other code for a failure"
    assert words(slot) == {"boinc_temporary_exit"}
    seconds, reason = (slot / "boinc_temporary_exit").read_text().splitlines()
    assert (float(seconds), reason) == (300.0, "crystal-search-client: goes on later")


def test_a_failure_is_one_for_boinc_too(slot: Path) -> None:
    (slot / "in.zip").write_bytes(b"cut off")
    assert client([]) == 1
    assert words(slot) == set()


@pytest.mark.skipif(sys.platform == "win32", reason="a signal as on Unix")
@pytest.mark.parametrize(("archives", "code"), [((), 0), (("in.zip", "out.zip"), 4)])
def test_stopped_with_the_computer_it_did_not_fail(slot: Path, archives: tuple[str, ...], code: int) -> None:
    """A 0 without a word makes BOINC start it again; the wrapper and others are told by a 4."""
    work_unit(slot / "in.zip", slot / "models" / "tiny-1", *[GOOD] * 64)
    command = (sys.executable, "-m", "client_app", *archives)
    process = subprocess.Popen(command, cwd=slot, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    while not list(slot.glob("out.zip.checkpoint/*.checkpoint")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (code, b"crystal-search-client: stopped; start it again and it continues\n")
    assert words(slot) == set()
