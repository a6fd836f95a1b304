"""The whole server side on a real engine: ``make test-docker``. It builds our image and pulls the others, which takes minutes.

BOINC's images are those of ``BOINC_IMAGE_PREFIX``, ``BOINC_VERSION`` and ``BOINC_SUFFIX``; where they can not be pulled this fails and
says so. A volunteer needs a signed application version and is not part of it. Nobody has run it yet.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from scored_lab import image_name

pytestmark = pytest.mark.docker

PROJECT = Path(__file__).resolve().parent.parent
PORT = "8089"


class Stack:
    def __init__(self, folder: Path) -> None:
        images = folder / "images"
        images.mkdir()
        images.chmod(0o777)
        self.environment = os.environ | {
            "COMPOSE_PROJECT_NAME": f"crystal-search-test-{os.getpid()}",
            "URL_BASE": f"http://127.0.0.1:{PORT}",
            "HTTP_PORT": PORT,
            "IMAGES_FOLDER": str(images),
        }

    def compose(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        call = ["docker", "compose", "--env-file", "/dev/null", *arguments]
        done = subprocess.run(call, cwd=PROJECT, env=self.environment, input=stdin, capture_output=True, text=True)
        if check and done.returncode:
            pytest.fail(f"{' '.join(call)} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def secret(self, name: str) -> str:
        return self.compose("run", "--rm", "-T", "files", "cat", f"/secrets/{name}")

    def states(self) -> dict[str, tuple[str, str, int]]:
        """State, health and exit code of each service."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return {entry["Service"]: (entry["State"], entry["Health"], entry["ExitCode"]) for entry in found}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.fail("no docker engine answers: `docker info` has to work, or leave out -m docker")
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.fail("the compose plugin is missing: `docker compose version` has to work")
    made = Stack(tmp_path_factory.mktemp("lab"))
    try:
        made.compose("build")
        shared = tmp_path_factory.mktemp("imager")
        shutil.copyfile(PROJECT / "demo" / "images" / "97wo_01A_1.jpg", shared / image_name("A01a", 1))
        shared.chmod(0o755)
        made.compose("run", "--rm", "-T", "--no-deps", "init")
        made.compose("run", "--rm", "-T", "-v", f"{shared}:/new:ro", "-v", f"{made.environment['IMAGES_FOLDER']}:/images", "--no-deps",
                     "finalize", "load", "/new")  # fmt: skip
        made.compose("up", "--detach", "--wait", "--wait-timeout", "600")
        yield made
    finally:
        made.compose("--profile", "*", "down", "--volumes", "--timeout", "10", check=False)


def test_what_runs_once_has_ended_well_and_the_rest_is_healthy(stack: Stack) -> None:
    states = stack.states()
    for service in ("init", "makeproject", "install", "register"):
        state, _, code = states.pop(service)
        assert (service, state, code) == (service, "exited", 0)
    assert {service: health for service, (_, health, _) in states.items()} == dict.fromkeys(states, "healthy")


def test_the_web_page_is_boincs(stack: Stack) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/crystalsearch/", timeout=30) as page:
        assert b"BOINC" in page.read()


def test_a_second_start_changes_nothing(stack: Stack) -> None:
    before = [stack.secret(name) for name in ("mysql/root_password", "ledger/password", "boinc/keys/code_sign_public")]
    stack.compose("up", "--detach", "--wait", "--wait-timeout", "600", "--force-recreate")
    assert [stack.secret(name) for name in ("mysql/root_password", "ledger/password", "boinc/keys/code_sign_public")] == before
    test_what_runs_once_has_ended_well_and_the_rest_is_healthy(stack)


def test_the_database_takes_no_empty_password(stack: Stack) -> None:
    script = 'for tool in mysql mariadb; do $tool -h "$(hostname)" -u root -e "SELECT 1" && echo open; done'
    assert "open" not in stack.compose("exec", "-T", "mysql", "sh", "-c", script, check=False)


def test_boincs_tools_answer_our_services(stack: Stack) -> None:
    call = ["exec", "-T", "work-generator", "/opt/crystal-search/compose/in_boinc.sh", "sh", "-c", "cat; ls config.xml"]
    assert stack.compose(*call, stdin="token\n") == "token\nconfig.xml\n"


def test_work_reaches_boinc(stack: Stack) -> None:
    stack.compose("run", "--rm", "-T", "work-generator", "work-generator", "--once")
    client = "tool=$(command -v mariadb || command -v mysql); MYSQL_PWD=$(cat /run/secrets/mysql/root_password) $tool -u root"
    query = f'{client} -N -e "SELECT name FROM $PROJECT.workunit"'
    assert stack.compose("exec", "-T", "mysql", "sh", "-c", query).startswith("wu_")


def test_a_backup_can_be_restored(stack: Stack, tmp_path: Path) -> None:
    done = subprocess.run(["server/backup.sh", str(tmp_path)], cwd=PROJECT, env=stack.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = done.stdout.removeprefix("backup: ").strip()
    before = stack.secret("ledger/password")
    done = subprocess.run(["server/restore.sh", folder, "--yes"], cwd=PROJECT, env=stack.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stack.compose("up", "--detach", "--wait", "--wait-timeout", "600")
    assert stack.secret("ledger/password") == before
