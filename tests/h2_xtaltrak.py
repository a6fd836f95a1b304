"""H2 in Oracle mode behind XtalTrak's interface: Oracle's statement files as they are, on an engine that fits in a test.

H2 runs in a Java machine inside this process, through JPype (Debian: libh2-java, default-jre-headless). The files run unchanged,
but ``:name`` becomes ``?1``, since JDBC counts its binds. H2 is not Oracle:

- Views can not be written in H2, so ``ARTSCORES_OWN`` and ``PEOPLE_SCORES`` are mapped to the score table itself: the wall of rule 2 is
  not there, only the statements' own guards are.
- ``LOCK TABLE`` does not exist. ``score_lock`` takes the one row of ``H2_SCORE_LOCK`` instead; whoever plays a person has to take it
  as well (``H2Lab.person_lock``), as Oracle's row locks meet its table lock.
- What H2 can not run at all stands in ``NOT_ON_H2``, each with its reason.
"""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import jpype

from crystal_search.errors import CrystalSearchError, SettingsError, TryAgainLater
from crystal_search.xtaltrak import Params
from crystal_search.xtaltrak.names import DEFAULT_NAMES, resolve_names, statement
from crystal_search.xtaltrak.oracle import OracleXtalTrak

JAR = Path("/usr/share/java/h2.jar")
DATA = Path(__file__).parent / "data"

#: Oracle's statement files that H2 can not run, and why. The lint parses them, the acceptance kit runs them.
NOT_ON_H2 = {
    "score_lock": "H2 has no LOCK TABLE",
    "session": "H2 has no ALTER SESSION",
    "create_artscores_own": "H2 has no WITH CHECK OPTION",
    "create_people_scores": "likewise",
}
#: Those that make our own tables, in order; every lab has run them.
OWN_TABLES = ("create_artscores", "create_artscores_index", "create_artscore_regions", "create_artscore_pictures", "create_artscores_both")

_numbers = count()
_BIND = re.compile(r":([a-z][a-z0-9_]*)")


