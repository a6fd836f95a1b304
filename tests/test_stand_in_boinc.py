"""The stand-ins for BOINC's images (stand_in_boinc/) outside of containers: what test_compose_up.py goes through there with an engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

from click.testing import CliRunner
from scored_lab import MODEL, results_of
from volunteer import free_port

from assimilator.service import ValidationServer
from crystal_search.archives import FORMAT_VERSION, Manifest, WorkImage, read_results, sha256_hex, write_results, write_work_unit
from crystal_search.grid.boinc import BoincGrid
from crystal_search.grid.boinc_tools import BoincTools
from server.cli import server

TESTS = Path(__file__).parent


def test_a_work_unit_goes_through_the_stand_ins(tmp_path: Path) -> None:
    project = tmp_path / "project.dst"
    project.mkdir()
    port = free_port()
    variables = os.environ | {
        "PROJECT_ROOT": str(tmp_path / "project"),
        "PROJECT": "grid",
        "PYTHONPATH": str(TESTS),
        "STAND_IN_PORT": str(port),
    }
    subprocess.run([sys.executable, TESTS / "stand_in_boinc/step2.py"], env=variables, check=True)
    assert (project / ".built_grid").exists()

    image = WorkImage(id="0" * 32, file=f"{'0' * 32}.jpg", sha256=sha256_hex(b"image"))
    manifest = Manifest(format_version=FORMAT_VERSION, name="wu_b_1", model=MODEL, images=[image], threshold=0.85)
    write_work_unit(tmp_path / "units" / "wu_b_1.zip", manifest, {image.file: b"image"})
    service = ValidationServer(("127.0.0.1", 0), tmp_path / "units")
    threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    address = f"http://127.0.0.1:{service.server_address[1]}"
    call = ["install", str(project), "--validator", address, "--inbox", str(tmp_path / "inbox")]
    assert CliRunner().invoke(server, call).exit_code == 0
    grid = BoincGrid(tmp_path / "spool", tmp_path / "inbox", BoincTools(project))
    grid.submit(tmp_path / "units" / "wu_b_1.zip")
    grid.poll()
    assert json.loads((project / "jobs" / "wu_b_1").read_text())["file"] == "wu_b_1.zip"

    variables["PROJECT_ROOT"] = str(project)
    daemons = subprocess.Popen([sys.executable, TESTS / "stand_in_boinc/daemons.py"], env=variables, start_new_session=True)
    try:
        upload = project / "upload" / "3f"
        upload.mkdir()
        (upload / "wu_b_1_0_r7_0").write_bytes(b"garbage")
        write_results(upload / "good", results_of("wu_b_1", {image.id: "unsure"}), {})
        (upload / "good").rename(upload / "wu_b_1_1_r8_0")
        end = time.monotonic() + 120
        while list(upload.iterdir()):
            assert time.monotonic() < end, sorted(upload.iterdir())
            time.sleep(0.05)
        assert [path.name for path in (tmp_path / "inbox").iterdir()] == ["wu_b_1.zip"]
        assert read_results(tmp_path / "inbox" / "wu_b_1.zip").work_unit == "wu_b_1"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/grid/", timeout=120) as page:
            assert b"in place of BOINC" in page.read()
    finally:
        os.killpg(daemons.pid, 9)
        daemons.wait()
        service.stop()
