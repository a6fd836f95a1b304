"""A stock BOINC project that runs for real, and our services around it; for test_boinc_real.py and load_boinc_server.py.

The project was made by BOINC's ``make_project``; its database and its web server run, and whoever calls this owns it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from hashlib import md5
from pathlib import Path
from xml.etree import ElementTree

import pytest
from scored_lab import image_name
from sqlalchemy import select
from volunteer import Volunteer, free_port

from crystal_search.ledger import open_existing_ledger
from crystal_search.ledger.schema import work_units
from crystal_search.settings import load_settings

ROOT = Path(__file__).resolve().parent.parent
CRYSTAL_SEARCH = (sys.executable, "-m", "crystal_search")
VARIABLE = "CRYSTAL_SEARCH_BOINC_PROJECT"
WRAPPER = "CRYSTAL_SEARCH_BOINC_WRAPPER"
SECONDS = 300.0
IMAGES = sorted(path for path in (ROOT / "demo" / "images").glob("*_*.jp*g") if path.stat().st_size < 200_000)

IMAGES_A_UNIT = 3

_SQL = """
chdir("html/ops");
require_once("../inc/boinc_db.inc");
$found = BoincDb::get()->do_query($argv[1]);
$rows = array();
while ($found instanceof mysqli_result && $row = $found->fetch_row()) $rows[] = $row;
echo json_encode($rows, JSON_INVALID_UTF8_SUBSTITUTE);
"""


def wait_for(what: str, is_so: Callable[[], object], told: Callable[[], object] = str, seconds: float = SECONDS) -> None:
    """Poll until something is so; ``told`` explains a failure."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s\n{told()}"
        time.sleep(0.2)


def promise(document: str) -> tuple[str, int, str]:
    """File name, most bytes and signature in what BOINC's server gives a client of one task."""
    (name,) = re.findall(r"<name>(wu_\S+_r\d+_0)</name>", document)
    (limit,) = re.findall(r"<max_nbytes>\s*([^<\s]+)\s*</max_nbytes>", document)
    (signature,) = re.findall(r"<xml_signature>\s*(.*?)\s*</xml_signature>", document, re.DOTALL)
    return name, int(float(limit)), signature


