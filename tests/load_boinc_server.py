"""How many results a stock BOINC server and our services take in: ``python tests/load_boinc_server.py FOLDER`` prints a table, and fails
when a result is lost.

``CRYSTAL_SEARCH_BOINC_PROJECT`` names a project as test_boinc_real.py needs it, through which that test has gone once (this uses its
computer and app version). Synthetic results of 64 images are uploaded a hundred at once to BOINC's upload handler, over HTTP and with
BOINC's own signature, as its client does. That a task is reported is written into the database, where the scheduler would write it. All
else is real: work is created by BOINC's tools, looked at by BOINC's validator, our script and our validation service over HTTP, brought
to the inbox by BOINC's assimilator and our script, taken in by ``crystal-search assimilate``, and deleted by BOINC's file deleter.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from load_boinc import IMAGES, answer, fill
from real_boinc import VARIABLE, RealBoinc, RealLab, promise, wait_for
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from crystal_search.grid import open_boinc_grid
from crystal_search.ledger import open_ledger
from crystal_search.settings import load_settings

HOUR = 3600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a new folder; needs 3 MB a work unit for the defaults")
    parser.add_argument("--work-units", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--overlay-kb", type=int, default=40)
    asked = parser.parse_args()
    if not os.environ.get(VARIABLE):
        sys.exit(f"{VARIABLE} has to name the folder of a stock BOINC project that runs")
    asked.folder.mkdir(parents=True)
    lab = RealLab(asked.folder.resolve(), RealBoinc(Path(os.environ[VARIABLE])))
    try:
        measure(lab, asked)
    finally:
        lab.install("--remove")
        lab.close()


def measure(lab: RealLab, asked: argparse.Namespace) -> None:
    boinc = lab.boinc
    computers = boinc.sql(
        "SELECT host_id, app_version_id FROM host_app_version WHERE app_version_id < 1000000 ORDER BY app_version_id DESC"
    )
    if not computers:
        sys.exit("the project knows no computer yet: run make test-boinc first")
    computer, version = computers[0]
    lab.install()
    boinc.run("bin/xadd")
    boinc.restart()
    settings = load_settings(lab.settings_file)
    batch = f"load{secrets.token_hex(4)}"
    fill(settings, asked.work_units, batch)
    names = [f"wu_{batch}_{number}" for number in range(1, asked.work_units + 1)]
    grid = open_boinc_grid(settings)
    for name in names:
        grid.submit(settings.work_units / f"{name}.zip")
    lab.start_validator()
    lab.start("assimilate")
    begun = time.monotonic()
    where = f"result r JOIN workunit w ON r.workunitid = w.id WHERE w.name LIKE 'wu\\_{batch}\\_%'"
    wait_for("BOINC has all work", lambda: count(boinc, where) == asked.work_units, lambda: lab.log("assimilate")[-2000:], HOUR)
    created = time.monotonic() - begun

    promised = [(name, promise(document)) for name, document in boinc.sql(f"SELECT w.name, r.xml_doc_in FROM {where}")]
    overlay = b"\xff\xd8\xff" + os.urandom(asked.overlay_kb * 1024)
    bursts: list[float] = []
    size = 0
    begun = time.monotonic()
    made = asked.folder / "made.zip"
    for first in range(0, len(promised), asked.at_once):
        batch_now = promised[first : first + asked.at_once]
        bodies = []
        for name, _ in batch_now:
            answer(settings, name, overlay, made)
            bodies.append(made.read_bytes())
        size = len(bodies[0])
        started = time.monotonic()
        with ThreadPoolExecutor(asked.at_once) as pool:
            said = list(pool.map(lambda job: boinc.upload(*job[0][1], job[1]), zip(batch_now, bodies, strict=True)))
        bursts.append(time.monotonic() - started)
        refused = [line for line in said if "<status>0</status>" not in line]
        assert not refused, refused[0]
        report(boinc, [name for name, _ in batch_now], computer, version)
    uploaded = time.monotonic() - begun

    def stored() -> int:
        return len(list(settings.results.glob("*/*.zip")))

    wait_for("all is in the ledger", lambda: stored() == len(names), lambda: f"{stored()}\n{lab.log('assimilate')[-2000:]}", HOUR)
    wait_for("and noted", lambda: set(lab.states(names).values()) == {"assimilated"}, seconds=HOUR)
    taken_in = time.monotonic() - begun
    boinc.wait_until_deleted()
    with open_ledger(settings.ledger_url) as ledger, ledger.read() as connection:
        scored = connection.execute(text("SELECT count(*) FROM images WHERE state = 'scored'")).scalar_one()
    table = Table(title=f"BOINC server {boinc.version()}, {len(names)} work units of {IMAGES} images", title_justify="left")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for what, figure in {
        "size of a result": f"{size / 1e6:.1f} MB",
        "creating the work units": f"{created:.0f} s",
        f"{asked.at_once} uploads at once, slowest of {len(bursts)}": f"{max(bursts):.1f} s",
        "making and uploading all": f"{uploaded:.0f} s",
        "from the first upload to the last ARTscore": f"{taken_in:.0f} s",
        "work units an hour": f"{HOUR * len(names) / taken_in:.0f}",
        "results lost": str(len(names) * IMAGES - scored and len(names) - stored()),
        "files left in upload, download, inbox": str(
            len(boinc.files("upload") + boinc.files("download") + list(map(str, lab.inbox.iterdir())))
        ),
    }.items():
        table.add_row(what, figure)
    Console().print(table)
    if scored != len(names) * IMAGES:
        sys.exit(f"{scored} of {len(names) * IMAGES} images are scored: results were lost")


def count(boinc: RealBoinc, where: str) -> int:
    return int(boinc.sql(f"SELECT COUNT(*) FROM {where}")[0][0])


def report(boinc: RealBoinc, names: list[str], computer: str, version: str) -> None:
    """What the scheduler writes when a client reports its tasks as done."""
    now = int(time.time())
    units = f"(SELECT id FROM workunit WHERE name IN ({', '.join(repr(name) for name in names)}))"
    done = f"server_state = 5, outcome = 1, client_state = 5, hostid = {computer}, app_version_id = {version}"
    when = f"sent_time = {now - 600}, received_time = {now}, report_deadline = {now + 86400}, elapsed_time = 320, cpu_time = 320"
    boinc.sql(f"UPDATE result SET {done}, {when}, flops_estimate = 3e9 WHERE workunitid IN {units}")
    boinc.sql(f"UPDATE workunit SET transition_time = {now} WHERE id IN {units}")


if __name__ == "__main__":
    main()
