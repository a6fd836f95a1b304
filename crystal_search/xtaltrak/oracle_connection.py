"""The way into Oracle: who we are, a watchdog over logging in, and a pool of connections a program.

The driver's own time limit ends with the TCP connection: a listener that accepts and stays silent holds ``connect`` for ever, and a
program that ends as well where the driver's pool was used (docs/decisions/0020).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from crystal_search import settings
from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.xtaltrak.names import statement
from crystal_search.xtaltrak.oracle_errors import PASSWORD_VARIABLES, UNKNOWN_SERVICE, codes_of, explain_oracle

try:
    import oracledb
except ImportError:  # the extra `oracle` is not installed
    oracledb = None

WALLET_PASSWORD_VARIABLE = "CRYSTAL_SEARCH_ORACLE_WALLET_PASSWORD"
_Connection = TypeVar("_Connection")
_PING_MILLISECONDS = 10_000


@dataclass(frozen=True, slots=True)
class Login:
    """Where the database is and who we are there, as ``settings`` (a section) says; secrets are never shown."""

    user: str
    dsn: str
    password: str = field(repr=False)
    wallet_password: str = field(repr=False)
    config_dir: Path | None
    wallet: Path | None
    thick: bool
    lib_dir: Path | None
    pool: int
    connect_seconds: float
    statement_seconds: float
    settings: str = "xtaltrak"

    @property
    def what(self) -> str:
        """The database's name in messages; a descriptor in one line."""
        return f"XtalTrak {self.user}@{' '.join(self.dsn.split())}"


def login_of(section: settings.XtalTrak, account: settings.Viewer | None = None) -> Login:
    """The settings' login, or that of the viewer's ``account``, its secrets from the environment or a file. Raises ``SettingsError``."""
    who, name = (section, "xtaltrak") if account is None else (account, "viewer")
    variable = PASSWORD_VARIABLES[name]
    password = os.environ.get(variable) or _from_file(who.password_file, name)
    if who.user and not password:
        raise SettingsError(f"{name}: no password for {who.user}: set {variable} or {name}.password_file")
    for key, folder in (("config_dir", section.config_dir), ("wallet", section.wallet)):
        if folder is not None and not folder.is_dir():
            raise SettingsError(f"xtaltrak.{key}: {folder}: no such folder")
    return Login(
        user=who.user,
        dsn=section.dsn,
        password=password,
        wallet_password=os.environ.get(WALLET_PASSWORD_VARIABLE, ""),
        config_dir=section.config_dir,
        wallet=section.wallet,
        thick=section.mode == "thick",
        lib_dir=section.lib_dir,
        pool=section.pool,
        connect_seconds=section.connect_seconds,
        statement_seconds=section.statement_seconds,
        settings=name,
    )


def _from_file(path: Path | None, section: str) -> str:
    if path is None:
        return ""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise SettingsError(f"{section}.password_file: {path}: can not be read ({reason})") from error
    if not lines or not lines[0]:
        raise SettingsError(f"{section}.password_file: {path}: its first line is empty")
    return lines[0]


def within(seconds: float, connect: Callable[[], _Connection], what: str) -> _Connection:
    """What ``connect`` returns. Raises ``TryAgainLater`` when it has not by then; a connection that comes later is closed."""
    done = threading.Event()
    given_up = threading.Lock()  # held by whoever decides first
    found: list[_Connection] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            made: Any = connect()
        except BaseException as error:
            failed.append(error)
        else:
            if given_up.acquire(blocking=False):
                found.append(made)
            else:
                made.close()
        done.set()

    threading.Thread(target=work, name="oracle-connect", daemon=True).start()
    if not done.wait(seconds) and given_up.acquire(blocking=False):
        raise TryAgainLater(f"{what}: has not let us in within {seconds:g} s; is it up, and xtaltrak.dsn right? Try again later")
    done.wait()
    if failed:
        raise failed[0]
    return found[0]