@cache
def _java() -> Any:
    """The Java machine, started once for all tests of a process; returns H2's driver."""
    if not JAR.exists():
        raise RuntimeError("H2 is missing: apt-get install libh2-java default-jre-headless")
    try:
        # -Xrs leaves signals to Python
        jpype.startJVM("-Xrs", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", classpath=[str(JAR)], interrupt=False)
    except jpype.JVMNotFoundException as error:
        raise RuntimeError("Java is missing: apt-get install libh2-java default-jre-headless") from error
    # JPype has Java collect its garbage after Python's. A forked child has Java's memory but not its threads, and would wait for ever.
    os.register_at_fork(after_in_child=gc.callbacks.clear)
    return jpype.JClass("org.h2.Driver")()


class H2Error(Exception):
    """What H2 says, with its number."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message.partition("; SQL statement")[0])
        self.number = number


class H2Cursor:
    """As much of the Python database API as our Oracle code uses, on a JDBC connection."""

    arraysize = 1

    def __init__(self, connection: H2Connection) -> None:
        self._connection = connection
        self._rows: list[tuple[Any, ...]] = []
        self.rowcount = -1

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> H2Cursor:
        self._rows = []
        try:
            prepared, names = self._connection.prepare(sql)
            _bind(prepared, names, params or {})
            if prepared.execute():
                self._rows = _rows(prepared.getResultSet())
                self.rowcount = len(self._rows)
            else:
                self.rowcount = int(prepared.getUpdateCount())
        except jpype.JException as error:
            raise _error(error) from None
        return self

    def executemany(self, sql: str, rows: Iterable[Mapping[str, Any]]) -> H2Cursor:
        changed = 0
        for row in rows:
            self.execute(sql, row)
            changed += self.rowcount
        self.rowcount = changed
        return self

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows, self._rows = self._rows, []
        return rows

    def close(self) -> None:
        self._rows = []


class H2Connection:
    """A JDBC connection, its statements prepared once. Transactions begin by themselves, as Oracle's do."""

    def __init__(self, url: str, user: str = "CRYSTAL_SEARCH", password: str = "") -> None:
        driver = _java()
        who = jpype.JClass("java.util.Properties")()
        who.setProperty("user", user)
        who.setProperty("password", password)
        self._java = driver.connect(url, who)
        self._java.setAutoCommit(False)
        self._prepared: dict[str, tuple[Any, list[str]]] = {}

    def prepare(self, sql: str) -> tuple[Any, list[str]]:
        if sql not in self._prepared:
            names = list(dict.fromkeys(_BIND.findall(sql)))
            text = _BIND.sub(lambda match: f"?{names.index(match[1]) + 1}", sql)
            self._prepared[sql] = (self._java.prepareStatement(text), names)
        return self._prepared[sql]

    def cursor(self) -> H2Cursor:
        return H2Cursor(self)

    def execute(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement, for tests."""
        return self.cursor().execute(sql, params).fetchall()

    def commit(self) -> None:
        self._java.commit()

    def rollback(self) -> None:
        self._java.rollback()

    def invalidate(self) -> None:
        pass

    def close(self) -> None:
        if not self._java.isClosed():
            self._java.rollback()
            self._java.close()


class H2XtalTrak(OracleXtalTrak):
    """XtalTrak in H2, to be used wherever an ``XtalTrak`` is."""

    def __init__(self, connection: H2Connection, names: Mapping[str, str], scorer: str = "ARTscore") -> None:
        super().__init__(connection, names, scorer, version="H2 2.1 in Oracle mode", errors=(H2Error,), explain=_explain)

    def execute(self, name: str, params: Params | None = None) -> int:
        if name == "score_lock":
            with self._explained(name):
                _take_score_lock(self._connection)
            return 0
        return super().execute(name, params)


class H2Lab:
    """A database in memory with XtalTrak's tables, gone when it is closed.

    ``lock_seconds``: how long a lock is waited for. ``dictionary``: with as much of Oracle's dictionary as ``doctor`` asks for,
    made by hand (``data/oracle_dictionary.sql``).
    """

    def __init__(self, lock_seconds: float = 30.0, dictionary: bool = False) -> None:
        self._url = f"jdbc:h2:mem:lab{next(_numbers)};MODE=Oracle;DB_CLOSE_DELAY=-1;LOCK_TIMEOUT={int(lock_seconds * 1000)}"
        self._keeper = self.connect()
        names = {**DEFAULT_NAMES, "SCORER": "'ARTscore'"}
        own = [re.sub(r"^--.*\n", "", statement("oracle", name, names)) for name in OWN_TABLES]
        known = statements_of(DATA / "oracle_dictionary.sql") if dictionary else []
        for sql in (*statements_of(DATA / "oracle_schema.sql"), *own, *known):
            self._keeper.execute(sql)
        self._keeper.execute("CREATE TABLE H2_SCORE_LOCK (ONE_ROW NUMBER(1) PRIMARY KEY)")
        self._keeper.execute("INSERT INTO H2_SCORE_LOCK VALUES (1)")
        self._keeper.commit()

    def connect(self, user: str = "CRYSTAL_SEARCH", password: str = "") -> H2Connection:
        """A connection of somebody who is not us. CRYSTAL_SEARCH is the DBA; others are made with ``execute("CREATE USER ...")``."""
        url = self._url if user == "CRYSTAL_SEARCH" else self._url.partition(";")[0]  # only the DBA may set how the database is
        return H2Connection(url, user, password)

    def xtaltrak(self, scorer: str = "ARTscore", names: Mapping[str, str] | None = None) -> H2XtalTrak:
        """A connection of ours."""
        return H2XtalTrak(
            self.connect(), resolve_names({"ARTSCORES_OWN": "I_SCORES", "PEOPLE_SCORES": "I_SCORES", **(names or {})}), scorer
        )

    def execute(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """A statement and its commit, as somebody who is not us; binds are ``:name``."""
        rows = self._keeper.execute(sql, **params)
        self._keeper.commit()
        return rows

    def person_lock(self, connection: H2Connection) -> None:
        """What a person's program has to take before it writes scores; held until it commits."""
        _take_score_lock(connection)

    def clear(self) -> None:
        """An empty lab again, quicker than another one."""
        for table in ("I_SCORES", "I_IMAGES", "I_INSPECTIONS", "I_PLATE_INSPECTIONS", "PLATE_DROPS", "SAMPLES", "PLATES", "PROJECTS"):
            self._keeper.execute(f"DELETE FROM {table}")
        for table in ("ARTSCORES", "ARTSCORE_REGIONS", "ARTSCORE_PICTURES"):
            self._keeper.execute(f"DELETE FROM {table}")
        self._keeper.execute("ALTER SEQUENCE ARTSCORE_SEQ RESTART WITH 1000000001")
        self._keeper.commit()

    def close(self) -> None:
        with suppress(H2Error):  # it says that it is closed
            self._keeper.execute("SHUTDOWN IMMEDIATELY")


def statements_of(path: Path) -> list[str]:
    """The statements of a file, between semicolons, without comments."""
    text = re.sub(r"^\s*--.*\n?", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [part.strip() for part in text.split(";") if part.strip()]


def _take_score_lock(connection: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT ONE_ROW FROM H2_SCORE_LOCK WHERE ONE_ROW = 1 FOR UPDATE", {})
    cursor.fetchall()


def _bind(prepared: Any, names: list[str], params: Mapping[str, Any]) -> None:
    for number, name in enumerate(names, start=1):
        value = params[name]
        if isinstance(value, bool | int):
            value = jpype.JLong(int(value))
        elif isinstance(value, bytes):
            value = jpype.JArray(jpype.JByte)(value)
        prepared.setObject(number, value)


def _rows(found: Any) -> list[tuple[Any, ...]]:
    columns = range(1, int(found.getMetaData().getColumnCount()) + 1)
    rows = []
    while found.next():
        rows.append(tuple(_value(found.getObject(column)) for column in columns))
    return rows


def _value(value: Any) -> Any:
    """A Java value as python-oracledb would give it."""
    kind = type(value).__name__
    if value is None:
        return None
    if kind == "java.lang.String" or isinstance(value, str):
        return str(value)
    if kind == "java.math.BigDecimal":
        return int(str(value)) if value.scale() <= 0 else float(str(value))
    if kind == "java.sql.Timestamp":
        return datetime.fromisoformat(str(value.toString()))
    if kind in ("java.lang.Long", "java.lang.Integer", "java.lang.Short"):
        return int(value)
    if kind == "org.h2.jdbc.JdbcClob":
        return str(value.getSubString(1, int(value.length())))
    if kind == "org.h2.jdbc.JdbcBlob":
        return bytes(value.getBytes(1, int(value.length())))
    if kind == "java.lang.Double":
        return float(value)
    raise TypeError(f"H2 gave a {kind}")


def _error(error: Any) -> H2Error:
    return H2Error(str(error.getMessage()), int(error.getErrorCode()))


def _explain(error: Exception, doing: str) -> CrystalSearchError:
    assert isinstance(error, H2Error)
    if error.number in (42102, 42104, 42122):  # no such table or column
        return SettingsError(f"H2, {doing}: {error}")
    if error.number in (50200, 40001):  # waited too long for a lock; a deadlock
        return TryAgainLater(f"H2, {doing}: another program holds it locked; try again later")
    return CrystalSearchError(f"H2, {doing}: {error}")
