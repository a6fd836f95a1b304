"""BOINC's own tools in the ``bin/`` of a project: stage an input file, create work, cancel it. They are called, never imported or changed.

What they do, by BOINC's documentation (JobSubmission) and source: all run in the project's directory. ``stage_file`` moves the files of a
folder into the download hierarchy; one that is there already with the same content is fine, with another content it is an error.
``create_work --stdin`` reads a job a line and inserts all in one statement, so one name that is taken refuses the whole call.
``cancel_jobs --name`` knows a job by its name.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crystal_search.atomic import write_atomically
from crystal_search.errors import CrystalSearchError, SettingsError, TryAgainLater

APPLICATION = "crystal_search"
#: In the project's directory, so that a staged file is moved within one file system, which a kill can not leave half done.
STAGING = "crystal_search_staging"
_PROBE = "probe"
#: Tells whether standard input arrives, and whether this is the project's directory and our staging folder in it.
_PROBE_SCRIPT = f"cat; test -f config.xml && test -f {STAGING}/{_PROBE} || echo elsewhere"
_TOKEN = "crystal-search\n"
_SECONDS = 600.0
_REASON_LENGTH = 300
#: Prints what the client wrote to standard error in the newest of a job's results that has anything. BOINC's web pages are made of PHP.
_STDERR_PHP = """
chdir("html/ops");
require_once("../inc/boinc_db.inc");
$job = BoincWorkunit::lookup("name='".$argv[1]."'");
$found = "";
$results = $job ? BoincResult::enum("workunitid=".$job->id." order by id") : array();
foreach ($results as $result) if ($result->stderr_out) $found = $result->stderr_out;
echo $found;
"""
_PHP_SECONDS = 30.0


class ToolFailedError(TryAgainLater):
    """A tool ended with an error; ``output`` is all that it said."""

    def __init__(self, line: str, output: str) -> None:
        super().__init__(line)
        self.output = output

    @property
    def name_taken(self) -> bool:
        """Whether a job of that name is there already."""
        return "Duplicate entry" in self.output  # MySQL's error 1062, which create_work passes on

    @property
    def other_content(self) -> bool:
        """Whether a file of that name, but another content, is in the download hierarchy."""
        return "different contents" in self.output


@dataclass(slots=True)
class BoincTools:
    """The tools of one project. ``command`` goes before each call and has to run it in the project's directory."""

    project: Path
    command: Sequence[str] = ()
    _probed: bool = False

    @property
    def staging(self) -> Path:
        """Where files wait for ``stage``."""
        return self.project / STAGING

    def check(self) -> None:
        """Raise ``SettingsError`` with one line when this is no BOINC project, or one that our application was not installed into."""
        if not (self.project / "config.xml").is_file():
            raise SettingsError(f"boinc.project: {self.project} is no BOINC project: it has no config.xml")
        missing = [name for name in (f"templates/{APPLICATION}_in", f"templates/{APPLICATION}_out") if not (self.project / name).is_file()]
        if missing:
            raise SettingsError(
                f"boinc.project: {self.project / missing[0]} is missing: run `crystal-search server install {self.project}`"
            )

    def stage(self) -> None:
        """Move all files of ``staging`` to where volunteers fetch them. Raises ``ToolFailedError``; what was moved stays moved."""
        self._probe()
        self._tool("stage_file", STAGING)

    def create(self, names: Sequence[str], priority: int) -> None:
        """Create jobs of these names, all or none, each with the staged file ``<name>.zip``. Raises ``ToolFailedError``."""
        self._probe()
        jobs = "".join(f"--wu_name {name} {name}.zip\n" for name in names)
        self._tool("create_work", "--appname", APPLICATION, "--priority", str(priority), "--stdin", stdin=jobs)

    def cancel(self, name: str) -> None:
        """Cancel a job; one that is not there is no error. Raises ``ToolFailedError``."""
        try:
            self._tool("cancel_jobs", "--name", name)
        except ToolFailedError as error:
            if "No workunit named" not in error.output:
                raise

    def last_words(self, name: str) -> str:
        """What the client last said of a job on standard error, in one line, or nothing where that can not be had."""
        return _clients_line(self.php(_STDERR_PHP, name) or "")

    def php(self, script: str, *arguments: str) -> str | None:
        """What a script prints that reads BOINC's database; None where PHP or the database is not to be had."""
        try:
            found = self._run(["php", "-r", script, "--", *arguments], seconds=_PHP_SECONDS)
        except CrystalSearchError:
            return None
        return found.stdout if found.returncode == 0 else None

    def _probe(self) -> None:
        """Once: that ``command`` runs in this project and passes standard input on. Without it ``create_work --stdin`` creates nothing, and
        says that all is well.
        """
        if self._probed:
            return
        write_atomically(self.staging / _PROBE, b"")
        try:
            ended = self._run(["sh", "-c", _PROBE_SCRIPT], stdin=_TOKEN)
        finally:
            (self.staging / _PROBE).unlink(missing_ok=True)
        if ended.returncode != 0:
            raise ToolFailedError(f"BOINC's tools can not be run: {_last_line(ended) or f'exit code {ended.returncode}'}", "")
        if not ended.stdout.startswith(_TOKEN):
            raise SettingsError(f"boinc.command: {' '.join(self.command)!r} does not pass standard input on (docker exec needs -i)")
        if ended.stdout != _TOKEN:
            raise SettingsError(f"boinc.command: {' '.join(self.command)!r} does not run in the project directory {self.project}")
        self._probed = True

    def _tool(self, tool: str, *arguments: str, stdin: str = "") -> None:
        ended = self._run([f"bin/{tool}", *arguments], stdin=stdin)
        if ended.returncode == 0:
            return
        output = f"{ended.stdout}\n{ended.stderr}"
        line = _last_line(ended) or f"exit code {ended.returncode}"
        if "app not found" in output:
            raise SettingsError(
                f"BOINC knows no application {APPLICATION}: run `crystal-search server install {self.project}`, then bin/xadd"
            )
        raise ToolFailedError(f"BOINC's bin/{tool} failed: {line}; nothing was lost, it is tried again", output)

    def _run(self, call: list[str], stdin: str = "", seconds: float = _SECONDS) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [*self.command, *call],
                cwd=self.project,
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ToolFailedError(f"BOINC's {call[0]} did not end within {seconds:.0f} s; it is tried again", "") from error
        except OSError as error:
            key, what = ("boinc.command", self.command[0]) if self.command else ("boinc.project", str(self.project / call[0]))
            raise SettingsError(f"{key}: {what} can not be run ({error.strerror})") from error


def _last_line(ended: subprocess.CompletedProcess[str]) -> str:
    """The last line that says something: of standard error, or else of standard output, where ``stage_file`` complains."""
    for text in (ended.stderr, ended.stdout):
        for line in reversed(text.splitlines()):
            if line.strip():
                return " ".join(line.split())[:_REASON_LENGTH]
    return ""


def _clients_line(stderr_out: str) -> str:
    """Our client's last line in what BOINC keeps of standard error; the wrapper writes there too."""
    text = re.sub(r"</?\w+>|<!\[CDATA\[|\]\]>", "\n", stderr_out)
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("crystal-search-client:")]
    return (ours or lines or [""])[-1][:_REASON_LENGTH]
