"""The whole way, with BOINC's real client: real images leave the embedded XtalTrak, are scored by the signed executable below a
``boinc`` that is killed in the middle, and come back as scores.

Needs the executable (``make client``) and Debian's boinc-client; nothing is skipped for want of either. The server's parts that are
BOINC's are stand-ins: scheduler and upload handler (boinc_stub.py), the project's tools (fake_boinc.py). Ours are real: the grid, the
validation service, both entry scripts.
"""

from __future__ import annotations

import csv
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from boinc_stub import Stub, write_keys
from fake_boinc import FakeBoinc
from volunteer import Volunteer

from assimilator.service import ValidationServer
from crystal_search.archives import open_work_unit, read_results
from crystal_search.models import find_model
from crystal_search.settings import load_settings

pytestmark = pytest.mark.executable

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "dist" / "crystal-search-client"
CRYSTAL_SEARCH = (sys.executable, "-m", "crystal_search")
THRESHOLD = "0.2"  # low, so that nearly every drop gets a score

IMAGES = sorted((ROOT / "demo" / "images").glob("*_*.jp*g"))
#: (column, row, subwell) of eight images, as a person would place them
PLACES = ((12, 4, 3), (1, 1, 1), (1, 1, 3), (1, 8, 4), (10, 2, 1), (2, 1, 1), (5, 5, 1), (7, 8, 2))


def crystal_search(*arguments: str | Path) -> None:
    subprocess.run([*CRYSTAL_SEARCH, *map(str, arguments)], check=True, stderr=subprocess.DEVNULL)


@contextmanager
def validation_service(work_units: Path) -> Iterator[str]:
    """The address of a service that knows these work units."""
    server = ValidationServer(("127.0.0.1", 0), work_units)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def entry_script(name: str, *arguments: str | Path, **variables: str) -> int:
    """Call one of our scripts as BOINC's validator and assimilator do; returns its exit code."""
    script = ROOT / "server" / "files" / "bin" / f"crystal_search_{name}"
    return subprocess.run(("sh", script, *arguments), env={"PATH": os.environ["PATH"], **variables}).returncode


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model under another name: the executable does not hold it, so it has to come with the app version."""
    shipped = ROOT / "models" / "synthetic-2"
    folder = tmp_path_factory.mktemp("models") / "delivered"
    folder.mkdir()
    for name in ("chops.onnx", "drop.onnx"):
        shutil.copy(shipped / name, folder)
    text = (shipped / "model.toml").read_text(encoding="utf-8")
    (folder / "model.toml").write_text(text.replace('name = "synthetic-2"', 'name = "delivered-1"', 1), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def app_version(tmp_path_factory: pytest.TempPathFactory, keys: Path, model: Path) -> Path:
    """A signed app version of the executable, without BOINC's wrapper."""
    if not BUILT.is_file():
        pytest.fail(f"{BUILT} is missing: make client builds it")
    out = tmp_path_factory.mktemp("apps")
    script = (sys.executable, ROOT / "build" / "app_version.py", "1.00", "--key", keys, "--model", model, "--plan-class", "cpu")
    made = subprocess.run((*script, "--executable", BUILT, "--out", out), check=True, capture_output=True, text=True).stdout
    return Path(made.strip())


@pytest.fixture
def plate(tmp_path: Path) -> dict[str, tuple[int, int, int]]:
    """A folder of real images, by name the places that they show."""
    folder = tmp_path / "plate"
    folder.mkdir()
    chosen = [image for image in IMAGES if image.stat().st_size < 200_000][: len(PLACES)]
    assert len(chosen) == len(PLACES)
    names = {}
    for image, (column, row, subwell) in zip(chosen, PLACES, strict=True):
        name = f"RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI000077_004_121121_{column:02d}_{row:02d}_{subwell:02d}_00_99_030_001_RDI.jpg"
        shutil.copyfile(image, folder / name)
        names[name] = (column, row, subwell)
    return names


@pytest.fixture
def stub(app_version: Path, keys: Path, tmp_path: Path) -> Iterator[Stub]:
    with Stub(app_version, keys.with_name("code_sign_public").read_text(), tmp_path / "uploads") as running:
        yield running


@pytest.fixture
def volunteer(tmp_path: Path, stub: Stub) -> Iterator[Volunteer]:
    made = Volunteer(tmp_path / "boinc", stub.url)
    yield made
    made.kill()
    assert made.processes() == []


