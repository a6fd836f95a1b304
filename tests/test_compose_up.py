"""The whole server side on a real engine: ``make test-docker``. It builds our image and pulls the others, which takes minutes.

**Nobody has run it yet.** What of it needs no engine was run: the scripts (test_compose_scripts.py, test_compose_grid.py), the stand-ins
(test_stand_in_boinc.py) and ``docker compose config`` (test_compose.py).

BOINC's images are those of ``BOINC_IMAGE_PREFIX``, ``BOINC_VERSION`` and ``BOINC_SUFFIX``. Where they can not be pulled, stand-ins of the
same shape are built (stand_in_boinc/) under a prefix of their own, so that nobody takes them for BOINC's later; the test says so. A
volunteer of BOINC's needs a signed application version: with BOINC's images the last step of a work unit is left to ``make test-boinc``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scored_lab import image_name

pytestmark = pytest.mark.docker

PROJECT = Path(__file__).resolve().parent.parent
PORT = "8089"
STAND_IN_PREFIX = "crystal-search-stand-in/server_"
BOINC_IMAGES = ("mysql", "makeproject", "apache")
#: The volunteer: our image has the client, and is root over all volumes. BOINC's client would fetch the file, and send the result.
SCORE = (
    "set -eu; project=/home/boincadm/project; mkdir -p $project/upload/3f; cd $project/download; "
    "for unit in wu_*.zip; do name=${unit%.zip}; [ -e /tmp/$name ] || python -m client_app $unit /tmp/$name; "
    "cp /tmp/$name $project/upload/3f/part; mv $project/upload/3f/part $project/upload/3f/${name}_0_r7_0; done; "
    "chown -R 1000:1000 $project/upload"
)


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
        self.stand_ins = False

    def get_boincs_images(self) -> None:
        """Pull BOINC's images, or build what stands in for them."""
        if not subprocess.run(["docker", "compose", "pull", *BOINC_IMAGES], cwd=PROJECT, env=self.environment).returncode:
            return
        print("BOINC's images can not be pulled: stand-ins take their place")
        self.stand_ins = True
        self.environment |= {"BOINC_IMAGE_PREFIX": STAND_IN_PREFIX, "BOINC_VERSION": "test", "BOINC_SUFFIX": ""}
        for name in BOINC_IMAGES:
            call = [
                "docker",
                "build",
                "--target",
                name,
                "--tag",
                f"{STAND_IN_PREFIX}{name}:test",
                "--file",
                "stand_in_boinc/Dockerfile",
                ".",
            ]
            done = subprocess.run(call, cwd=PROJECT / "tests", capture_output=True, text=True)
            if done.returncode:
                pytest.fail(f"the stand-in for BOINC's {name} can not be built: {done.stderr[-2000:]}")

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
        made.get_boincs_images()
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


def test_the_web_page_answers(stack: Stack) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/crystalsearch/", timeout=30) as page:
        assert (b"in place of BOINC" if stack.stand_ins else b"BOINC") in page.read()


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


def test_a_work_unit_is_submitted_and_scored(stack: Stack) -> None:
    stack.compose("run", "--rm", "-T", "work-generator", "work-generator", "--once")
    jobs = "ls jobs" if stack.stand_ins else f"php -r '{JOBS}'"
    call = ["exec", "-T", "work-generator", "/opt/crystal-search/compose/in_boinc.sh", "sh", "-c", jobs]
    wait_for("BOINC has the work unit", lambda: stack.compose(*call).startswith("wu_"))
    if not stack.stand_ins:
        pytest.skip("BOINC's images: a volunteer needs a signed application version; make test-boinc goes that way")
    stack.compose("run", "--rm", "-T", "--entrypoint", "sh", "files", "-c", SCORE)
    wait_for("the image has its score", lambda: ended(json.loads(stack.compose("exec", "-T", "work-generator", *STATUS))))


#: The names in BOINC's table of work units, through BOINC's own access to its database.
JOBS = 'chdir("html/inc"); require_once("boinc_db.inc"); foreach (BoincWorkunit::enum("true") as $unit) echo $unit->name, PHP_EOL;'
STATUS = ("/opt/crystal-search/compose/entry.sh", "status", "--json")


def ended(status: dict[str, dict[str, int]]) -> bool:
    """Whether the one image has come through: an ARTscore, or no class above the threshold."""
    return status["images"]["scored"] + status["images"]["unsure"] + status["images"]["no_drop"] == 1 and status["batches"]["imported"] == 1


def wait_for(what: str, is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not is_so():
        assert time.monotonic() < end, f"{what}: not within 300 s"
        time.sleep(2)


def test_a_backup_can_be_restored(stack: Stack, tmp_path: Path) -> None:
    done = subprocess.run(["server/backup.sh", str(tmp_path)], cwd=PROJECT, env=stack.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = done.stdout.removeprefix("backup: ").strip()
    before = stack.secret("ledger/password")
    done = subprocess.run(["server/restore.sh", folder, "--yes"], cwd=PROJECT, env=stack.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stack.compose("up", "--detach", "--wait", "--wait-timeout", "600")
    assert stack.secret("ledger/password") == before
