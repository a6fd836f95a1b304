"""A client for tests of the grid: ``fake_client.py PLANS IN.zip OUT.zip ...`` does what the work unit's plan says for this run.

``PLANS/<work unit>/<n>`` holds one word for run n: ``copy FILE``, ``exit CODE``, ``kill``, or ``wait FILE THEN FILE`` (until the
first file exists, then copy the second). The last plan goes for all further runs. Standard library only, so that it starts quickly.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    plans, work_unit, out = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    folder = plans / work_unit.parent.name
    done = len(list(folder.glob("run-*")))
    (folder / "started").write_text(f"{os.getpid()} {out.name} {os.nice(0)} {time.monotonic()} {' '.join(sys.argv[4:])}")
    (folder / "started").rename(folder / f"run-{done + 1}")  # a test that sees it can read it
    verb, *rest = (folder / str(min(done + 1, len(list(folder.glob("[0-9]*")))))).read_text().split()
    if verb == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if verb == "exit":
        print(f"first line\nthe client says {rest[0]}\n", file=sys.stderr)
        return int(rest[0])
    if verb == "wait":
        while not Path(rest[0]).exists():
            time.sleep(0.01)
        rest = rest[2:]
    partial = out.with_suffix(".tmp")
    shutil.copyfile(rest[0], partial)
    partial.rename(out)
    return 0


sys.exit(main())
