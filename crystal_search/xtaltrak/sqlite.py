"""The embedded XtalTrak's connection: a SQLite file with XtalTrak's tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from crystal_search import settings
from crystal_search.databases import explain_sqlite, open_sqlite
from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.xtaltrak import Params, Row, XtalTrak
from crystal_search.xtaltrak.names import resolve_names

#: The view through which we write, and its triggers, in this order.
_OWN_VIEW = ("create_artscores_own", "create_artscores_own_insert", "create_artscores_own_update", "create_artscores_own_delete")

#: The view through which the viewer writes under people's names, and its triggers.
_PEOPLE_VIEW = ("create_people_scores", "create_people_scores_insert", "create_people_scores_delete")

#: The tables of our own.
_OWN_TABLES = ("create_artscores", "create_artscores_index", "create_artscore_regions", "create_artscore_pictures")


#: The files that this program has opened: one that vanishes is away, and no mistake in the settings.
_opened: set[Path] = set()


class SqliteXtalTrak(XtalTrak):
    """An open embedded XtalTrak; a writer waits up to 30 s for another one."""

    dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection, what: str, names: Mapping[str, str], scorer: str) -> None:
        super().__init__(names, scorer)
        self._connection = connection
        self._what = what

    def execute(self, name: str, params: Params | None = None) -> int:
        with self._explained():
            return self._connection.execute(self._sql(name), dict(params or {})).rowcount

    def executemany(self, name: str, rows: Iterable[Params]) -> int:
        if not self._connection.in_transaction:
            with self.transaction():
                return self.executemany(name, rows)
        with self._explained():
            return self._connection.executemany(self._sql(name), [dict(row) for row in rows]).rowcount

    def query(self, name: str, params: Params | None = None) -> list[Row]:
        with self._explained():
            return self._connection.execute(self._sql(name), dict(params or {})).fetchall()

    def guard_own_rows(self) -> None:
        self._guard("own_view", "drop_artscores_own", _OWN_VIEW)

    def guard_people_rows(self) -> None:
        self._guard("people_view", "drop_people_scores", _PEOPLE_VIEW)

    def _guard(self, look: str, drop: str, create: tuple[str, ...]) -> None:
        made = {text for (text,) in self.query(look)}
        if made != {(text := self._sql(name))[text.index("CREATE ") :] for name in create}:
            for name in (drop, *create):
                self.execute(name)

    def forbid_writes(self) -> None:
        with self._explained():
            self._connection.execute("PRAGMA query_only = ON")

    def make_own_tables(self) -> None:
        made = {text for (text,) in self.query("own_view_both")}
        if made == {(text := self._sql("create_artscores_both"))[text.index("CREATE ") :]}:
            return
        with self.transaction():
            for name in (*_OWN_TABLES, "drop_artscores_both", "create_artscores_both"):
                self.execute(name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A writing transaction, which takes the write lock at once: committed when the block ends, rolled back when it raises."""
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            with self._explained():
                self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @property
    def version(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}, the embedded XtalTrak"

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if explained := explain_sqlite(error, self._what):
                raise explained from error
            if str(error).startswith(("no such table", "no such column")):
                raise SettingsError(
                    f"{self._what}: {error}: check xtaltrak.database and xtaltrak.names; `crystal-search load FOLDER` makes an embedded one"
                ) from error
            raise


def open_sqlite_file(section: settings.XtalTrak) -> SqliteXtalTrak:
    """Open the embedded XtalTrak of the settings. Raises ``SettingsError`` when there is none, ``TryAgainLater`` when it was there before,
    and as ``connect_sqlite`` does.
    """
    if not section.database.is_file():
        if section.database in _opened:
            raise TryAgainLater(f"XtalTrak {section.database}: is not there any more; is its disk mounted? Try again later")
        raise SettingsError(
            f"xtaltrak.database: {section.database}: no embedded XtalTrak there; `crystal-search load FOLDER` makes one from images"
        )
    found = connect_sqlite(section)
    _opened.add(section.database)
    return found


def connect_sqlite(section: settings.XtalTrak) -> SqliteXtalTrak:
    """A connection to the SQLite file ``section.database``, which is made when it is not there; its tables are not.

    Raises ``SettingsError`` when the mapping of names is wrong, ``TryAgainLater`` when the file can not be opened now.
    """
    names = resolve_names(section.names)
    if schemas := [value for key, value in names.items() if "." not in key and "." in value]:
        raise SettingsError(f"xtaltrak.names: {', '.join(schemas)}: the embedded XtalTrak has no schemas, leave the dot out")
    what = f"XtalTrak {section.database}"
    try:
        connection = open_sqlite(section.database)
    except sqlite3.Error as error:
        raise explain_sqlite(error, what) or error from error
    return SqliteXtalTrak(connection, what, names, section.scorer)
