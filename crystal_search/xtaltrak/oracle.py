"""XtalTrak in a lab's Oracle schema. The statements also run on 11.2: pages by ROWNUM, never FETCH FIRST."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from crystal_search import settings
from crystal_search.errors import CrystalSearchError, SettingsError
from crystal_search.xtaltrak import Params, Row, XtalTrak
from crystal_search.xtaltrak.names import resolve_names
from crystal_search.xtaltrak.oracle_connection import driver_errors, driver_version, login_of, pool_of
from crystal_search.xtaltrak.oracle_errors import explain_oracle

#: A page has ten thousand rows; the driver's default would ask a hundred times for them.
_ROWS_AT_A_TIME = 1000
_COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)
_BIND = re.compile(r":([a-z][a-z0-9_]*)")  # ours are lower case; a date format's are not


class Cursor(Protocol):
    """What we need of the Python database API's cursor."""

    arraysize: int

    @property
    def rowcount(self) -> int: ...
    def execute(self, sql: str, params: Mapping[str, Any], /) -> object: ...
    def executemany(self, sql: str, rows: list[dict[str, Any]], /) -> object: ...
    def fetchall(self) -> list[Any]: ...
    def close(self) -> object: ...


class Connection(Protocol):
    """What we need of its connection, whose transactions begin by themselves; ``invalidate`` is the pool's: not to be used again."""

    def cursor(self) -> Any: ...
    def commit(self) -> object: ...
    def rollback(self) -> object: ...
    def invalidate(self) -> object: ...
    def close(self) -> object: ...


class OracleXtalTrak(XtalTrak):
    """An open XtalTrak in Oracle. ``explain`` turns the driver's errors (of the classes ``errors``) into ours."""

    dialect = "oracle"

    def __init__(
        self,
        connection: Connection,
        names: Mapping[str, str],
        scorer: str,
        *,
        version: str,
        errors: tuple[type[Exception], ...],
        explain: Callable[[Exception, str], CrystalSearchError],
    ) -> None:
        super().__init__(names, scorer)
        self._connection = connection
        self._version = version
        self._errors = errors
        self._explain = explain
        self._in_transaction = False
        self._reads_only = False

    def execute(self, name: str, params: Params | None = None) -> int:
        if not self._in_transaction:
            with self.transaction():
                return self.execute(name, params)
        with self._cursor(name) as (cursor, sql):
            cursor.execute(sql, _bound(sql, params or {}))
            return max(cursor.rowcount, 0)

    def executemany(self, name: str, rows: Iterable[Params]) -> int:
        if not self._in_transaction:
            with self.transaction():
                return self.executemany(name, rows)
        with self._cursor(name) as (cursor, sql):
            bound = [_bound(sql, row) for row in rows]
            if not bound:
                return 0
            cursor.executemany(sql, bound)
            return max(cursor.rowcount, 0)

    def query(self, name: str, params: Params | None = None) -> list[Row]:
        with self._cursor(name) as (cursor, sql):
            cursor.execute(sql, _bound(sql, params or {}))
            return [tuple(row) for row in cursor.fetchall()]

    def guard_own_rows(self) -> None:
        """Nothing to make: the DBA has made the view, and our account could not. ``doctor`` looks whether it is right."""

    def guard_people_rows(self) -> None:
        """Nothing to make, as above; without the view the first score is refused."""

    def forbid_writes(self) -> None:
        """Refuses here whatever is no SELECT.

        A transaction that is READ ONLY would forbid it too, and show the same moment for as long as the connection is open.
        """
        self._reads_only = True

    def make_own_tables(self) -> None:
        """Nothing to make, as above."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._in_transaction = True
        try:
            yield
            with self._explained("commit"):
                self._connection.commit()
        except BaseException:
            with suppress(*self._errors):  # the connection is lost, and with it what it had not committed
                self._connection.rollback()
            raise
        finally:
            self._in_transaction = False

    @property
    def version(self) -> str:
        return self._version

    def close(self) -> None:
        try:
            self._connection.rollback()
        except self._errors:
            self._connection.invalidate()  # so that nobody gets it again
        self._connection.close()

    def _sql(self, name: str) -> str:
        """Without comments: a bind that they name would be one."""
        return _COMMENT.sub("", super()._sql(name))

    @contextmanager
    def _cursor(self, name: str) -> Iterator[tuple[Cursor, str]]:
        sql = self._sql(name)
        if self._reads_only and not sql.startswith("SELECT"):
            raise CrystalSearchError(f"{name}.sql would write, and this connection only reads")
        with self._explained(f"{name}.sql"):
            cursor = self._connection.cursor()
            cursor.arraysize = _ROWS_AT_A_TIME
            try:
                yield cursor, sql
            finally:
                cursor.close()

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise self._explain(error, doing) from error


def _bound(sql: str, params: Params) -> dict[str, Any]:
    """Those of ``params`` that the statement asks for: Oracle takes no others."""
    return {name: params[name] for name in _BIND.findall(sql)}


def open_oracle(section: settings.XtalTrak, account: settings.Viewer | None = None) -> OracleXtalTrak:
    """A connection of the program's pool of that account. Raises as ``open_xtaltrak`` does."""
    names = resolve_names(section.names)
    login = login_of(section, account)
    connection: Any = pool_of(login).acquire()
    server = connection.driver_connection.version
    if int(server.split(".")[0]) < 11:
        connection.close()
        raise SettingsError(f"{login.what}: Oracle {server} is too old: 11.2 is the first that we can read")
    return OracleXtalTrak(
        connection,
        names,
        section.scorer,
        version=f"Oracle {server}, {driver_version(login.thick)}",
        errors=driver_errors(),
        explain=lambda error, doing: explain_oracle(error, login.what, doing, login.settings),
    )
