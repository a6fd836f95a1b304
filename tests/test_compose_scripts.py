"""The shell scripts of docker-compose.yml, with stand-ins for BOINC's programs and for docker."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
SCRIPTS = PROJECT / "server" / "compose"
SHELL = shutil.which("dash") or "sh"
GROUPS = ("boinc", "mysql", "ledger", "xtaltrak", "volunteer", "signing")


def run(
    script: str | Path, *arguments: str, input: str = "", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment}
    return subprocess.run(
        [SHELL, str(SCRIPTS / script), *arguments], env=variables, input=input, text=True, capture_output=True, cwd=cwd, timeout=60
    )


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def test_every_script_is_plain_posix_shell() -> None:
    scripts = [*SCRIPTS.glob("*.sh"), PROJECT / "server/backup.sh", PROJECT / "server/restore.sh"]
    assert len(scripts) == 12
    for script in scripts:
        assert script.read_text().startswith("#!/bin/sh\n")
        assert subprocess.run([SHELL, "-n", str(script)]).returncode == 0, script.name


# ---- init: secrets ---------------------------------------------------------------------------------------------------


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    for group in GROUPS:
        (tmp_path / "secrets" / group).mkdir(parents=True)
    return tmp_path / "secrets"


def content(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_first_start_makes_every_secret_and_the_second_changes_none(secrets: Path) -> None:
    assert run("init.sh", SECRETS_ROOT=str(secrets)).returncode == 0
    made = content(secrets)
    assert set(made) == {
        "boinc/html/ops/.htpasswd",
        "boinc/invite_code",
        "boinc/ops_password",
        "boinc/secrets.env",
        "ledger/password",
        "mysql/root_password",
        "xtaltrak/trial_password",
    }, "a wrong password of a lab's own Oracle would lock its account"
    passwords = [made[name] for name in ("boinc/ops_password", "ledger/password", "mysql/root_password", "xtaltrak/trial_password")]
    assert len(set(passwords)) == 4
    assert all(len(password) == 29 and password.isalnum() and password[0].isalpha() for password in passwords)
    assert run("init.sh", SECRETS_ROOT=str(secrets)).returncode == 0
    assert content(secrets) == made


def test_two_installations_share_no_secret(secrets: Path, tmp_path: Path) -> None:
    run("init.sh", SECRETS_ROOT=str(secrets))
    other = tmp_path / "other"
    for group in GROUPS:
        (other / group).mkdir(parents=True)
    run("init.sh", SECRETS_ROOT=str(other))
    assert not set(content(secrets).values()) & set(content(other).values())


def test_boinc_reads_the_same_password_that_its_database_got(secrets: Path) -> None:
    run("init.sh", SECRETS_ROOT=str(secrets))
    shown = subprocess.run([SHELL, "-c", f'. {secrets}/boinc/secrets.env; printf %s "$DB_PASSWD"'], capture_output=True, text=True)
    assert shown.stdout == (secrets / "mysql/root_password").read_text()


def test_the_operators_page_knows_the_password_as_apache_hashes_it(secrets: Path) -> None:
    run("init.sh", SECRETS_ROOT=str(secrets))
    digest = hashlib.sha1((secrets / "boinc/ops_password").read_bytes()).digest()
    assert (secrets / "boinc/html/ops/.htpasswd").read_text() == f"admin:{{SHA}}{base64.b64encode(digest).decode()}\n"


def test_databases_with_other_users_can_read_their_password(secrets: Path) -> None:
    run("init.sh", SECRETS_ROOT=str(secrets))
    for name in ("mysql/root_password", "ledger/password", "xtaltrak/trial_password"):
        assert stat.S_IMODE((secrets / name).stat().st_mode) == 0o444


def test_a_secret_of_ones_own_is_stored_and_kept(secrets: Path) -> None:
    run("init.sh", SECRETS_ROOT=str(secrets))
    assert run("init.sh", "set", "xtaltrak/oracle_password", input="from the DBA\n", SECRETS_ROOT=str(secrets)).returncode == 0
    run("init.sh", SECRETS_ROOT=str(secrets))
    assert (secrets / "xtaltrak/oracle_password").read_text() == "from the DBA"


@pytest.mark.parametrize(
    ("arguments", "input", "said"),
    [
        (
            ["set", "mysql/root_password"],
            "x",
            "set xtaltrak/oracle_password, xtaltrak/viewer_password or volunteer/account_key, not 'mysql/root_password'",
        ),
        (["set", "../etc/passwd"], "x", "not '../etc/passwd'"),
        (["set", "volunteer/account_key"], "", "standard input is empty, nothing was stored"),
        (["sett"], "", "unknown call 'sett'"),
    ],
)
def test_a_wrong_call_is_one_line(secrets: Path, arguments: list[str], input: str, said: str) -> None:
    done = run("init.sh", *arguments, input=input, SECRETS_ROOT=str(secrets))
    assert done.returncode == 3
    assert done.stderr.startswith("init: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not content(secrets)


def test_a_volume_that_is_not_mounted_is_named(secrets: Path) -> None:
    (secrets / "ledger").rmdir()
    done = run("init.sh", SECRETS_ROOT=str(secrets))
    assert done.returncode == 3
    assert "ledger is missing" in done.stderr


# ---- entry: secrets become settings --------------------------------------------------------------------------------------


def test_a_service_gets_the_ledger_and_the_oracle_password_from_files(tmp_path: Path) -> None:
    program(tmp_path / "bin/crystal-search", 'echo "$CRYSTAL_SEARCH_LEDGER_URL|$CRYSTAL_SEARCH_ORACLE_PASSWORD|$*"')
    for name, value in [("ledger/password", "abc"), ("xtaltrak/oracle_password", "def")]:
        (tmp_path / "secrets" / name).parent.mkdir(parents=True)
        (tmp_path / "secrets" / name).write_text(value)
    done = run("entry.sh", "assimilate", "--once", PATH=f"{tmp_path}/bin:{os.environ['PATH']}", SECRETS=str(tmp_path / "secrets"))
    assert done.stdout == "postgresql://crystal_search:abc@ledger/crystal_search|def|assimilate --once\n"


@pytest.mark.parametrize(("command", "password"), [("serve", "ghi"), ("assimilate", "")])
def test_only_the_viewer_gets_the_password_for_peoples_scores(tmp_path: Path, command: str, password: str) -> None:
    program(tmp_path / "bin/crystal-search", 'echo "$CRYSTAL_SEARCH_VIEWER_PASSWORD|$*"')
    (tmp_path / "secrets/xtaltrak").mkdir(parents=True)
    (tmp_path / "secrets/xtaltrak/viewer_password").write_text("ghi")
    done = run("entry.sh", command, PATH=f"{tmp_path}/bin:{os.environ['PATH']}", SECRETS=str(tmp_path / "secrets"))
    assert done.stdout == f"{password}|{command}\n"


def test_the_projects_installation_gets_the_choices_of_env_and_the_invitation(tmp_path: Path) -> None:
    program(tmp_path / "bin/crystal-search", 'echo "$*"')
    (tmp_path / "secrets/boinc").mkdir(parents=True)
    (tmp_path / "secrets/boinc/invite_code").write_text("abcdef")
    options = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "SECRETS": str(tmp_path / "secrets"), "PROJECT_ROOT": "/p"}
    start = "server install /p --validator http://validator:8470 --inbox /inbox"
    assert (
        run("install.sh", **options).stdout
        == f"{start} --replication 1 --computers many --seconds-per-image 5 --accounts invite --invite-code abcdef\n"
    )
    closed = run("install.sh", ACCOUNTS="closed", REPLICATION="2", SECONDS_PER_IMAGE="3.5", **options)
    assert closed.stdout == f"{start} --replication 2 --computers many --seconds-per-image 3.5 --accounts closed\n"


# ---- makeproject ---------------------------------------------------------------------------------------------------------


class MakeProject:
    """BOINC's makeproject image as far as our script sees it."""

    def __init__(self, root: Path, hosts: str = "none") -> None:
        self.root, self.project, self.made = root, root / "project", root / "project.dst"
        self.secrets, self.signing, self.log = root / "secrets", root / "signing", root / "log"
        for folder in (self.project, self.made, self.secrets, self.signing):
            folder.mkdir(parents=True)
        (self.project / "config.xml").write_text("from the image")
        (self.secrets / "secrets.env").write_text("DB_PASSWD=abc\n")
        program(root / "bin/crypt_prog", 'echo "$1 $2" >> "$LOG"; echo private > "$3"; echo public > "$4"')
        table = "exit 1" if hosts == "none" else f"echo {hosts}"
        program(root / "bin/mysql", f'echo "mysql $*" >> "$LOG"; case "$*" in *COUNT*) {table};; esac')
        program(root / "bin/makeproject-step2.sh", 'echo step2 >> "$LOG"; touch "$PROJECT_ROOT.dst/.built_$PROJECT"')

    def run(self) -> subprocess.CompletedProcess[str]:
        return run("makeproject.sh", PATH=f"{self.root}/bin:{os.environ['PATH']}", HOME=str(self.root), PROJECT="grid", LOG=str(self.log),
                   PROJECT_ROOT=str(self.project), SECRETS=str(self.secrets), SIGNING=str(self.signing))  # fmt: skip

    def logged(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


def test_the_first_start_makes_keys_and_the_project(tmp_path: Path) -> None:
    image = MakeProject(tmp_path)
    assert image.run().returncode == 0
    assert image.logged()[:2] == ["-genkey 1024", "-genkey 1024"]
    assert image.logged()[-1] == "step2"
    assert {path.name for path in (image.secrets / "keys").iterdir()} == {"upload_private", "upload_public", "code_sign_public"}
    assert [path.name for path in image.signing.iterdir()] == ["code_sign_private"]
    assert "password=abc" in (tmp_path / ".my.cnf").read_text()
    assert stat.S_IMODE((tmp_path / ".my.cnf").stat().st_mode) == 0o600


def test_a_second_start_does_nothing(tmp_path: Path) -> None:
    image = MakeProject(tmp_path)
    image.run()
    image.log.unlink()
    done = image.run()
    assert (done.returncode, image.logged()) == (0, [])
    assert "grid is there already" in done.stdout


def test_a_second_start_keeps_keys_when_the_first_was_killed(tmp_path: Path) -> None:
    image = MakeProject(tmp_path)
    program(tmp_path / "bin/makeproject-step2.sh", "exit 1")
    assert image.run().returncode == 1
    (image.secrets / "keys/upload_public").write_text("the same as before")
    program(tmp_path / "bin/makeproject-step2.sh", 'echo step2 >> "$LOG"')
    assert image.run().returncode == 0
    assert (image.secrets / "keys/upload_public").read_text() == "the same as before"


def test_a_container_that_was_killed_after_it_moved_its_own_copy_starts_again(tmp_path: Path) -> None:
    image = MakeProject(tmp_path)
    image.project.rename(tmp_path / "project.orig")
    image.project.symlink_to(image.made)
    assert image.run().returncode == 0
    assert not image.project.is_symlink()
    assert (image.project / "config.xml").read_text() == "from the image"


def test_half_a_database_of_a_killed_first_start_is_dropped(tmp_path: Path) -> None:
    image = MakeProject(tmp_path, hosts="0")
    assert image.run().returncode == 0
    assert "mysql -e DROP DATABASE IF EXISTS grid" in image.logged()


def test_a_database_in_use_is_never_dropped(tmp_path: Path) -> None:
    image = MakeProject(tmp_path, hosts="12")
    done = image.run()
    assert done.returncode == 1
    assert done.stderr.startswith("makeproject: the database knows 12 computers, but the volume 'project' is empty: restore it")
    assert not any("DROP" in line or line == "step2" for line in image.logged())


# ---- BOINC's tools for our services ----------------------------------------------------------------------------------------


class Tools:
    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        self.requests = self.project / "crystal_search_requests"
        program(self.project / "bin/create_work", 'for a; do echo "[$a]"; done; cat; echo warned >&2; exit "${CODE:-0}"')
        self.server: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        variables = {"PATH": os.environ["PATH"], "PROJECT_ROOT": str(self.project), **environment}
        self.server = subprocess.Popen([SHELL, str(SCRIPTS / "boinc_tools.sh")], env=variables)
        while not self.requests.is_dir():
            time.sleep(0.01)

    def stop(self) -> None:
        if self.server:
            self.server.kill()
            self.server.wait()
            self.server = None

    def call(self, *arguments: str, input: str = "", patience: int = 60) -> subprocess.CompletedProcess[str]:
        return run(
            "in_boinc.sh", *arguments, input=input, CRYSTAL_SEARCH_REQUESTS=str(self.requests), CRYSTAL_SEARCH_TOOL_SECONDS=str(patience)
        )


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    made = Tools(tmp_path)
    yield made
    made.stop()


def test_a_tool_gets_its_arguments_and_input_and_gives_all_back(tools: Tools) -> None:
    tools.start(CODE="7")
    done = tools.call("bin/create_work", "--appname", "a b", "$HOME;*'\"", "", "two\nlines\n\n", input="line 1\nline 2")
    assert done.stdout == "[--appname]\n[a b]\n[$HOME;*'\"]\n[]\n[two\nlines\n\n]\nline 1\nline 2"
    assert done.stderr == "warned\n"
    assert done.returncode == 7
    assert list(tools.requests.iterdir()) == []


def test_commands_run_in_the_projects_directory(tools: Tools) -> None:
    tools.start()
    assert tools.call("sh", "-c", "cat; pwd", input="token\n").stdout == f"token\n{tools.project}\n"


def test_a_command_that_there_is_not_is_told_and_the_next_one_runs(tools: Tools) -> None:
    tools.start()
    assert tools.call("bin/nothing").returncode == 127
    assert tools.call("bin/create_work").returncode == 0


def test_a_request_that_nobody_takes_is_taken_back(tools: Tools) -> None:
    assert tools.call("bin/create_work").returncode == 4  # not even a folder
    tools.requests.mkdir()
    done = tools.call("bin/create_work", patience=1)
    assert done.returncode == 4
    assert "nobody took the request within 1 s" in done.stderr
    assert list(tools.requests.iterdir()) == []


def test_a_request_waits_for_the_container_to_come_back(tools: Tools) -> None:
    tools.requests.mkdir(parents=True)
    variables = {"PATH": os.environ["PATH"], "CRYSTAL_SEARCH_REQUESTS": str(tools.requests)}
    caller = subprocess.Popen([SHELL, str(SCRIPTS / "in_boinc.sh"), "bin/create_work"], env=variables, stdin=subprocess.DEVNULL)
    while not list(tools.requests.glob("*.request")):
        time.sleep(0.01)
    tools.start()
    assert caller.wait(timeout=120) == 0


def test_what_was_killed_in_the_middle_is_told_as_such(tools: Tools) -> None:
    program(tools.project / "bin/create_work", "kill -9 $PPID; sleep 5")
    tools.start()
    variables = {"PATH": os.environ["PATH"], "CRYSTAL_SEARCH_REQUESTS": str(tools.requests)}
    caller = subprocess.Popen(
        [SHELL, str(SCRIPTS / "in_boinc.sh"), "bin/create_work"], env=variables, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert tools.server is not None
    tools.server.wait(timeout=120)
    tools.start()
    _, errors = caller.communicate(timeout=120)
    assert caller.returncode == 4
    assert b"boinc_tools: stopped in the middle" in errors


def test_eight_callers_at_once_get_their_own_answers(tools: Tools) -> None:
    tools.start()
    variables = {"PATH": os.environ["PATH"], "CRYSTAL_SEARCH_REQUESTS": str(tools.requests)}
    callers = [
        subprocess.Popen([SHELL, str(SCRIPTS / "in_boinc.sh"), "bin/create_work", str(n)], env=variables, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for n in range(8)
    ]  # fmt: skip
    assert [caller.communicate(timeout=120)[0] for caller in callers] == [f"[{n}]\n".encode() for n in range(8)]


# ---- volunteer -------------------------------------------------------------------------------------------------------------


def test_a_volunteer_is_attached_by_its_key(tmp_path: Path) -> None:
    boinc = program(tmp_path / "boinc", 'echo "$@"')
    (tmp_path / "key").write_text("0123abc")
    options = {"BOINC": str(boinc), "BOINC_DATA": str(tmp_path / "data"), "KEY_FILE": str(tmp_path / "key")}
    done = run("volunteer.sh", MASTER_URL="http://127.0.0.1/grid/", **options)
    assert done.stdout == f"--dir {tmp_path}/data\n"
    account = tmp_path / "data/account_127.0.0.1_grid.xml"
    assert "<master_url>http://127.0.0.1/grid/</master_url>\n<authenticator>0123abc</authenticator>" in account.read_text()
    assert stat.S_IMODE(account.stat().st_mode) == 0o600


def test_a_volunteer_without_a_key_says_how_to_give_it_one(tmp_path: Path) -> None:
    done = run("volunteer.sh", MASTER_URL="http://127.0.0.1/grid/", KEY_FILE=str(tmp_path / "key"))
    assert done.returncode == 3
    assert "init set volunteer/account_key" in done.stderr


# ---- apache ----------------------------------------------------------------------------------------------------------------


def test_apache_starts_boincs_own_command_without_stale_process_numbers(tmp_path: Path) -> None:
    stale = tmp_path / "project/pid_grid/feeder.pid"
    stale.parent.mkdir(parents=True)
    stale.write_text("7")
    program(tmp_path / "bin/su", f'echo "$*" > {tmp_path}/asked; exec sleep 0.1')
    supervisord = program(tmp_path / "supervisord", f"until [ -s {tmp_path}/asked ]; do sleep 0.01; done; echo started; kill 0")
    variables = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "PROJECT_ROOT": str(tmp_path / "project"), "SUPERVISORD": str(supervisord)}
    done = subprocess.run(
        [SHELL, str(SCRIPTS / "apache.sh")], env=variables, capture_output=True, text=True, start_new_session=True, timeout=60
    )
    assert done.stdout == "started\n"
    assert not stale.exists()
    assert (tmp_path / "asked").read_text().startswith("boincadm -s /bin/sh -c exec sh '")


# ---- backup and restore ------------------------------------------------------------------------------------------------------

FAKE_DOCKER = """
echo "$*" >> "$LOG"
case "$*" in
  *"$FAIL_AT"*) [ -z "$FAIL_AT" ] || exit 9 ;;
esac
case "$*" in
  *pg_dump*) printf 'the ledger' ;;
  *mariadb-dump*) printf 'BOINC' ;;
  *"tar --create"*) printf 'the files'; exit "${TAR_CODE:-0}" ;;
  *"tar --extract"*) cat > "$LOG.files" ;;
  *pg_restore*) cat > "$LOG.ledger" ;;
  *"mariadb ||"*) cat > "$LOG.boinc" ;;
esac
"""


class Docker:
    def __init__(self, root: Path) -> None:
        self.root, self.log = root, root / "log"
        program(root / "bin/docker", FAKE_DOCKER)

    def run(self, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = {"PATH": f"{self.root}/bin:{os.environ['PATH']}", "LOG": str(self.log), "FAIL_AT": "", **environment}
        return run(PROJECT / "server" / script, *arguments, cwd=self.root, **variables)

    def steps(self) -> list[str]:
        """The first words of each call that tell what it did."""
        words = ["pg_dump", "mariadb-dump", "tar --create", "down", "tar --extract", "up ", "pg_restore", "mariadb ||"]
        calls = self.log.read_text().split("compose ")[1:] if self.log.exists() else []
        return [next(word for word in words if word in call) for call in calls]


@pytest.fixture
def docker(tmp_path: Path) -> Docker:
    return Docker(tmp_path)


def backed_up(docker: Docker) -> Path:
    done = docker.run("backup.sh", str(docker.root / "backups"))
    assert done.returncode == 0, done.stderr
    docker.log.unlink()
    return Path(done.stdout.removeprefix("backup: ").strip())


def test_a_backup_takes_the_databases_before_the_files_they_speak_of(docker: Docker) -> None:
    done = docker.run("backup.sh", str(docker.root / "backups"))
    assert done.returncode == 0, done.stderr
    assert docker.steps() == ["pg_dump", "mariadb-dump", "tar --create"]
    (folder,) = (docker.root / "backups").iterdir()
    assert done.stdout == f"backup: {folder}\n"
    assert (folder / "ledger.dump").read_text() == "the ledger"
    assert (folder / "files.tar").read_text() == "the files"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())


@pytest.mark.parametrize("step", ["pg_dump", "mariadb-dump", "tar --create"])
def test_a_backup_that_fails_leaves_nothing_that_looks_like_one(docker: Docker, step: str) -> None:
    done = docker.run("backup.sh", str(docker.root / "backups"), FAIL_AT=step)
    assert done.returncode == 1
    assert done.stderr.startswith("backup: ")
    assert list((docker.root / "backups").iterdir()) == []


def test_a_file_that_changes_while_it_is_read_does_not_spoil_a_backup(docker: Docker) -> None:
    assert docker.run("backup.sh", str(docker.root / "backups"), TAR_CODE="1").returncode == 0
    assert docker.run("backup.sh", str(docker.root / "more"), TAR_CODE="2").returncode == 1


def test_a_restore_shows_before_it_does(docker: Docker) -> None:
    backup = backed_up(docker)
    done = docker.run("restore.sh", str(backup))
    assert done.returncode == 0
    assert "is whole. With --yes all services are stopped" in done.stdout
    assert docker.steps() == []


def test_a_restore_puts_each_part_where_it_came_from(docker: Docker) -> None:
    backup = backed_up(docker)
    done = docker.run("restore.sh", str(backup.relative_to(docker.root)), "--yes")
    assert done.returncode == 0, done.stderr
    assert docker.steps() == ["down", "tar --extract", "up ", "pg_restore", "mariadb ||"]
    parts = [(docker.root / f"log.{name}").read_text() for name in ("files", "ledger", "boinc")]
    assert parts == ["the files", "the ledger", "BOINC"]


@pytest.mark.parametrize("name", ["ledger.dump", "boinc.sql", "files.tar"])
def test_a_damaged_backup_is_refused_before_anything_is_touched(docker: Docker, name: str) -> None:
    backup = backed_up(docker)
    (backup / name).write_text("damaged")
    done = docker.run("restore.sh", str(backup), "--yes")
    assert done.returncode == 1
    assert "nothing was changed" in done.stderr
    assert docker.steps() == []


def test_half_a_backup_is_no_backup(docker: Docker) -> None:
    backup = backed_up(docker)
    (backup / "boinc.sql").unlink()
    done = docker.run("restore.sh", str(backup), "--yes")
    assert done.returncode == 2
    assert "boinc.sql is missing" in done.stderr
    assert docker.steps() == []


@pytest.mark.parametrize("step", ["tar --extract", "pg_restore", "mariadb ||"])
def test_an_interrupted_restore_says_so_and_can_be_called_again(docker: Docker, step: str) -> None:
    backup = backed_up(docker)
    failed = docker.run("restore.sh", str(backup), "--yes", FAIL_AT=step)
    assert failed.returncode == 1
    assert failed.stderr.startswith("restore: ")
    assert "call restore again" in failed.stderr
    assert docker.run("restore.sh", str(backup), "--yes").returncode == 0


@pytest.mark.parametrize(
    ("script", "arguments"), [("backup.sh", []), ("backup.sh", ["a", "b"]), ("restore.sh", []), ("restore.sh", ["a", "--no"])]
)
def test_a_wrong_call_of_either_says_how(docker: Docker, script: str, arguments: list[str]) -> None:
    done = docker.run(script, *arguments)
    assert done.returncode == 2
    assert "call it with" in done.stderr
    assert docker.steps() == []
