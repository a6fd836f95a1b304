"""server/backup.sh and server/restore.sh give back what was there: real files, a real PostgreSQL, no engine.

What stands in for docker runs each command below a folder that has the places of the service ``files``; BOINC's database is a text there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from killable_postgres import KillablePostgres
from test_compose_scripts import SHELL, program

PROJECT = Path(__file__).resolve().parent.parent
WHO = "" if os.geteuid() == 0 else "--user --map-root-user"
IN_ROOT = f'unshare {WHO} --mount sh -c \'mount --bind /usr "$0/usr" && exec chroot "$0" "$@"\' "$ROOT"'
#: ``up`` finds empty folders, so the database is a new one.
DOCKER = f"""
[ "$1" = compose ] || exit 2
shift
case "$*" in
  "exec -T ledger pg_"*) shift 3; tool=$1; shift; exec "$tool" -h "$SOCKET" "$@" ;;
  "exec -T mysql "*) shift 3; exec {IN_ROOT} "$@" ;;
  "run --rm -T --no-deps files "*) shift 5; exec {IN_ROOT} "$@" ;;
  "--profile * down") ;;
  "up --detach --wait --no-deps mysql ledger")
    [ -z "$(ls -A "$ROOT/databases/mysql" "$ROOT/databases/ledger" | grep -v :)" ] || exit 1
    psql -q -h "$SOCKET" -U dba -c 'DROP DATABASE crystal_search' -c 'CREATE DATABASE crystal_search OWNER crystal_search' postgres ;;
  *) echo "unexpected: $*" >&2; exit 2 ;;
esac
"""
FILES = {
    "secrets/mysql/root_password": "before",
    "secrets/signing/code_sign_private": "key",
    "home/boincadm/project/config.xml": "<boinc/>",
    "home/boincadm/project/download/3f/wu_1.zip": "work",
    "srv/crystal-search/results/b/wu_1.zip": "result",
    "srv/crystal-search/work_units/wu_2.zip": "packed",
    "inbox/wu_3.zip": "came back",
}


class Server:
    """A lab's server: a copy of our scripts, and below ``root`` what its volumes hold."""

    def __init__(self, folder: Path, postgres: KillablePostgres) -> None:
        self.folder, self.root, self.postgres = folder, folder / "root", postgres
        (folder / "lab/server").mkdir(parents=True)
        for name in ("backup.sh", "restore.sh"):
            shutil.copy(PROJECT / "server" / name, folder / "lab/server")
        (folder / "lab/.env").write_text("PROJECT=grid\n")
        program(folder / "bin/docker", DOCKER)
        for group in ("boinc", "mysql", "ledger", "xtaltrak", "volunteer", "signing"):
            (self.root / "secrets" / group).mkdir(parents=True)
        for place in ("databases/mysql", "databases/ledger", "home/boincadm/project", "srv/crystal-search/work_units", "inbox", "usr"):
            (self.root / place).mkdir(parents=True)
        for name in ("bin", "lib", "lib64"):
            (self.root / name).symlink_to(f"usr/{name}")
        for name, content in FILES.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(content)
        (self.root / "home/boincadm/project/config.xml").chmod(0o640)
        (self.root / "home/boincadm/project/html").symlink_to("inc")
        if not WHO:
            os.chown(self.root / "inbox/wu_3.zip", 1000, 1000)
        program(self.root / "boinc/mariadb-dump", '[ "$MYSQL_PWD" = before ] && cat /boinc/database')
        program(self.root / "boinc/mariadb", '[ "$MYSQL_PWD" = before ] && cat > /boinc/database')
        (self.root / "boinc/database").write_text("CREATE TABLE workunit;\n")
        (self.root / "run").mkdir()
        (self.root / "run/secrets").symlink_to("/secrets")
        self.sql("CREATE ROLE crystal_search LOGIN", "CREATE DATABASE crystal_search OWNER crystal_search", database="postgres")
        self.sql("CREATE TABLE images (id bigint PRIMARY KEY)", "INSERT INTO images VALUES (1), (2)")

    def sql(self, *statements: str, database: str = "crystal_search") -> None:
        user = "dba" if database == "postgres" else "crystal_search"
        with psycopg.connect(host=str(self.postgres.folder), user=user, dbname=database, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def images(self) -> list[int]:
        with psycopg.connect(host=str(self.postgres.folder), user="crystal_search", dbname="crystal_search") as connection:
            return [row[0] for row in connection.execute("SELECT id FROM images ORDER BY id")]

    def files(self) -> dict[str, tuple[int, int, str]]:
        """Rights, owner and content of everything that is to be kept."""
        found = {}
        for place in ("secrets", "home", "srv", "inbox", "databases"):
            for path in (self.root / place).rglob("*"):
                status = path.lstat()
                content = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
                found[str(path.relative_to(self.root))] = (status.st_mode, status.st_uid, content)
        return found

    def database(self) -> str:
        return (self.root / "boinc/database").read_text()

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        variables = {
            "PATH": f"{self.folder}/bin:{self.postgres._bin}:/boinc:/usr/sbin:{os.environ['PATH']}",
            "ROOT": str(self.root),
            "SOCKET": str(self.postgres.folder),
            "PROJECT": "grid",
        }
        call = [SHELL, str(self.folder / "lab/server" / script), *arguments]
        return subprocess.run(call, env=variables, cwd=self.folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def server(tmp_path: Path, postgres: KillablePostgres) -> Iterator[Server]:
    made = Server(tmp_path, postgres)
    yield made
    made.sql("DROP DATABASE crystal_search WITH (FORCE)", "DROP ROLE crystal_search", database="postgres")


def test_a_restore_gives_back_what_a_backup_took_and_nothing_else(server: Server) -> None:
    before = server.files()
    taken = server.run("backup.sh", "backups")
    assert taken.returncode == 0, taken.stderr
    backup = taken.stdout.removeprefix("backup: ").strip()
    assert backup.startswith(f"{server.folder}/backups/"), "a relative folder is the caller's, not the repository's"
    assert (Path(backup) / ".env").read_text() == "PROJECT=grid\n"

    (server.root / "srv/crystal-search/results/b/wu_1.zip").unlink()
    (server.root / "srv/crystal-search/results/later.zip").write_text("later")
    (server.root / "secrets/mysql/root_password").write_text("after")
    (server.root / "home/boincadm/project/config.xml").chmod(0o666)
    (server.root / "databases/mysql/ibdata1").write_text("after")
    (server.root / "boinc/database").write_text("after")
    server.sql("DELETE FROM images WHERE id = 1", "INSERT INTO images VALUES (3)", "CREATE TABLE later (id int)")
    changed = server.files()

    shown = server.run("restore.sh", backup)
    assert shown.returncode == 0, shown.stderr
    assert (server.files(), server.database(), server.images()) == (changed, "after", [2, 3]), "nobody said --yes"

    done = server.run("restore.sh", backup, "--yes")
    assert done.returncode == 0, done.stderr
    assert server.files() == before
    assert server.database() == "CREATE TABLE workunit;\n"
    assert server.images() == [1, 2]
    with pytest.raises(psycopg.errors.UndefinedTable):
        server.sql("SELECT * FROM later")
