"""One statement for thousands of rows, handed to the driver as it is: SQLAlchemy's own work on each row costs more than the database's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Connection, DateTime, Delete, Dialect, Insert, Table, Update
from sqlalchemy.dialects import postgresql, sqlite

_SQLITE: Dialect = sqlite.dialect(paramstyle="named")
_POSTGRESQL: Dialect = postgresql.dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
_DIALECTS: Mapping[str, Dialect] = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}


def execute_many(connection: Connection, statement: Insert | Update | Delete, rows: list[dict[str, Any]]) -> None:
    """Execute ``statement``, one of a module's constants, once for each row; every row has the same keys.

    Values are what both drivers know: numbers, text, bytes, None, and moments (``datetime``), which SQLite keeps as text.
    """
    if not rows:
        return
    sql, moments = _compiled(statement, tuple(sorted(rows[0])), connection.dialect.name)
    if moments and connection.dialect.name == "sqlite":
        rows = [row | {key: _sqlite_time(row[key]) for key in moments} for row in rows]
    connection.exec_driver_sql(sql, rows)


@lru_cache(maxsize=64)
def _compiled(statement: Insert | Update | Delete, keys: tuple[str, ...], dialect: str) -> tuple[str, tuple[str, ...]]:
    """The driver's text of a statement with those parameters, and which of them are moments."""
    columns = list(keys) if isinstance(statement, Insert) else None
    compiled = statement.compile(dialect=_DIALECTS[dialect], column_keys=columns)
    moments = tuple(key for key in keys if isinstance(compiled.binds[key].type, DateTime))
    return str(compiled), moments


@lru_cache(maxsize=1024)
def _sqlite_time(moment: datetime | None) -> str | None:
    """As SQLAlchemy's own type for SQLite writes it."""
    return None if moment is None else moment.isoformat(sep=" ", timespec="microseconds")


def insert_if_new(connection: Connection, table: Table) -> Insert:
    """An INSERT that leaves a row alone whose unique key is there already, also when another program is just adding it."""
    return _insert_if_new_into(connection.dialect.name, table)


@cache
def _insert_if_new_into(dialect: str, table: Table) -> Insert:
    if dialect == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()
