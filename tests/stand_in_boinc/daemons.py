"""Stands in for what BOINC's apache image runs: the web page, a process named feeder, and the daemons that call our entry scripts.

A result is what lies in ``upload/<folder>/<work unit>_<copy>_r<random>_0``. A valid one goes to the assimilator's script, a refused one is
gone, and "later" means later; this is what ``script_validator`` and ``script_assimilator`` do to one task of a work unit.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PROJECT = Path(os.environ["PROJECT_ROOT"])


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path.rstrip("/") == f"/{os.environ['PROJECT']}"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(b"in place of BOINC\n")


def look_at(result: Path) -> None:
    """Validate one result, and bring it to the inbox."""
    here = PROJECT / "tmp_daemons"
    here.mkdir(exist_ok=True)
    verdict = subprocess.run(["../bin/crystal_search_validate", str(result)], cwd=here, check=False).returncode
    if verdict == 0 and subprocess.run(["../bin/crystal_search_assimilate", "1", str(result)], cwd=here, check=False).returncode:
        return
    if verdict != 3:
        result.unlink(missing_ok=True)


def main() -> None:
    server = ThreadingHTTPServer(("", int(os.environ.get("STAND_IN_PORT", "80"))), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    subprocess.Popen(["feeder", "infinity"], executable="/bin/sleep")
    while True:
        for result in sorted((PROJECT / "upload").glob("*/wu_*_r*_0")):
            look_at(result)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
