"""PostgreSQL in a folder of its own, as the stand-in for what H2 has not: grants, LOCK TABLE, views with a check, sessions at once.

Its statements are in its own dialect (``tests/data/postgresql``), guard for guard those of Oracle; a test compares them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from killable_postgres import KillablePostgres

from crystal_search.errors import SettingsError
from crystal_search.xtaltrak import Params, Row, XtalTrak
from crystal_search.xtaltrak.names import DEFAULT_NAMES

SQL = Path(__file__).parent / "data" / "postgresql"
_BIND = re.compile(r"(?<!:):([a-z][a-z0-9_]*)")

#: What asks for tables that this site did not want.
_OWN_TABLES = ("artscore_rows", "region_rows", "picture_rows")

#: XtalTrak's tables, and what its DBA gives us: SELECT on them, and the view that shows and takes rows of our scorer only.
SCHEMA = """
CREATE TABLE I_INSPECTIONS (INSPECTID BIGINT PRIMARY KEY, BARCODEID TEXT NOT NULL, INSPECTNUMBER INTEGER NOT NULL, INSPECTDATE TIMESTAMP,
    COL INTEGER NOT NULL, I_ROW INTEGER NOT NULL, SUBWELL INTEGER NOT NULL);
CREATE TABLE I_IMAGES (INSPECTID BIGINT NOT NULL REFERENCES I_INSPECTIONS, IMAGENAME TEXT NOT NULL, PRIMARY KEY (INSPECTID, IMAGENAME));
CREATE TABLE I_SCORES (SCOREID BIGINT PRIMARY KEY, INSPECTID BIGINT NOT NULL REFERENCES I_INSPECTIONS, SCORE VARCHAR(2),
    SCOREDATE TIMESTAMP, IMAGENAME TEXT, SCOREDBY VARCHAR(30));
CREATE INDEX ON I_SCORES (INSPECTID);
CREATE INDEX ON I_INSPECTIONS (BARCODEID, COL, I_ROW, SUBWELL);
CREATE SEQUENCE ARTSCORE_SEQ START 1000000001;
CREATE VIEW ARTSCORES_OWN AS SELECT SCOREID, INSPECTID, IMAGENAME, SCORE, SCOREDATE, SCOREDBY FROM I_SCORES
    WHERE SCOREDBY = 'ARTscore' WITH CHECK OPTION;
CREATE ROLE crystal_search LOGIN;
GRANT SELECT ON I_INSPECTIONS, I_IMAGES, I_SCORES TO crystal_search;
GRANT SELECT, INSERT, UPDATE, DELETE ON ARTSCORES_OWN TO crystal_search;
GRANT USAGE ON ARTSCORE_SEQ TO crystal_search;
"""


class Postgres(KillablePostgres):
    """A server with XtalTrak's tables, and two accounts: ``dba`` and ours."""

    def __init__(self) -> None:
        super().__init__("track_commit_timestamp=on", "max_connections=20")
        with self.connect("dba") as connection:
            connection.execute(SCHEMA)  # type: ignore[call-overload]

    def connect(self, user: str) -> psycopg.Connection[Any]:
        """Binds are sent as literals, so that a bind may stand in columns of different types."""
        return psycopg.connect(host=str(self.folder), dbname="postgres", user=user, cursor_factory=psycopg.ClientCursor)


class PostgresXtalTrak(XtalTrak):
    """XtalTrak in PostgreSQL under our own account, to be used wherever an ``XtalTrak`` is."""

    dialect = "postgresql"

    def __init__(self, server: Postgres, without_lock: bool = False) -> None:
        super().__init__(DEFAULT_NAMES, "ARTscore")
        self._connection = server.connect("crystal_search")
        self._without_lock = without_lock
        self._in_transaction = False

    def execute(self, name: str, params: Params | None = None) -> int:
        if not self._in_transaction:
            with self.transaction():
                return self.execute(name, params)
        return self._connection.execute(self._sql(name), dict(params or {})).rowcount

    def executemany(self, name: str, rows: Iterable[Params]) -> int:
        if not self._in_transaction:
            with self.transaction():
                return self.executemany(name, rows)
        with self._connection.cursor() as cursor:
            cursor.executemany(self._sql(name), [dict(row) for row in rows])
            return cursor.rowcount

    def query(self, name: str, params: Params | None = None) -> list[Row]:
        if name in _OWN_TABLES:
            raise SettingsError("PostgreSQL: a table or view is not there")
        rows = self._connection.execute(self._sql(name), dict(params or {})).fetchall()
        if not self._in_transaction:
            self._connection.commit()
        return rows

    def guard_own_rows(self) -> None:
        """The schema has the view."""

    def make_own_tables(self) -> None:
        """Not tried here."""

    def guard_people_rows(self) -> None:
        """Likewise."""

    def forbid_writes(self) -> None:
        """Likewise."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._in_transaction = True
        try:
            with self._connection.transaction():
                yield
        finally:
            self._in_transaction = False

    @property
    def version(self) -> str:
        return "PostgreSQL"

    def close(self) -> None:
        self._connection.close()

    def _sql(self, name: str) -> Any:
        if name == "score_lock" and self._without_lock:
            return "SELECT 1"
        text = re.sub(r"\{([^{}]*)\}", lambda match: self._names[match[1]], (SQL / f"{name}.sql").read_text())
        text = re.sub(r"^--.*\n", "", text, flags=re.MULTILINE)
        return _BIND.sub(r"%(\1)s", text.replace("%", "%%"))