class Pool:
    """At most ``login.pool`` connections that are used again; each is asked for a sign of life before it is given out."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self._has_connected = False
        self._pool = QueuePool(self._connect, pool_size=login.pool, max_overflow=0, timeout=login.connect_seconds)
        event.listen(self._pool, "checkout", _ping)

    def acquire(self) -> PoolProxiedConnection:
        """A connection, given back by its ``close``; what was not committed is rolled back then.

        Raises ``SettingsError`` for what people have to change, ``TryAgainLater`` when the database is away.
        """
        what = self._login.what
        try:
            connection = self._pool.connect()
        except PoolTimeoutError as error:
            raise TryAgainLater(f"{what}: all {self._login.pool} connections are in use (xtaltrak.pool); try again later") from error
        except InvalidRequestError as error:  # dead again and again
            raise TryAgainLater(f"{what}: the connection is lost ({error}); try again later") from error
        except (oracledb.Error, OSError) as error:
            if self._has_connected and UNKNOWN_SERVICE.intersection(codes_of(error)):
                raise TryAgainLater(f"{what}: its listener does not know it yet; it starts, or was taken down; try again later") from error
            raise explain_oracle(error, what, section=self._login.settings) from error
        self._has_connected = True
        return connection

    def close(self) -> None:
        self._pool.dispose()

    def _connect(self) -> Any:
        """A new connection of the driver."""
        login = self._login
        if login.thick:
            _use_thick(login.lib_dir, login.config_dir)
        options = _options(login)

        def connect() -> Any:
            if not login.thick:
                asyncio.run(_knock(login.connect_seconds * 0.9, options))
            return oracledb.connect(**options)

        try:
            made = within(login.connect_seconds, connect, login.what)
        except TimeoutError as error:
            message = f"{login.what}: has not let us in within {login.connect_seconds:g} s; is it up, and xtaltrak.dsn right?"
            raise TryAgainLater(f"{message} Try again later") from error
        made.call_timeout = int(login.statement_seconds * 1000)
        with made.cursor() as cursor:
            cursor.execute(statement("oracle", "session", {}))
        return made


async def _knock(seconds: float, options: dict[str, Any]) -> None:
    """Log in and out: unlike ``oracledb.connect`` this ends in time, and leaves no thread and no socket, when nobody answers."""
    async with asyncio.timeout(seconds):
        connection = await oracledb.connect_async(**options)
        await connection.close()


def _ping(connection: Any, _record: object, _proxy: object) -> None:
    """Throw a dead connection away, so that the pool makes another."""
    usual, connection.call_timeout = connection.call_timeout, _PING_MILLISECONDS
    try:
        connection.ping()
    except oracledb.Error as error:
        raise DisconnectionError(str(error)) from error
    connection.call_timeout = usual


def _options(login: Login) -> dict[str, Any]:
    """What the driver is told, keys without a value left out."""
    options = {
        "dsn": login.dsn,
        "user": login.user or None,
        "password": login.password or None,
        "externalauth": True if not login.user else None,
        "config_dir": None if login.config_dir is None or login.thick else str(login.config_dir),
        "wallet_location": None if login.wallet is None else str(login.wallet),
        "wallet_password": login.wallet_password or None,
        "tcp_connect_timeout": login.connect_seconds,
        "program": "crystal-search",
    }
    return {key: value for key, value in options.items() if value is not None}


@cache
def _use_thick(lib_dir: Path | None, config_dir: Path | None) -> None:
    """Load the Instant Client, once for all."""
    oracledb.init_oracle_client(lib_dir=lib_dir and str(lib_dir), config_dir=config_dir and str(config_dir))


@cache
def pool_of(login: Login) -> Pool:
    """The program's pool of this login. Raises ``SettingsError`` when the driver is not installed."""
    if oracledb is None:
        raise SettingsError(
            "xtaltrak.dialect: Oracle needs its driver: in the project's folder, .venv/bin/pip install -c requirements.lock -e '.[oracle]'"
        )
    return Pool(login)


def driver_errors() -> tuple[type[Exception], ...]:
    """What the driver raises."""
    return (oracledb.Error,)


def driver_version(thick: bool) -> str:
    """The driver, for people."""
    return f"python-oracledb {oracledb.__version__} {'thick' if thick else 'thin'}"
