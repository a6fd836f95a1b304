"""The BOINC grid as docker-compose.yml runs it: settings, and BOINC's tools on the other side of a shared folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_boinc import FakeBoinc

from crystal_search.archives import FORMAT_VERSION, Manifest, ModelReference, WorkImage, random_id, sha256_hex, write_work_unit
from crystal_search.errors import TryAgainLater
from crystal_search.grid.boinc import BoincGrid
from crystal_search.grid.boinc_tools import BoincTools
from crystal_search.settings import load_settings

PROJECT = Path(__file__).resolve().parent.parent
SCRIPTS = PROJECT / "server" / "compose"
SHELL = shutil.which("dash") or "sh"


def test_the_services_settings_are_valid_and_name_what_is_mounted() -> None:
    settings = load_settings(SCRIPTS / "crystal-search.toml")
    assert settings.grid.kind == "boinc"
    assert settings.boinc.project == Path("/home/boincadm/project")
    assert settings.boinc_inbox == Path("/inbox")
    assert settings.boinc.command == ["/opt/crystal-search/compose/in_boinc.sh"]
    assert settings.work_units == Path("/srv/crystal-search/work_units")
    assert settings.paths.images == Path("/images")
    assert "crystal" not in settings.retention.days, "crystals stay for ever"


@pytest.fixture
def boinc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBoinc]:
    """A BOINC project whose tools our services reach through the folder of requests only."""
    made = FakeBoinc(tmp_path / "project")
    requests = made.path / "crystal_search_requests"
    monkeypatch.setenv("CRYSTAL_SEARCH_REQUESTS", str(requests))
    monkeypatch.setenv("CRYSTAL_SEARCH_TOOL_SECONDS", "60")
    monkeypatch.chdir(tmp_path)
    variables = {"PATH": os.environ["PATH"], "PROJECT_ROOT": str(made.path)}
    server = subprocess.Popen([SHELL, str(SCRIPTS / "boinc_tools.sh")], env=variables)
    while not requests.is_dir():
        time.sleep(0.01)
    yield made
    server.kill()
    server.wait()


def pack(folder: Path, name: str) -> Path:
    image = WorkImage(id=(i := random_id()), file=f"{i}.jpg", sha256=sha256_hex(b"pixels"))
    model = ModelReference(name="tiny", sha256="a" * 64)
    manifest = Manifest(format_version=FORMAT_VERSION, name=name, model=model, threshold=0.85, images=[image])
    write_work_unit(folder / f"{name}.zip", manifest, {image.file: b"pixels"})
    return folder / f"{name}.zip"


def grid(boinc: FakeBoinc, root: Path) -> BoincGrid:
    return BoincGrid(root / "state", boinc.inbox, BoincTools(boinc.path, ["sh", str(SCRIPTS / "in_boinc.sh")]), validator=lambda *_: None)


def test_work_units_reach_boinc_and_are_cancelled_there(boinc: FakeBoinc, tmp_path: Path) -> None:
    sender = grid(boinc, tmp_path)
    for number, priority in [(1, 0), (2, 100)]:
        sender.submit(pack(tmp_path, f"wu_b_{number}"), priority)
    sender.poll()  # one priority at a time
    sender.poll()
    assert sorted(boinc.jobs().values()) == [0, 100]
    (first,) = [name for name, priority in boinc.jobs().items() if priority == 0]
    assert boinc.input(first).read_bytes() == (tmp_path / "wu_b_1.zip").read_bytes()
    sender.cancel("wu_b_1")
    assert boinc.calls("cancel_jobs") == [f"--name {first}"]


def test_while_boincs_container_is_away_the_work_waits(boinc: FakeBoinc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = tmp_path / "nobody"
    away.mkdir()
    with monkeypatch.context() as patch:
        patch.setenv("CRYSTAL_SEARCH_REQUESTS", str(away))
        patch.setenv("CRYSTAL_SEARCH_TOOL_SECONDS", "1")
        sender = grid(boinc, tmp_path)
        sender.submit(pack(tmp_path, "wu_b_1"), 0)
        with pytest.raises(TryAgainLater, match="nobody took the request within 1 s"):
            sender.poll()
    again = grid(boinc, tmp_path)
    again.submit(tmp_path / "wu_b_1.zip", 0)
    again.poll()
    assert len(boinc.jobs()) == 1
