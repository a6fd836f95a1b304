"""BOINC's real client (Debian's boinc-client) in a folder of its own: started, asked, killed like a computer that loses its power."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

BOINC = shutil.which("boinc") or "/usr/bin/boinc"
BOINCCMD = shutil.which("boinccmd") or "/usr/bin/boinccmd"
SECONDS = 300.0
_HURRY_SECONDS = 4.0

_CC_CONFIG = """<cc_config>
<log_flags><task>1</task><file_xfer>1</file_xfer><sched_ops>1</sched_ops></log_flags>
<options>
<allow_multiple_clients>1</allow_multiple_clients>
<skip_cpu_benchmarks>1</skip_cpu_benchmarks>
<no_info_fetch>1</no_info_fetch>
<dont_contact_ref_site>1</dont_contact_ref_site>
<report_results_immediately>1</report_results_immediately>
<no_gpus>1</no_gpus>
<ncpus>1</ncpus>
<start_delay>0</start_delay>
</options>
</cc_config>
"""
#: A test's computer is busy, and nobody's: nothing is to suspend the work.
_PREFERENCES = """<global_preferences>
<run_on_batteries>1</run_on_batteries>
<run_if_user_active>1</run_if_user_active>
<suspend_cpu_usage>0</suspend_cpu_usage>
<cpu_usage_limit>100</cpu_usage_limit>
<max_ncpus_pct>100</max_ncpus_pct>
<ram_max_used_busy_pct>100</ram_max_used_busy_pct>
<ram_max_used_idle_pct>100</ram_max_used_idle_pct>
<disk_max_used_pct>100</disk_max_used_pct>
<disk_min_free_gb>0.01</disk_min_free_gb>
<disk_interval>1</disk_interval>
<work_buf_min_days>0.1</work_buf_min_days>
</global_preferences>
"""


class Volunteer:
    """BOINC's client, attached to a project by the file that attaching leaves behind."""

    def __init__(self, folder: Path, url: str, key: str = "a" * 32) -> None:
        if not Path(BOINC).is_file():
            pytest.fail("BOINC's client is missing; on Debian or Ubuntu: apt-get install --no-install-recommends boinc-client")
        self.folder = folder
        self.url = url
        folder.mkdir()
        (folder / "cc_config.xml").write_text(_CC_CONFIG)
        (folder / "global_prefs_override.xml").write_text(_PREFERENCES)
        account = f"<account>\n<master_url>{url}</master_url>\n<authenticator>{key}</authenticator>\n</account>\n"
        (folder / f"account_{self._escaped()}.xml").write_text(account)
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._hurried = 0.0

    def start(self) -> None:
        variables = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache")}
        self._port = free_port()
        with (self.folder / "log").open("ab") as log:
            # Not --no_gui_rpc: with it, 7.20.5 never gets round to checking the signature of a file as large as ours.
            command = (BOINC, "--dir", self.folder, "--allow_multiple_clients", "--gui_rpc_port", str(self._port), "--insecure")
            self._process = subprocess.Popen(command, env=variables, stdout=log, stderr=log, start_new_session=True)

    def kill(self) -> None:
        """What a power cut does to it, and to what it has started. BOINC's wrapper gives the program a process group of its own."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            for process in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            end = time.monotonic() + 120
            while self.processes() and time.monotonic() < end:
                time.sleep(0.05)

    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ask(self, *words: str) -> str:
        """What ``boinccmd`` answers; it is asked again while the client is too busy."""
        call = [BOINCCMD, "--host", f"127.0.0.1:{self._port}", *words]
        return subprocess.run(call, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False).stdout

    def hurry(self) -> None:
        """Talk to the project, whatever pause it is in, and try all transfers again; once in a few seconds, however often it is called."""
        if time.monotonic() < self._hurried + _HURRY_SECONDS:
            return
        self._hurried = time.monotonic()
        self.ask("--project", self.url, "update")
        self.ask("--network_available")

    def has_tasks(self) -> bool:
        """Whether it has tasks, or results that it has not reported."""
        return "wu_" in self.ask("--get_tasks")

    def bring_program(self, name: str, program: str) -> None:
        """Use a program of the volunteer's own instead of the project's (BOINC's "anonymous platform")."""
        folder = self.folder / "projects" / self._escaped()
        folder.mkdir(parents=True)
        (folder / name).write_text(program)
        (folder / name).chmod(0o755)
        app, version = "<name>crystal_search</name>", "<app_name>crystal_search</app_name><version_num>100</version_num>"
        (folder / "app_info.xml").write_text(
            f"<app_info>\n<app>{app}</app>\n<file_info><name>{name}</name><executable/></file_info>\n<app_version>{version}\n"
            f"<file_ref><file_name>{name}</file_name><main_program/></file_ref>\n</app_version>\n</app_info>\n"
        )

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace") if (self.folder / "log").exists() else ""

    def wait_for(self, what: str, is_so: Callable[[], object], seconds: float = SECONDS) -> None:
        end = time.monotonic() + seconds
        while not is_so():
            assert self._process is not None
            assert self._process.poll() is None, f"BOINC's client has ended\n{self.log()}"
            assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s\n{self.log()}"
            time.sleep(0.02)

    def processes(self) -> list[int]:
        """Whatever still runs in the client's folder."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                folder = (process / "cwd").readlink()
            except OSError:
                continue
            if folder.is_relative_to(self.folder) and (process / "cmdline").read_bytes():
                found.append(int(process.name))
        return found

    def checkpoints(self) -> dict[str, float]:
        """The images that the running task has finished, and the seconds that each took."""
        done = {}
        for path in self.folder.glob("slots/*/out.zip.checkpoint/*.checkpoint"):
            file = msgspec.msgpack.decode(path.read_bytes()[32:])  # what goes before is its SHA-256
            done[path.stem] = file["saved"]["result"]["seconds"]
        return done

    def _escaped(self) -> str:
        """The project's name in file names, as BOINC makes it of the address."""
        address = urlsplit(self.url)
        return f"{address.netloc}{address.path}".rstrip("/").replace(":", "_").replace("/", "_")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
