"""XtalTrak, the lab's database of plates, inspections, images and scores. Every statement is a file in ``sql/<dialect>/``.

The lab's is an Oracle schema (``oracle.py``); the embedded XtalTrak is a SQLite file with the same tables (``sqlite.py``, and
``embedded.py`` makes and fills it).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, ClassVar, Self

from crystal_search import settings
from crystal_search.xtaltrak.images import Key, Page, Protect, page_of, plates_with_chromophores, search_params
from crystal_search.xtaltrak.names import statement

Params = Mapping[str, Any]
Row = tuple[Any, ...]


class XtalTrak(ABC):
    """An open XtalTrak; make one with ``open_xtaltrak``, close it or use it as a context manager.

    A statement that is executed outside ``transaction`` is a transaction of its own. Every call raises ``TryAgainLater`` when
    the database is away or locked for too long, and ``SettingsError`` when the mapping of names or the grants do not fit.
    """

    dialect: ClassVar[str]

    def __init__(self, names: Mapping[str, str], scorer: str) -> None:
        self._names = {**names, "SCORER": "'" + scorer.replace("'", "''") + "'"}  # a view takes no parameters
        self.names = names  #: tables ``I_SCORES`` and columns ``I_SCORES.SCORE`` as this site calls them
        self._texts: dict[str, str] = {}
        self.scorer = scorer  #: our own name in SCOREDBY

    @abstractmethod
    def execute(self, name: str, params: Params | None = None) -> int:
        """Execute the statement of ``<name>.sql``; the number of rows that it changed."""

    @abstractmethod
    def executemany(self, name: str, rows: Iterable[Params]) -> int:
        """Execute the statement once for each of ``rows``, in one transaction of its own or in the open one; the rows changed in all."""

    @abstractmethod
    def query(self, name: str, params: Params | None = None) -> list[Row]:
        """The rows of the statement of ``<name>.sql``, columns in its order; a date is ISO text in SQLite, a datetime in Oracle."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """A writing transaction: committed when the block ends, rolled back when it raises."""

    @abstractmethod
    def guard_own_rows(self) -> None:
        """Make the view through which we write, which shows and takes rows of our own scorer only, where that is ours to do.

        To be called in a transaction that is going to write scores.
        """

    @abstractmethod
    def guard_people_rows(self) -> None:
        """Make the view through which the viewer writes, which has no row of our own scorer and none without one, where that is ours
        to do. To be called in a transaction that is going to write people's scores.
        """

    @abstractmethod
    def forbid_writes(self) -> None:
        """From here on this connection only reads, whatever is asked of it."""

    @abstractmethod
    def make_own_tables(self) -> None:
        """Make the tables of our own and the view of both evaluations, where that is ours to do and they are not so already."""

    @property
    @abstractmethod
    def version(self) -> str:
        """Which database it is and how we speak to it, for people."""

    @abstractmethod
    def close(self) -> None: ...

    def find_images(self, search: settings.Search, after: Key, limit: int, protect: Protect = "drop") -> Page:
        """The next ``limit`` images, by key, after ``after`` that match the search pattern; profile and imager are judged by name.

        ``only_unscored`` leaves out what a person has scored: the whole drop with ``protect="drop"``, else that image. Whoever
        is not our scorer is a person, and so is a NULL.
        """
        rows = self.query("find_images", search_params(search, after, limit, protect, self.scorer))
        marked = plates_with_chromophores(search, self.query("plate_proteins")) if search.chromophores else frozenset()
        return page_of(rows, search, limit, marked)

    def newest_inspection(self) -> int:
        """The largest INSPECTID that has an image; 0 when there is none."""
        return int(self.query("newest_inspection")[0][0] or 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _sql(self, name: str) -> str:
        if name not in self._texts:
            self._texts[name] = statement(self.dialect, name, self._names)
        return self._texts[name]


def open_xtaltrak(section: settings.XtalTrak, account: settings.Viewer | None = None) -> XtalTrak:
    """Open the XtalTrak of the settings; in Oracle with the viewer's ``account`` for people's scores where it is given.

    Raises ``SettingsError`` when the mapping of names or the way to the database is wrong or there is no embedded XtalTrak,
    ``TryAgainLater`` when it is away.
    """
    xtaltrak = _open(section, account)
    if section.queries_per_second is None and section.rows_per_second is None:
        return xtaltrak
    from crystal_search.xtaltrak.throttle import ThrottledXtalTrak, throttle_of  # it is an XtalTrak too

    return ThrottledXtalTrak(xtaltrak, throttle_of(section.queries_per_second, section.rows_per_second))


def _open(section: settings.XtalTrak, account: settings.Viewer | None) -> XtalTrak:
    if section.dialect == "oracle":
        from crystal_search.xtaltrak.oracle import open_oracle  # its driver is an extra

        return open_oracle(section, account)
    from crystal_search.xtaltrak.sqlite import open_sqlite_file

    return open_sqlite_file(section)
