"""The systemd units: systemd takes them, they are hardened, and they call commands that there are."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
UNITS = PROJECT / "server" / "systemd"
PROGRAM = "/opt/crystal-search/bin/crystal-search"
SERVICES = ("work-generator", "assimilate", "finalize", "set-autoscore", "retention")


def unit(name: str) -> configparser.ConfigParser:
    """A unit; of a key that is there twice, the last value."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNITS / name)
    return parser


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as they would lie in /etc/systemd/system, with a program that is there."""
    if shutil.which("systemd-analyze") is None:
        pytest.fail("systemd-analyze is missing; on Debian: apt-get install systemd")
    folder = tmp_path_factory.mktemp("units")
    for path in UNITS.iterdir():
        text = path.read_text().replace(PROGRAM, "/bin/true")
        names = [f"crystal-search@{name}.service" for name in SERVICES] if "@" in path.name else [path.name]
        for name in names:
            (folder / name).write_text(text)
    return folder


def test_systemd_takes_every_unit_without_a_word(installed: Path) -> None:
    units = sorted(str(path) for path in installed.iterdir())
    assert len(units) == len(SERVICES) + 3
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, cwd=installed)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["crystal-search@finalize.service", "crystal-search-digest.service"])
def test_systemd_finds_little_that_a_service_could_harm(installed: Path, name: str) -> None:
    """2.0 of 10: a unit without hardening has 9.6."""
    call = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(installed / name)]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_both_services_are_hardened_alike() -> None:
    own = {"Type", "ExecStart", "Restart", "RestartSec", "KillMode", "TimeoutStopSec", "Nice"}
    service, digest = (dict(unit(name)["Service"]) for name in ("crystal-search@.service", "crystal-search-digest.service"))
    assert {key: value for key, value in service.items() if key not in own} == {k: v for k, v in digest.items() if k not in own}


def test_the_target_starts_commands_that_there_are() -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["entry-points"]["crystal_search.commands"]
    wanted = unit("crystal-search.target")["Unit"]["Wants"].split()
    assert wanted == [f"crystal-search@{name}.service" for name in SERVICES]
    assert declared.keys() >= set(SERVICES)
    assert unit("crystal-search-digest.service")["Service"]["ExecStart"] == f"{PROGRAM} digest"
    assert "digest" in declared


def test_a_service_is_started_again_unless_its_settings_are_wrong() -> None:
    service = unit("crystal-search@.service")["Service"]
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("on-failure", "2 3")
    assert service["KillMode"] == "mixed"
