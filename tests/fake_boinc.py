"""A BOINC project whose tools behave as the real ones do towards us, with folders for a database.

``bin/stage_file``, ``create_work`` and ``cancel_jobs`` are this file, called by those names in the project's directory.
``jobs/<name>`` is the table of jobs: JSON of priority and input file. Each call adds a line to ``calls``. What ``fail/<tool>`` holds
is printed, and the call fails; ``fail/kill_caller_of_<tool>`` kills who called after the work is done. Standard library only, so that
it starts quickly.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path


def write_tools(path: Path) -> None:
    """Put the tools, and the folders that they need, into a project."""
    for folder in ("bin", "download", "jobs", "fail"):
        (path / folder).mkdir(exist_ok=True)
    for tool in ("stage_file", "create_work", "cancel_jobs"):
        (path / "bin" / tool).write_text(f"#!{sys.executable} -SE\n" + Path(__file__).read_text())
        (path / "bin" / tool).chmod(0o755)


class FakeBoinc:
    """The project in ``path``, with our application installed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inbox = path.parent / "results" / "inbox"
        path.mkdir(parents=True, exist_ok=True)
        write_tools(path)
        (path / "templates").mkdir(exist_ok=True)
        (path / "config.xml").write_text("<boinc/>")
        for template in ("crystal_search_in", "crystal_search_out"):
            (path / "templates" / template).write_text("<template/>")

    def jobs(self) -> dict[str, int]:
        """The jobs' priorities by name."""
        return {job.name: json.loads(job.read_text())["priority"] for job in sorted((self.path / "jobs").iterdir())}

    def input(self, name: str) -> Path:
        """The file that a volunteer fetches for a job."""
        return self.path / "download" / str(json.loads((self.path / "jobs" / name).read_text())["file"])

    def calls(self, tool: str) -> list[str]:
        """What a tool was called with, in order."""
        log = self.path / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.removeprefix(f"{tool} ") for line in lines if line.startswith(f"{tool} ")]

    def break_tool(self, tool: str, says: str = "can't connect to database") -> None:
        (self.path / "fail" / tool).write_text(says)

    def mend(self) -> None:
        for switch in (self.path / "fail").iterdir():
            switch.unlink()

    def assimilate(self, name: str, result: Path) -> Path:
        """What BOINC's assimilator does with a valid result: it is in the inbox at once and whole."""
        return self._deliver(result.read_bytes(), f"{name}.zip")

    def give_up(self, name: str, line: str = "too many errors") -> Path:
        return self._deliver(f"{line}\n".encode(), f"{name}.failed")

    def _deliver(self, content: bytes, name: str) -> Path:
        self.inbox.mkdir(parents=True, exist_ok=True)
        partial = self.inbox / f".{name}.part"
        partial.write_bytes(content)
        return partial.rename(self.inbox / name)


def stage_file(arguments: list[str]) -> str:
    """Moves, unless --copy; a folder means all its files. The same content again is fine, another content is not."""
    path = Path(arguments[-1])
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        target = Path("download") / file.name
        if target.exists():
            if digest(target) != digest(file):
                return f"\nThere is already a file with the name {file.name},\nbut with different contents.\nThis is not allowed.\n"
        elif "--copy" in arguments:
            shutil.copyfile(file, target)
        else:
            file.rename(target)
    return ""


def create_work(arguments: list[str]) -> str:
    """One statement for all jobs on standard input: a name that is taken, or a file that is missing, and none is created."""
    priority = int(arguments[arguments.index("--priority") + 1])
    if arguments[arguments.index("--appname") + 1] != "crystal_search":
        return "create_work: app not found"
    assert "--stdin" in arguments
    jobs = [line.split() for line in sys.stdin]
    for option, name, file in jobs:
        assert option == "--wu_name"
        if not (Path("download") / file).exists():
            return f"process_input_template: no file download/{file}\ncreate_work() failed: -1"
        if (Path("jobs") / name).exists():
            return f"wu.insert_batch() failed: 1062\nMySQL error: Duplicate entry '{name}' for key 'name'"
    for _, name, file in jobs:
        (Path("jobs") / name).write_text(json.dumps({"priority": priority, "file": file}))
    return ""


def cancel_jobs(arguments: list[str]) -> str:
    option, name = arguments
    assert option == "--name"
    if not (Path("jobs") / name).exists():
        return f"No workunit named '{name}'"
    (Path("jobs") / name).unlink()
    (Path("cancelled")).mkdir(exist_ok=True)
    (Path("cancelled") / name).touch()
    return ""


def digest(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def main() -> int:
    tool = Path(sys.argv[0]).name
    assert Path("config.xml").exists(), "run it in the project's directory"
    with open("lock", "a") as lock:  # noqa: PTH123 - the database keeps two calls apart
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open("calls", "a") as calls:  # noqa: PTH123
            calls.write(f"{' '.join([tool, *sys.argv[1:]])}\n")
        switch = Path("fail") / tool
        if switch.exists():
            complaint = switch.read_text()
        else:
            complaint = {"stage_file": stage_file, "create_work": create_work, "cancel_jobs": cancel_jobs}[tool](sys.argv[1:])
    print(complaint, end="", file=sys.stdout if tool == "stage_file" else sys.stderr)
    killer = Path("fail") / f"kill_caller_of_{tool}"
    if killer.exists():
        killer.unlink()
        os.kill(os.getppid(), signal.SIGKILL)
    return 1 if complaint else 0


if __name__ == "__main__":
    sys.exit(main())
