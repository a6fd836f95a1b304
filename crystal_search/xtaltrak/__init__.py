"""XtalTrak, the lab's database of plates, inspections, images and scores. Every statement is a file in ``sql/<dialect>/``.

The embedded XtalTrak is a SQLite file with the same tables (``embedded.py`` makes and fills it); the lab's is an Oracle schema.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from crystal_search import settings
from crystal_search.databases import explain_sqlite, open_sqlite
from crystal_search.errors import SettingsError
from crystal_search.xtaltrak.images import Key, Page, Protect, page_of, search_params
from crystal_search.xtaltrak.names import resolve_names, statement

#: The view through which we write, and its triggers, in this order.
_OWN_VIEW = ("create_artscores_own", "create_artscores_own_insert", "create_artscores_own_update", "create_artscores_own_delete")

#: The view through which the viewer writes under people's names.
_PEOPLE_VIEW = ("create_people_scores", "create_people_scores_insert", "create_people_scores_delete")

Params = Mapping[str, Any]
Row = tuple[Any, ...]


class XtalTrak:
    """An open XtalTrak; make one with ``open_xtaltrak``, close it or use it as a context manager.

    A statement that is executed outside ``transaction`` is a transaction of its own. Every call raises ``TryAgainLater`` when
    the database is away or locked for longer than 30 s.
    """

    dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection, what: str, names: Mapping[str, str], scorer: str) -> None:
        self._connection = connection
        self._what = what
        self._names = {**names, "SCORER": "'" + scorer.replace("'", "''") + "'"}  # a view takes no parameters
        self.scorer = scorer  #: our own name in SCOREDBY

    def execute(self, name: str, params: Params | None = None) -> int:
        """Execute the statement of ``<name>.sql``; the number of rows that it changed."""
        with self._explained():
            return self._connection.execute(self._sql(name), dict(params or {})).rowcount

    def executemany(self, name: str, rows: Iterable[Params]) -> int:
        """Execute the statement once for each of ``rows``, in one transaction of its own or in the open one; the rows changed in all."""
        if not self._connection.in_transaction:
            with self.transaction():
                return self.executemany(name, rows)
        with self._explained():
            return self._connection.executemany(self._sql(name), [dict(row) for row in rows]).rowcount

    def query(self, name: str, params: Params | None = None) -> list[Row]:
        """The rows of the statement of ``<name>.sql``, columns in its order; dates are ISO text in SQLite."""
        with self._explained():
            return self._connection.execute(self._sql(name), dict(params or {})).fetchall()

    def find_images(self, search: settings.Search, after: Key, limit: int, protect: Protect = "drop") -> Page:
        """The next ``limit`` images, by key, after ``after`` that match the search pattern; profile and imager are judged by name.

        ``only_unscored`` leaves out what a person has scored: the whole drop with ``protect="drop"``, else that image. Whoever
        is not our scorer is a person, and so is a NULL.
        """
        return page_of(self.query("find_images", search_params(search, after, limit, protect, self.scorer)), search, limit)

    def guard_own_rows(self) -> None:
        """Make the view through which we write, which shows and takes rows of our own scorer only, where it is not so already.

        To be called in a transaction that is going to write scores.
        """
        self._guard("own_view", "drop_artscores_own", _OWN_VIEW)

    def guard_people_rows(self) -> None:
        """Make the view through which the viewer writes, which has no row of our own scorer and none without one, where it is not so
        already. To be called in a transaction that is going to write people's scores.
        """
        self._guard("people_view", "drop_people_scores", _PEOPLE_VIEW)

    def _guard(self, look: str, drop: str, create: tuple[str, ...]) -> None:
        made = {text for (text,) in self.query(look)}
        if made != {(text := self._sql(name))[text.index("CREATE ") :] for name in create}:
            for name in (drop, *create):
                self.execute(name)

    def forbid_writes(self) -> None:
        """From here on this connection only reads, whatever is asked of it."""
        with self._explained():
            self._connection.execute("PRAGMA query_only = ON")

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

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> XtalTrak:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _sql(self, name: str) -> str:
        return statement(self.dialect, name, self._names)

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


def open_xtaltrak(section: settings.XtalTrak) -> XtalTrak:
    """Open the XtalTrak of the settings.

    Raises ``SettingsError`` when the mapping of names is wrong or there is no embedded XtalTrak, ``TryAgainLater`` when it is away.
    """
    if section.dialect == "oracle":
        raise SettingsError("xtaltrak.dialect: the Oracle connection comes with a later version; use 'sqlite', the embedded XtalTrak")
    if not section.database.is_file():
        raise SettingsError(
            f"xtaltrak.database: {section.database}: no embedded XtalTrak there; `crystal-search load FOLDER` makes one from images"
        )
    return connect_sqlite(section)


def connect_sqlite(section: settings.XtalTrak) -> XtalTrak:
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
    return XtalTrak(connection, what, names, section.scorer)
