"""Our grid on a stock BOINC server with Debian's real client: ``make test-boinc``, about fifteen minutes.

``CRYSTAL_SEARCH_BOINC_PROJECT`` names the folder of a project that BOINC's ``make_project`` made, whose database and web server run and
that has no computers of anybody else; ``CRYSTAL_SEARCH_BOINC_WRAPPER`` names BOINC's wrapper. The tests go through the project in this
order, each with work units and volunteers of its own: install, app version, work, everything that usually fails, removal. Nothing is a
stand-in but the volunteers who mean ill.
"""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from real_boinc import CRYSTAL_SEARCH, IMAGES, IMAGES_A_UNIT, ROOT, VARIABLE, WRAPPER, RealBoinc, RealLab, needed, wait_for

from crystal_search.archives import read_results
from crystal_search.settings import load_settings

pytestmark = pytest.mark.boinc_server

BUILT = ROOT / "dist" / "crystal-search-client"
GARBAGE = "#!/bin/sh\nhead -c 20000 /dev/urandom >out.zip\n: >boinc_finish_called\n"
BROKEN = "#!/bin/sh\necho 'crystal-search-client: this computer is broken' >&2\nexit 1\n"
#: The real client, whose result is then made a little more hopeful: every number is possible, and wrong.
TAMPERED = f"""#!{sys.executable}
import json, subprocess, zipfile
subprocess.run(["{BUILT}", "in.zip", "true.zip"], check=True)
with zipfile.ZipFile("true.zip") as true, zipfile.ZipFile("out.zip", "w") as false:
    for name in true.namelist():
        content = true.read(name)
        if name == "results.json":
            told = json.loads(content)
            for image in told["images"]:
                if image.get("crystal_probability") is not None:
                    p = image["crystal_probability"]
                    image["crystal_probability"] = p - 0.2 if p > 0.5 else p + 0.2
            content = json.dumps(told).encode()
        false.writestr(name, content)
open("boinc_finish_called", "w").close()
"""
# BOINC's numbers: html/inc/common_defs.inc
SUCCESS, VALIDATE_ERROR, NO_REPLY, CLIENT_ERROR = "1", "6", "4", "3"
VALID, INVALID = "1", "2"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLab]:
    boinc = RealBoinc(needed(VARIABLE, "the folder of a stock BOINC project that runs"))
    if not BUILT.is_file():
        pytest.fail(f"{BUILT} is missing: make client builds it", pytrace=False)
    made = RealLab(tmp_path_factory.mktemp("lab"), boinc)
    print(f"BOINC server {boinc.version()}, project {boinc.url}")
    made.install("--remove")  # of an earlier run that was killed
    boinc.forget()
    made.before = project_files(boinc.path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def no_volunteer_stays(lab: RealLab) -> Iterator[None]:
    yield
    for volunteer in lab.volunteers:
        volunteer.kill()
    lab.volunteers.clear()


@pytest.fixture(scope="module")
def wrapper() -> Path:
    return needed(WRAPPER, "BOINC's wrapper for this platform")


@pytest.fixture(scope="module")
def keys(lab: RealLab) -> dict[str, str]:
    return {}


def project_files(project: Path) -> dict[str, bytes]:
    """What ``server install`` touches."""
    names = ("config.xml", "project.xml", "plan_class_spec.xml", "html/project/project.inc")
    found = {name: (project / name).read_bytes() for name in names if (project / name).exists()}
    ours = [*project.glob("bin/*crystal_search*"), *project.glob("templates/crystal_search*"), *project.glob("*crystal_search_install*")]
    return found | {str(path.relative_to(project)): path.read_bytes() for path in ours}


def make_version(lab: RealLab, *options: str | Path) -> str:
    """A new signed app version in the project, known to its database; its number, such as 1.07."""
    number = lab.boinc.newest_version() + 1
    version = f"{max(number, 100) // 100}.{max(number, 100) % 100:02d}"
    key = lab.boinc.path / "keys" / "code_sign_private"
    call = [sys.executable, ROOT / "build" / "app_version.py", version, "--key", key, "--plan-class", "cpu", "--executable", BUILT]
    subprocess.run([*call, "--out", lab.boinc.path / "apps", *options], check=True, capture_output=True)
    lab.boinc.run("bin/update_versions", "--noconfirm")
    lab.boinc.restart()
    return version


def first_sent(lab: RealLab, name: str) -> int:
    (row,) = lab.boinc.sql(
        f"SELECT MIN(sent_time) FROM result r JOIN workunit w ON r.workunitid = w.id WHERE w.name = '{name}' AND sent_time > 0"
    )
    return int(row[0])


# ---- install, and an ordinary day ---------------------------------------------------------------------------------------


def test_install_tells_what_is_left_and_a_second_time_nothing(lab: RealLab, wrapper: Path, keys: dict[str, str]) -> None:
    said = lab.install("--accounts", "open")
    assert "bin/xadd" in said
    lab.boinc.run("bin/xadd")
    lab.boinc.restart()
    for name in ("ann", "bob"):
        keys[name] = lab.boinc.account(f"{name}{time.time_ns()}")
    lab.install()
    assert "nothing to change" in lab.install()
    assert "not accepting new accounts" in lab.boinc.get("create_account.php?email_addr=x@lab.example&passwd_hash=0&user_name=x")
    lab.start_validator()
    lab.start("assimilate")
    print("app version", make_version(lab, "--wrapper", wrapper))


def test_twenty_work_units_with_a_computer_that_returns_garbage_and_one_that_is_killed(lab: RealLab, keys: dict[str, str]) -> None:
    begun = time.monotonic()
    names = [*lab.work(14, "AR"), *(urgent := lab.work(6, "RT"))]
    bad = lab.volunteer("garbage", keys["bob"], GARBAGE)
    bad.wait_for("garbage was refused", lambda: bad.hurry() or len(refused_tasks(lab, names)) >= 4)
    bad.ask("--project", bad.url, "nomorework")
    bad.wait_for("it has returned all", lambda: bad.hurry() or not undecided(lab, names))
    bad.kill()
    refused = refused_tasks(lab, names)
    good = lab.volunteer("good", keys["ann"])
    good.wait_for("the first image is done", good.checkpoints)
    good.kill()
    assert good.processes() == []
    kept = good.checkpoints()
    assert 0 < len(kept) < IMAGES_A_UNIT, "killed in the middle of a work unit"
    good.start()
    lab.wait_until(names, "assimilated")

    sent = {name: first_sent(lab, name) for name in names}
    assert max(sent[name] for name in urgent) <= min(sent[name] for name in names if name not in urgent), "real-time images go first"
    settings = load_settings(lab.settings_file)
    seconds = {i.id: i.seconds for path in settings.results.glob("*/*.zip") for i in read_results(path).images}
    assert kept.items() <= seconds.items(), "what was done before the kill was not done again"
    for task in refused:
        others = [t for t in lab.tasks([re.sub(r"_\d+$", "", task[0])]) if t[0] != task[0]]
        assert [t for t in others if (t[2], t[3]) == (SUCCESS, VALID)], "sent again"
        assert all(t[4] != task[4] for t in others), "to another computer"
    lab.boinc.wait_until_deleted()
    for stage in ("finalize", "set-autoscore"):
        lab.command(stage, "--once")
    assert lab_scores(lab) == true_scores(lab)
    print(f"20 work units, {20 * IMAGES_A_UNIT} images, {len(refused)} results refused: {time.monotonic() - begun:.0f} s")


def refused_tasks(lab: RealLab, names: list[str]) -> list[list[str]]:
    return [task for task in lab.tasks(names) if task[2] == VALIDATE_ERROR]


def lab_scores(lab: RealLab) -> dict[str, str]:
    with closing(sqlite3.connect(lab.folder / "xtaltrak.sqlite")) as connection:
        return dict(connection.execute("SELECT IMAGENAME, SCORE FROM I_SCORES"))


def true_scores(lab: RealLab) -> dict[str, str]:
    """What ``crystal-search score`` says of the same images."""
    out = lab.folder / "true"
    call = [*CRYSTAL_SEARCH, "score", *map(str, IMAGES), "--out", str(out), "--threshold", "0.2"]
    subprocess.run(call, check=True, capture_output=True)
    with (out / "scores.csv").open(newline="") as file:
        scored = {row["image"]: row["score"] for row in csv.DictReader(file) if row["status"] == "scored"}
    assert len(scored) >= 4, "the threshold is too high for this test to show anything"
    return {name: scored[image] for name, image in lab.images.items() if image in scored}


def test_status_tells_of_server_and_pace(lab: RealLab) -> None:
    status = lab.status()
    boinc, server, pace = status["boinc"], status["boinc"]["server"], status["pace"]  # type: ignore[index]
    assert boinc["trouble"] is None
    assert server["daemons_down"] == []
    assert pace["images"] == 20 * IMAGES_A_UNIT
    assert pace["on_the_way"] == 0


# ---- computers that are not trusted ---------------------------------------------------------------------------------------


def test_two_computers_have_to_agree(lab: RealLab, keys: dict[str, str]) -> None:
    lab.install("--replication", "2")
    print("app version without wrapper", make_version(lab))
    names = lab.work(3)
    liar = lab.volunteer("liar", keys["bob"], TAMPERED)
    first = lab.volunteer("first", keys["ann"])
    wait_for(
        "the two differ",
        lambda: [v.hurry() for v in (liar, first)] and "the results differ" in lab.log("validate-service"),
        lambda: lab.tasks(names),
    )
    lab.volunteer("second", keys["ann"])
    lab.wait_until(names, "assimilated")
    wait_for("all is decided", lambda: [v.hurry() for v in lab.volunteers] and not undecided(lab, names), lambda: lab.tasks(names))
    computers = {task[4] for task in lab.tasks(names) if task[3] == VALID}
    liars = {task[4] for task in lab.tasks(names) if task[3] == INVALID}
    assert len(computers) == 2
    assert len(liars) == 1
    assert not computers & liars
    for name in names:
        assert len([task for task in lab.tasks([name]) if task[3] == VALID]) == 2


def undecided(lab: RealLab, names: list[str]) -> list[list[str]]:
    """Tasks that are out, or back without a verdict."""
    return [task for task in lab.tasks(names) if task[1] == "4" or (task[2] == SUCCESS and task[3] not in (VALID, INVALID))]


def test_adaptive_replication_asks_a_second_computer_only_about_those_without_merit(lab: RealLab, keys: dict[str, str]) -> None:
    lab.install("--replication", "adaptive")
    assert "2, was 0" in lab.boinc.run("bin/crystal_search_replication")
    lab.boinc.restart()
    new = lab.work(1)
    one, two = lab.volunteer("novice1", keys["ann"]), lab.volunteer("novice2", keys["ann"])
    lab.wait_until(new, "assimilated")
    assert len([task for task in lab.tasks(new) if task[3] == VALID]) == 2
    lab.boinc.sql("UPDATE host_app_version SET consecutive_valid = 1000000")
    trusted = lab.work(2)
    lab.wait_until(trusted, "assimilated")
    assert [len(lab.tasks([name])) for name in trusted] == [1, 1]
    assert one.runs()
    assert two.runs()
    lab.install()
    assert "0, was 2" in lab.boinc.run("bin/crystal_search_replication")
    lab.boinc.restart()


# ---- what usually fails -----------------------------------------------------------------------------------------------------


def test_work_that_fails_everywhere_is_given_up_with_the_clients_words(lab: RealLab, keys: dict[str, str]) -> None:
    names = lab.work(1)
    for number in range(3):
        lab.volunteer(f"broken{number}", keys["bob"], BROKEN)
    lab.wait_until(names, "gave_up")
    assert [(task[2], task[5]) for task in lab.tasks(names)] == [(CLIENT_ERROR, "1")] * 3
    reasons = " ".join(reason["example"] for reason in lab.status()["reasons"])  # type: ignore[attr-defined]
    assert "too many computers returned errors" in reasons
    assert "the client said: crystal-search-client: this computer is broken" in reasons


def test_results_wait_while_the_validation_service_is_away(lab: RealLab, keys: dict[str, str]) -> None:
    lab.stop("validate-service")
    names = lab.work(1)
    good = lab.volunteer("patient", keys["ann"])
    good.wait_for("it is asked", lambda: good.hurry() or f"no answer from http://127.0.0.1:{lab.validator_port}" in new_log(lab))
    assert [(task[2], task[3]) for task in lab.tasks(names)] == [(SUCCESS, "0")]
    lab.start_validator()
    lab.wait_until(names, "assimilated")
    assert [(task[2], task[3]) for task in lab.tasks(names)] == [(SUCCESS, VALID)], "to no second computer meanwhile"


def new_log(lab: RealLab) -> str:
    return lab.boinc.log("script_validator_crystal_search")


def test_a_work_unit_that_is_cancelled_while_it_is_computed(lab: RealLab, keys: dict[str, str]) -> None:
    names = lab.work(1)
    busy = lab.volunteer("busy", keys["ann"])
    busy.wait_for("it computes", busy.checkpoints)
    lab.boinc.run("bin/cancel_jobs", "--name", names[0])
    lab.wait_until(names, "gave_up")
    busy.wait_for("the task is gone", lambda: busy.hurry() or not busy.has_tasks())
    lab.boinc.wait_until_deleted()
    assert "it was cancelled" in " ".join(reason["example"] for reason in lab.status()["reasons"])  # type: ignore[attr-defined]


def test_work_of_a_computer_that_went_away_is_done_by_another(lab: RealLab, keys: dict[str, str]) -> None:
    names = lab.work(1)
    lost = lab.volunteer("lost", keys["ann"])
    lost.wait_for("it computes", lost.checkpoints)
    lost.kill()
    lab.boinc.expire(names)
    other = lab.volunteer("other", keys["ann"])
    lab.volunteers.remove(lost)
    lab.wait_until(names, "assimilated")
    assert [task[2] for task in lab.tasks(names)] == [NO_REPLY, SUCCESS]
    other.kill()
    lost.start()
    lab.volunteers.append(lost)
    lost.wait_for("it has nothing left", lambda: lost.hurry() or not lost.has_tasks())
    assert set(lab.states(names).values()) == {"assimilated"}


def test_forged_uploads_are_refused(lab: RealLab) -> None:
    names = lab.work(1)
    name, limit, signature = lab.boinc.promised(names[0])

    def upload(name: str = name, limit: int = limit, signature: str = signature, body: bytes = b"forged", size: int | None = None) -> str:
        return lab.boinc.upload(name, limit, signature, body, size)

    before = lab.boinc.files("upload")
    another = name.replace("_0_r", "_1_r")
    refused = {
        "another name": upload(name=another),
        "another folder": upload(name=f"../{name}"),
        "a raised limit": upload(limit=limit + 1),
        "no signature": upload(signature=""),
        "another signature": upload(signature=re.sub("[0-9]", "7", signature)),
        "too large": upload(size=limit + 1),
    }
    for what, answer in refused.items():
        assert "<status>-1</status>" in answer, f"{what}: {answer}"
    assert lab.boinc.files("upload") == before
    assert "<status>0</status>" in upload(), "the true one is taken, so that all the others failed for what is wrong with them"
    assert lab.boinc.files("upload") == sorted([*before, name])
    lab.boinc.run("bin/cancel_jobs", "--name", names[0])
    lab.wait_until(names, "gave_up")
    for path in (lab.boinc.path / "upload").rglob(name):
        path.unlink()


def test_a_wrong_key_is_told_to_the_volunteer(lab: RealLab) -> None:
    stranger = lab.volunteer("stranger", "b" * 32)
    stranger.wait_for("it is told", lambda: "account key" in stranger.log())


def test_a_feeder_that_is_down_is_named_and_work_goes_on_afterwards(lab: RealLab, keys: dict[str, str]) -> None:
    names = lab.work(1)
    pid = int((lab.boinc.path / f"pid_{lab.boinc.host}" / "feeder.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    good = lab.volunteer("hungry", keys["ann"])
    good.wait_for("it gets nothing", lambda: good.hurry() or "Project has no tasks available" in good.log())
    down = lab.status()["boinc"]["server"]["daemons_down"]  # type: ignore[index]
    assert [daemon.split()[0] for daemon in down] == ["feeder"]
    lab.boinc.run("bin/start")
    lab.wait_until(names, "assimilated")


def test_an_app_version_is_made_once(lab: RealLab) -> None:
    newest = lab.boinc.newest_version()
    version = f"{newest // 100}.{newest % 100:02d}"
    key = lab.boinc.path / "keys" / "code_sign_private"
    call = [sys.executable, ROOT / "build" / "app_version.py", version, "--key", key, "--executable", BUILT]
    done = subprocess.run([*call, "--out", lab.boinc.path / "apps"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    lab.boinc.run("bin/update_versions", "--noconfirm")
    assert lab.boinc.newest_version() == newest


# ---- the end ------------------------------------------------------------------------------------------------------------------


def test_removal_leaves_the_project_as_it_was(lab: RealLab) -> None:
    lab.boinc.wait_until_deleted()
    lab.stop("assimilate")
    print(json.dumps(lab.status()["pace"]))
    lab.install("--remove")
    assert project_files(lab.boinc.path) == lab.before
    lab.boinc.run("bin/stop")
