"""A PostgreSQL server for a ledger, in a folder of its own, that can be killed like a machine that loses its power, and started again."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

_PATIENCE_SECONDS = 60.0


class KillablePostgres:
    """Listens on a Unix socket only; ``url`` is a ledger's. It never runs as root. ``settings`` are the server's, as ``name=value``."""

    def __init__(self, *settings: str) -> None:
        self._settings = settings
        found = shutil.which("initdb") or next(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
        if found is None:
            raise RuntimeError("PostgreSQL is missing: apt-get install postgresql")
        self._bin = Path(found).resolve().parent
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path has to be short
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        made = subprocess.run(
            [self._bin / "initdb", "-D", self._data, "-A", "trust", "-U", "dba", "-E", "UTF8", "--no-sync"], check=False, **self._as_user()
        )
        if made.returncode:
            raise RuntimeError(f"initdb ended with {made.returncode}")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://dba@/postgres?host={self.folder}"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start the server and wait until it answers; after a kill it recovers first."""
        # What was committed is in the kernel's hands when only processes die: no test needs to wait for the disk.
        options = ["-c", f"unix_socket_directories={self.folder}", "-c", "listen_addresses=", "-c", "fsync=off"]
        options += ["-c", "dynamic_shared_memory_type=mmap"]  # a kill leaves what lies in /dev/shm
        options += [word for setting in self._settings for word in ("-c", setting)]
        self._process = subprocess.Popen([self._bin / "postgres", "-D", self._data, *options], **self._as_user())
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                psycopg.connect(host=str(self.folder), user="dba", dbname="postgres").close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL to the postmaster and to every process of it, whatever they are doing."""
        assert self._process is not None
        children = self._children()
        self._process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._process.wait()
        end = time.monotonic() + _PATIENCE_SECONDS
        while any(Path(f"/proc/{child}/fd").exists() and _state(child) not in "ZX" for child in children):
            assert time.monotonic() < end
            time.sleep(0.005)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def empty(self) -> None:
        """No tables."""
        with psycopg.connect(host=str(self.folder), user="dba", dbname="postgres") as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")

    def _children(self) -> list[int]:
        assert self._process is not None
        return [int(number) for number in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()]

    def _as_user(self) -> dict[str, object]:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "USER": self._user or getpass.getuser()}
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return {"user": self._user, "cwd": self.folder, "env": environment, **quiet}


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
