"""What a database's own errors mean to the people who run us."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from crystal_search.errors import CrystalSearchError, TryAgainLater

#: How long a writer waits for another one, in seconds.
BUSY_SECONDS = 30.0

#: SQLite's primary result codes of conditions that pass by themselves or when an admin frees some space.
_PASSING = {
    sqlite3.SQLITE_BUSY: "another program holds it locked",
    sqlite3.SQLITE_LOCKED: "another program holds it locked",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk can not be read or written",
    sqlite3.SQLITE_CANTOPEN: "the file can not be opened",
    sqlite3.SQLITE_READONLY: "it can not be written",
    sqlite3.SQLITE_PROTOCOL: "another program holds it locked",
}
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def explain_sqlite(error: BaseException | None, what: str) -> CrystalSearchError | None:
    """The one line that ``error`` of SQLite means for the database ``what``; None for a mistake of ours, which is to be seen."""
    if not isinstance(error, sqlite3.Error):
        return None
    code: int = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    if code in _PASSING:
        return TryAgainLater(f"{what}: {_PASSING[code]} ({error}); try again later")
    if code in _DAMAGED:
        return CrystalSearchError(f"{what}: not a readable SQLite database ({error}); restore it from a backup")
    return None


def configure_sqlite(connection: sqlite3.Connection) -> None:
    """Set a new connection up: WAL, waiting writers, foreign keys, every commit on the disk, transactions begun by us alone."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -32768")  # 32 MB
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA case_sensitive_like = ON")  # as in Oracle and PostgreSQL


def _use_wal(connection: sqlite3.Connection) -> None:
    """Where two programs change a new file to WAL at once, SQLite refuses one of them without waiting: so we wait."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.05)


def open_sqlite(path: Path) -> sqlite3.Connection:
    """A connection to the SQLite file ``path``, set up as ``configure_sqlite`` does."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    try:
        configure_sqlite(connection)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