class RealBoinc:
    """The project in ``path``. Everything runs in its folder, as its own programs do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        config = ElementTree.parse(path / "config.xml").getroot()
        self.url = str(config.findtext("config/master_url")).strip()
        self.upload_url = str(config.findtext("config/upload_url")).strip()
        self.host = str(config.findtext("config/host")).strip()

    def run(self, *command: str | Path, check: bool = True) -> str:
        done = subprocess.run(command, cwd=self.path, capture_output=True, text=True, errors="replace", check=False)
        said = done.stdout + done.stderr
        assert not check or done.returncode == 0, f"{command[0]} ended with {done.returncode}: {said}"
        return said

    def sql(self, statement: str) -> list[list[str]]:
        """The rows of a statement, through BOINC's own access to its database."""
        done = subprocess.run(["php", "-r", _SQL, "--", statement], cwd=self.path, capture_output=True, text=True, check=True)
        rows: list[list[str]] = json.loads(done.stdout)
        return rows

    def restart(self) -> None:
        self.run("bin/stop")
        self.run("bin/start")

    def version(self) -> str:
        """BOINC's own word for the version of the server."""
        found = re.search(r"array\(([\d, ]+)\)", (self.path / "html/inc/server_version.inc").read_text())
        return found[1].replace(", ", ".") if found else "unknown"

    def account(self, name: str) -> str:
        """The key of an account, which is made if the project takes new ones."""
        address, secret = f"{name}@lab.example", md5(f"{name}@lab.example".encode(), usedforsecurity=False).hexdigest()
        answer = self.get(f"create_account.php?email_addr={address}&passwd_hash={secret}&user_name={name}")
        found = re.search(r"<authenticator>(\w+)</authenticator>", answer)
        assert found, answer
        return found[1]

    def get(self, page: str) -> str:
        with urllib.request.urlopen(self.url + page, timeout=60) as answer:
            return bytes(answer.read()).decode(errors="replace")

    def log(self, daemon: str) -> str:
        path = self.path / f"log_{self.host}" / f"{daemon}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def results(self, names: str) -> list[list[str]]:
        """Name, state, outcome, validity, computer and exit code of each task of the work units with names ``LIKE``."""
        columns = "r.name, r.server_state, r.outcome, r.validate_state, r.hostid, r.exit_status"
        return self.sql(f"SELECT {columns} FROM result r JOIN workunit w ON r.workunitid = w.id WHERE w.name LIKE '{names}' ORDER BY r.id")

    def files(self, folder: str) -> list[str]:
        """What is left of tasks in ``upload`` or of work units in ``download``."""
        return sorted(path.name for path in (self.path / folder).rglob("wu_*"))

    def forget(self) -> None:
        """Leave nothing of what an earlier run had out."""
        self.sql("UPDATE app SET target_nresults = 0 WHERE name = 'crystal_search'")
        self.sql("UPDATE result SET server_state = 5, outcome = 5 WHERE server_state <> 5")
        self.sql("UPDATE workunit SET error_mask = 16, assimilate_state = 2, transition_time = 2147483647")
        for folder in ("upload", "download"):
            for path in (self.path / folder).rglob("wu_*"):
                path.unlink()

    def promised(self, work_unit: str) -> tuple[str, int, str]:
        """Of a work unit's first task: the name of its file, the most bytes, and BOINC's signature of both."""
        tasks = f"result r JOIN workunit w ON r.workunitid = w.id WHERE w.name = '{work_unit}'"
        wait_for("BOINC has made a task", lambda: self.sql(f"SELECT 1 FROM {tasks}"))
        return promise(self.sql(f"SELECT r.xml_doc_in FROM {tasks} ORDER BY r.id LIMIT 1")[0][0])

    def upload(self, name: str, limit: int, signature: str, body: bytes, size: int | None = None) -> str:
        """What the upload handler says, in one line, to a file that is sent as BOINC's client sends it."""
        head = (
            "<data_server_request>\n<core_client_major_version>7</core_client_major_version>\n<file_upload>\n<file_info>\n"
            f"<name>{name}</name>\n<max_nbytes>{limit}</max_nbytes>\n<xml_signature>\n{signature}\n</xml_signature>\n</file_info>\n"
            f"<nbytes>{len(body) if size is None else size}</nbytes>\n<offset>0</offset>\n<data>\n"
        )
        request = urllib.request.Request(self.upload_url, head.encode() + body, {"Content-Type": "application/octet-stream"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return " ".join(answer.read().decode().split())

    def expire(self, names: Sequence[str]) -> None:
        """The deadline of whatever is out of these work units has passed."""
        listed = ", ".join(f"'{name}'" for name in names)
        ours = f"workunitid IN (SELECT id FROM workunit WHERE name IN ({listed}))"
        self.sql(f"UPDATE result SET report_deadline = 1 WHERE server_state = 4 AND {ours}")
        self.look_again(names)

    def look_again(self, names: Sequence[str]) -> None:
        """BOINC looks at these work units now and not at the time that it has set itself."""
        self.sql("UPDATE workunit SET transition_time = 0 WHERE name IN ({})".format(", ".join(f"'{name}'" for name in names)))

    def wait_until_deleted(self) -> None:
        """Until BOINC's file deleter has left nothing of tasks and work units."""
        wait_for("BOINC has deleted the files", lambda: self.files("upload") + self.files("download") == [], lambda: self.files(""))

    def newest_version(self) -> int:
        """The highest version of our application that the project has or had, as BOINC counts: 1.07 is 107."""
        (row,) = self.sql(
            "SELECT COALESCE(MAX(v.version_num), 0) FROM app_version v JOIN app a ON v.appid = a.id WHERE a.name = 'crystal_search'"
        )
        return int(row[0])


class RealLab:
    """Our services around the project, each a process as an admin has it, and the volunteers."""

    def __init__(self, folder: Path, boinc: RealBoinc) -> None:
        self.folder = folder
        self.boinc = boinc
        self.validator_port = free_port()
        self.inbox = folder / "inbox"
        self.settings_file = folder / "crystal-search.toml"
        self.volunteers: list[Volunteer] = []
        self._services: dict[str, subprocess.Popen[bytes]] = {}
        self._barcodes = 0
        self._known: set[str] = set()
        self.before: dict[str, bytes] = {}  # the project's files before our installation
        self.images: dict[str, str] = {}  # the files of demo/images by their CrystalTrak names
        (folder / "images").mkdir()
        self.settings_file.write_text(
            "[scoring]\nthreshold = 0.2\n"
            '[[search]]\nname = "at once"\nbarcode = "RT*"\npriority = "realtime"\n[[search]]\nname = "archive"\nbarcode = "AR*"\n'
            f"[generator]\nimages_per_work_unit = {IMAGES_A_UNIT}\npoll_seconds = 1\n"
            f'[grid]\nkind = "boinc"\n[boinc]\nproject = "{boinc.path}"\ninbox = "{self.inbox}"\nurl = "{boinc.url}"\n'
        )

    # ---- our commands ----------------------------------------------------------------------------------------------

    def command(self, *words: str | Path, check: bool = True) -> str:
        """Run a command of ours with the lab's settings; what it says on both outputs."""
        call = [*CRYSTAL_SEARCH, *map(str, words), "--settings", str(self.settings_file)]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert not check or done.returncode == 0, f"{words} ended with {done.returncode}: {said}"
        return said

    def install(self, *options: str) -> str:
        """``server install``; the daemons are started anew."""
        address = f"http://127.0.0.1:{self.validator_port}"
        call = [*CRYSTAL_SEARCH, "server", "install", str(self.boinc.path)]
        more = [] if "--remove" in options else ["--validator", address, "--inbox", str(self.inbox), "--seconds-per-image", "1"]
        return subprocess.run([*call, *more, *options], capture_output=True, text=True, check=True).stdout

    def start(self, service: str, *options: str) -> None:
        with (self.folder / f"{service}.log").open("ab") as log:
            call = [*CRYSTAL_SEARCH, service, "--settings", str(self.settings_file), *options]
            self._services[service] = subprocess.Popen(call, stdout=log, stderr=log)

    def start_validator(self) -> None:
        self.start("validate-service", "--listen", f"127.0.0.1:{self.validator_port}")

    def stop(self, service: str) -> None:
        if process := self._services.pop(service, None):
            process.terminate()
            process.wait(timeout=60)

    def log(self, service: str) -> str:
        return (self.folder / f"{service}.log").read_text(errors="replace")

    def status(self) -> dict[str, object]:
        return dict(json.loads(self.command("status", "--json")))

    def close(self) -> None:
        for volunteer in self.volunteers:
            volunteer.kill()
        for service in list(self._services):
            self.stop(service)
        self.boinc.run("bin/stop", check=False)

    # ---- volunteers ------------------------------------------------------------------------------------------------

    def volunteer(self, name: str, key: str, program: str = "") -> Volunteer:
        """A computer that is attached; with a program of its own if one is given."""
        made = Volunteer(self.folder / name, self.boinc.url, key)
        if program:
            made.bring_program(f"{name}.sh", program)
        self.volunteers.append(made)
        made.start()
        return made

    # ---- work ------------------------------------------------------------------------------------------------------

    def work(self, units: int, kind: str = "AR", images: int = IMAGES_A_UNIT) -> list[str]:
        """The names of new work units of so many real images each, as soon as BOINC has them. ``kind``: AR archive, RT at once."""
        self._barcodes += 1
        barcode = f"{kind}{self._barcodes:06d}"
        new = self.folder / "new" / barcode
        new.mkdir(parents=True)
        for number in range(units * images):
            label = f"{'ABCDEFGH'[number // 12]}{number % 12 + 1:02d}a"
            name = image_name(label, 1, barcode).replace("_HF_", "_RI_")  # a profile without a known scale, as `score` sees them
            shutil.copyfile(IMAGES[number % len(IMAGES)], new / name)
            self.images[name] = IMAGES[number % len(IMAGES)].name
        before = set(self.names())
        self.command("load", new)
        self.command("work-generator", "--once")
        wait_for("BOINC has the work", lambda: len(set(self.names()) - before) == units, lambda: self.log("assimilate"))
        return sorted(set(self.names()) - before)

    def names(self) -> list[str]:
        """Every work unit of this lab that BOINC knows; others are of an earlier lab."""
        ours = {path.stem for path in (self.folder / "crystal-search-state" / "boinc" / "records").glob("*.json")}
        self._known |= ours
        return [name for (name,) in self.boinc.sql("SELECT name FROM workunit") if name in self._known]

    def tasks(self, names: Sequence[str]) -> list[list[str]]:
        return [task for name in names for task in self.boinc.results(name)]

    def states(self, names: Sequence[str]) -> dict[str, str]:
        """The ledger's word for each work unit."""
        with open_existing_ledger(load_settings(self.settings_file).ledger_url) as ledger, ledger.read() as connection:
            found = connection.execute(select(work_units.c.name, work_units.c.state)).all()
        return {name: state for name, state in found if name in names}

    def wait_until(self, names: Sequence[str], state: str, seconds: float = SECONDS) -> None:
        """Until the ledger has each of them in that state; the volunteers are hurried meanwhile."""

        def all_are() -> bool:
            for volunteer in self.volunteers:
                if volunteer.runs():
                    volunteer.hurry()
            time.sleep(2)
            return set(self.states(names).values()) == {state}

        wait_for(f"{len(names)} work units are {state}", all_are, lambda: f"{self.states(names)}\n{self.tasks(names)}", seconds)


def needed(variable: str, what: str) -> Path:
    """The path that a variable names. Fails with one line."""
    value = os.environ.get(variable, "")
    if not value or not Path(value).exists():
        pytest.fail(f"{variable} has to name {what}; it is {value or 'not set'}", pytrace=False)
    return Path(value).resolve()
