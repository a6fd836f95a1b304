"""The ledger: our own bookkeeping, in a SQLite file or in PostgreSQL by URL. It never lives in XtalTrak's tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from types import TracebackType
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError

from crystal_search.databases import BUSY_SECONDS, configure_sqlite, explain_sqlite
from crystal_search.errors import SettingsError, TryAgainLater, UsageError
from crystal_search.ledger import viewer_tables as viewer_tables  # its tables belong to the ledger's metadata too

_MIGRATIONS = Path(__file__).parent / "migrations"
_BEGIN = "crystal_search_begin"
_MIGRATION_LOCK = 4_113_202_310  # any number that no one else uses, for PostgreSQL's advisory lock


class Ledger:
    """An open ledger; make one with ``open_ledger``, close it or use it as a context manager."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reader = engine.execution_options(**{_BEGIN: "BEGIN"})

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A connection in a writing transaction: committed when the block ends, rolled back when it raises.

        In SQLite the transaction takes the write lock at once, so that writers queue instead of failing half-way.
        Raises ``TryAgainLater`` when the database is away, full, or locked for longer than 30 s.
        """
        with _explained(self._engine.url), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one moment of the ledger and holds up no writer. Raises as ``begin`` does."""
        with _explained(self._engine.url), self._reader.begin() as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_ledger(url: str) -> Ledger:
    """Open the ledger of a SQLAlchemy URL, made and brought up to date where needed; two programs may do so at once.

    Raises ``SettingsError`` for a URL that can not be used, ``TryAgainLater`` when the database is away.
    """
    parsed = _checked(url)
    ledger = Ledger(_engine(parsed))
    try:
        with _explained(parsed):
            _migrate(ledger)
    except BaseException:
        ledger.close()
        raise
    return ledger


def open_existing_ledger(url: str) -> Ledger:
    """Open a ledger that is there already: who only wants to look, or to decide on a batch, makes no new one.

    Raises ``UsageError`` when there is none yet, else as ``open_ledger``.
    """
    parsed = make_url(url) if url.startswith("sqlite") else None
    if parsed is not None and parsed.database and not Path(parsed.database).is_file():
        raise UsageError(f"no ledger at {parsed.database}: nothing was queued with these settings yet; is --settings right?")
    return open_ledger(url)


def _checked(url: str) -> URL:
    """The URL with its driver; directories of a SQLite file are made."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError("ledger.url: not a SQLAlchemy URL such as sqlite:////srv/ledger.sqlite or postgresql://host/name") from None
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise SettingsError(f"ledger.url: {parsed.render_as_string()}: a SQLite file or a PostgreSQL database is needed")
    try:
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"ledger: {error.filename}: can not be made ({error.strerror})") from error
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        try:
            return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})
        except (ModuleNotFoundError, NoSuchModuleError) as error:
            raise SettingsError("ledger.url: PostgreSQL needs its driver: pip install psycopg[binary] (the extra `postgres`)") from error
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _connected(connection: SqliteConnection, _record: Any) -> None:
        configure_sqlite(connection)

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN IMMEDIATE"))

    return engine


@contextmanager
def _explained(url: URL) -> Iterator[None]:
    """Turns what may pass, and what an admin has to mend, into one line; a mistake of ours stays a traceback."""
    what = f"ledger {url.render_as_string()}"
    try:
        yield
    except DBAPIError as error:
        if explained := explain_sqlite(error.orig, what):
            raise explained from error
        if url.get_backend_name() == "postgresql" and isinstance(error, OperationalError | InterfaceError):
            line = str(error.orig).strip().splitlines()[0]
            raise TryAgainLater(f"{what}: the database is away or busy ({line}); try again later") from error
        raise


def _migrate(ledger: Ledger) -> None:
    """Bring the tables up to date, in one transaction that a second opener waits for."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    with ledger.read() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
    if revision == head:
        return
    if revision is not None and revision not in {script.revision for script in scripts.walk_revisions()}:
        raise SettingsError(f"the ledger is of a newer version of Crystal Search ({revision}): update this one")
    with ledger.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