@pytest.fixture
def assimilator() -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """Starts ``crystal-search assimilate``, which creates the work at BOINC and ends when all of it has come back."""
    started: list[subprocess.Popen[bytes]] = []

    def start(settings_file: Path) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([*CRYSTAL_SEARCH, "assimilate", "--settings", str(settings_file), "--once"]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_real_images_become_scores_although_the_volunteer_is_killed(
    tmp_path: Path,
    stub: Stub,
    volunteer: Volunteer,
    assimilator: Callable[[Path], subprocess.Popen[bytes]],
    model: Path,
    plate: dict[str, tuple[int, int, int]],
) -> None:
    boinc = FakeBoinc(tmp_path / "server" / "project")
    settings_file = tmp_path / "crystal-search.toml"
    settings_file.write_text(
        f'[scoring]\nmodel = "{model}"\nthreshold = {THRESHOLD}\n[generator]\nimages_per_work_unit = 4\n'
        f'[grid]\nkind = "boinc"\n[boinc]\nproject = "{boinc.path}"\n'
    )
    settings = load_settings(settings_file)
    crystal_search("load", tmp_path / "plate", "--settings", settings_file)
    crystal_search("work-generator", "--settings", settings_file, "--once")
    assimilating = assimilator(settings_file)
    while len(boinc.jobs()) < 2:
        assert assimilating.poll() is None
        time.sleep(0.1)
    stub.work_units = [boinc.input(name) for name in boinc.jobs()]

    volunteer.start()
    volunteer.wait_for("the first image is done", volunteer.checkpoints)
    volunteer.kill()
    assert volunteer.processes() == []
    kept = volunteer.checkpoints()
    assert 0 < len(kept) < 4, "killed in the middle of the first work unit"
    assert stub.reports == {}

    volunteer.start()
    volunteer.wait_for("both work units are reported", lambda: len(stub.reports) == 2)
    volunteer.kill()
    for name, report in stub.reports.items():
        assert (report.exit_status, report.state) == (0, 5), f"{name}: {report}"

    programs = [request for request in stub.requests if request.startswith("GET /download/crystal-search-client_1.00_")]
    assert len(programs) == 1, "the program is downloaded once"
    models = [request for request in stub.requests if "_model_delivered-1_" in request]
    assert len(models) == len(set(models)) == 3, "the model's files are kept for the next work unit"

    results = {path.stem: stub.result(path.stem) for path in stub.work_units}
    seconds = {image.id: image.seconds for path in results.values() for image in read_results(path).images}
    assert kept.items() <= seconds.items(), "what was done before the kill was not done again"
    with validation_service(settings.work_units) as address:
        for result in results.values():
            assert entry_script("validate", result, CRYSTAL_SEARCH_VALIDATOR=address) == 0
            assert entry_script("assimilate", "17", result, CRYSTAL_SEARCH_INBOX=str(boinc.inbox)) == 0
    assert assimilating.wait(timeout=60) == 0
    for stage in ("finalize", "set-autoscore"):
        crystal_search(stage, "--settings", settings_file, "--once")

    options = ("--threshold", THRESHOLD, "--model", model)
    crystal_search("score", tmp_path / "plate", "--out", tmp_path / "scores", *options)
    with (tmp_path / "scores" / "scores.csv").open(newline="") as file:
        scored = {row["image"]: row["score"] for row in csv.DictReader(file) if row["status"] == "scored"}
    assert len(scored) >= 4, "the threshold is too high for this test to show anything"
    with closing(sqlite3.connect(tmp_path / "xtaltrak.sqlite")) as connection:
        rows = connection.execute(
            "SELECT s.IMAGENAME, i.COL, i.I_ROW, i.SUBWELL, s.SCORE, s.SCOREDBY FROM I_SCORES s JOIN I_INSPECTIONS i USING (INSPECTID)"
        ).fetchall()
    assert {name: score for name, _, _, _, score, _ in rows} == scored
    for name, column, row, subwell, _, scorer in rows:
        assert ((column, row, subwell), scorer) == (plate[name], "ARTscore")


def test_a_program_that_was_changed_on_its_way_is_not_run(tmp_path: Path, app_version: Path, keys: Path, model: Path) -> None:
    """BOINC's client checks the signature that build/app_version.py made: a server that was broken into can not send its own program."""
    changed = tmp_path / "changed"
    shutil.copytree(app_version, changed)
    (program,) = changed.glob("crystal-search-client_*[!g]")
    program.write_bytes(b"#!/bin/sh\ntouch ran\n")
    work_unit = tmp_path / "wu_forged_1.zip"
    work_unit.write_bytes(b"whatever")
    with Stub(changed, keys.with_name("code_sign_public").read_text(), tmp_path / "uploads", [work_unit]) as stub:
        volunteer = Volunteer(tmp_path / "boinc", stub.url)
        try:
            volunteer.start()
            volunteer.wait_for("all is downloaded", lambda: "Finished download of wu_forged_1.zip" in volunteer.log())
            volunteer.wait_for("it is refused", lambda: "Signature verification failed for crystal-search-client_1.00" in volunteer.log())
            time.sleep(3)  # what can run would have been started
        finally:
            volunteer.kill()
    assert not list(volunteer.folder.rglob("ran"))
    assert not list(volunteer.folder.glob("slots/*/*"))


def test_the_work_unit_tells_a_volunteer_nothing_but_pixels(
    tmp_path: Path, model: Path, plate: dict[str, tuple[int, int, int]], app_version: Path
) -> None:
    """docs/how-to/volunteer.md says so."""
    settings_file = tmp_path / "crystal-search.toml"
    settings_file.write_text(f'[scoring]\nmodel = "{model}"\n')
    crystal_search("load", tmp_path / "plate", "--settings", settings_file)
    crystal_search("work-generator", "--settings", settings_file, "--once")
    (work_unit,) = load_settings(settings_file).work_units.glob("*.zip")
    with open_work_unit(work_unit) as unit:
        assert len(unit.manifest.images) == len(plate)
        assert unit.manifest.model.sha256 == find_model(model).sha256
    content = work_unit.read_bytes()
    for word in (b"CI000077", b"RMM3", b"Test1", b"Clon1", b"ROBO", b"121121", b"Exif"):
        assert word not in content
