"""The way into Oracle, with the real driver against listeners on the loopback that are silent, refuse, or are not there.

No Oracle stands behind them: what a server says after the listener is covered by the codes that it would send.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import oracledb
import pytest

from crystal_search import settings
from crystal_search.errors import CrystalSearchError, SettingsError, TryAgainLater
from crystal_search.settings import load_settings
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.oracle import OracleXtalTrak
from crystal_search.xtaltrak.oracle_connection import Login, Pool, login_of, pool_of, within
from crystal_search.xtaltrak.oracle_errors import explain_oracle


class Listener:
    """Accepts on the loopback; ``answer`` is what it sends to a first packet, None: nothing, ever."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(16)
        self.port = self._socket.getsockname()[1]
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections.append(connection)
            if self._answer is not None:
                connection.recv(8192)
                connection.sendall(self._answer)
                connection.close()

    def close(self) -> None:
        for connection in self.connections:
            connection.close()
        self._socket.close()


def refusal(number: int) -> bytes:
    """A listener's REFUSE packet."""
    text = f"(DESCRIPTION=(TMP=)(VSNNUM=0)(ERR={number})(ERROR_STACK=(ERROR=(CODE={number})(EMFI=4))))".encode()
    body = bytes([0x22, 0x00]) + struct.pack(">H", len(text)) + text
    return struct.pack(">HHBBH", 8 + len(body), 0, 4, 0, 0) + body


@pytest.fixture
def listen() -> Iterator[Callable[[bytes | None], Listener]]:
    made: list[Listener] = []

    def make(answer: bytes | None) -> Listener:
        made.append(Listener(answer))
        return made[-1]

    yield make
    for listener in made:
        listener.close()


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTAL_SEARCH_ORACLE_PASSWORD", "s3cret")
    pool_of.cache_clear()


def section(dsn: str = "", port: int = 0, **more: Any) -> settings.XtalTrak:
    more = {"connect_seconds": 30.0, **more}
    return settings.XtalTrak(dialect="oracle", user="CRYSTAL_SEARCH", dsn=dsn or f"127.0.0.1:{port}/XTAL", **more)


def trouble(asked: settings.XtalTrak) -> CrystalSearchError:
    """What it means, in one line that tells no secret."""
    with pytest.raises(CrystalSearchError) as caught:
        open_xtaltrak(asked)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert "s3cret" not in line
    assert "CONNECTION_ID" not in line, "the same trouble is the same line"
    return caught.value


def program(folder: Path, lines: str) -> subprocess.CompletedProcess[str]:
    """One of our programs that needs XtalTrak, with these settings."""
    file = folder / "crystal-search.toml"
    file.write_text(f'[xtaltrak]\ndialect = "oracle"\nuser = "U"\n{lines}')
    command = [sys.executable, "-m", "crystal_search", "finalize", "--once", "--settings", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


# ---- nobody there, or nobody who talks ------------------------------------------------------------------------------


def test_a_silent_listener_is_given_up_and_leaves_nothing(listen: Callable[[bytes | None], Listener]) -> None:
    listener = listen(None)
    threads = threading.active_count()
    for _ in range(3):
        error = trouble(section(port=listener.port, connect_seconds=0.5))
        assert isinstance(error, TryAgainLater)
        assert "has not let us in within 0.5 s" in str(error)
    deadline = time.monotonic() + 60
    while threading.active_count() > threads:
        assert time.monotonic() < deadline, "threads are left behind"
        time.sleep(0.05)
    for connection in listener.connections:  # the driver has hung up
        connection.settimeout(60)
        while connection.recv(8192):
            pass


def test_a_program_ends_though_a_listener_is_silent(listen: Callable[[bytes | None], Listener], tmp_path: Path) -> None:
    """Where the driver's own pool is used it does not."""
    ended = program(tmp_path, f'dsn = "127.0.0.1:{listen(None).port}/X"\nconnect_seconds = 0.5\n')
    assert ended.returncode == 4
    assert "has not let us in within 0.5 s" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_connection_that_comes_too_late_is_closed() -> None:
    asked, closed = threading.Event(), threading.Event()

    class Late:
        def close(self) -> None:
            closed.set()

    def connect() -> Late:
        asked.wait(60)
        return Late()

    with pytest.raises(TryAgainLater, match=r"has not let us in within 0\.01 s"):
        within(0.01, connect, "XtalTrak")
    asked.set()
    assert closed.wait(60)


def test_nobody_listens() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        error = trouble(section(port=taken.getsockname()[1]))
    assert isinstance(error, TryAgainLater)
    assert "can not be reached" in str(error)
    assert "xtaltrak.dsn" in str(error)


# ---- a listener that refuses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [12514, 12505])
def test_an_unknown_service_is_a_matter_of_settings(listen: Callable[[bytes | None], Listener], number: int) -> None:
    error = trouble(section(port=listen(refusal(number)).port))
    assert isinstance(error, SettingsError)
    assert "no such service; check xtaltrak.dsn" in str(error)


@pytest.mark.parametrize("number", [12528, 12526])
def test_a_database_that_lets_nobody_in_will_later(listen: Callable[[bytes | None], Listener], number: int) -> None:
    error = trouble(section(port=listen(refusal(number)).port))
    assert isinstance(error, TryAgainLater)
    assert "starts, stops or lets nobody in" in str(error)


def test_a_database_that_hangs_up_will_talk_later(listen: Callable[[bytes | None], Listener]) -> None:
    assert isinstance(trouble(section(port=listen(b"").port)), TryAgainLater)


# ---- the settings ---------------------------------------------------------------------------------------------------


def test_a_name_in_tnsnames_is_found(tmp_path: Path, listen: Callable[[bytes | None], Listener]) -> None:
    port = listen(refusal(12514)).port
    entry = f"(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST=127.0.0.1)(PORT={port}))(CONNECT_DATA=(SERVICE_NAME=XTAL)))"
    (tmp_path / "tnsnames.ora").write_text(f"LAB = {entry}\n")
    assert "no such service" in str(trouble(section("LAB", config_dir=tmp_path)))
    error = trouble(section("LABOR", config_dir=tmp_path))
    assert isinstance(error, SettingsError)
    assert "stands in no tnsnames.ora; check xtaltrak.dsn and xtaltrak.config_dir" in str(error)
    assert "check xtaltrak.dsn and xtaltrak.config_dir" in str(trouble(section("LAB")))
    assert "xtaltrak.config_dir: " in str(trouble(section("LAB", config_dir=tmp_path / "nowhere")))


def test_a_descriptor_with_a_mistake() -> None:
    error = trouble(section("(DESCRIPTION=(("))
    assert isinstance(error, SettingsError)
    assert "not a valid descriptor" in str(error)


def test_a_wallet_that_is_not_there(tmp_path: Path) -> None:
    assert "xtaltrak.wallet: " in str(trouble(section("tcps://127.0.0.1:1/x", wallet=tmp_path / "nowhere")))


def test_thick_needs_the_instant_client(tmp_path: Path) -> None:
    """In a program of its own: the driver is thin or thick for good."""
    ended = program(tmp_path, 'dsn = "127.0.0.1:1/X"\nmode = "thick"\nlib_dir = "nowhere"\n')
    assert ended.returncode == 3
    assert "Instant Client is not found; check xtaltrak.lib_dir" in ended.stderr


@pytest.mark.parametrize(("content", "match"), [(None, "can not be read"), ("", "first line is empty"), ("\nx", "first line is empty")])
def test_a_password_file_with_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, match: str) -> None:
    monkeypatch.delenv("CRYSTAL_SEARCH_ORACLE_PASSWORD")
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
    assert match in str(trouble(section(port=1, password_file=file)))


def test_where_the_password_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("from the file \nnot this\n")
    asked = section(port=1, password_file=file)
    assert login_of(asked).password == "s3cret", "the environment wins"
    monkeypatch.delenv("CRYSTAL_SEARCH_ORACLE_PASSWORD")
    assert login_of(asked).password == "from the file "
    assert "from the file" not in repr(login_of(asked))
    assert "no password for CRYSTAL_SEARCH" in str(trouble(section(port=1)))


def test_paths_are_relative_to_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "crystal-search.toml"
    keys = ("password_file", "config_dir", "wallet", "lib_dir")
    file.write_text('[xtaltrak]\ndialect = "oracle"\nuser = "U"\ndsn = "D"\n' + "".join(f'{key} = "here"\n' for key in keys))
    loaded = load_settings(file).xtaltrak
    assert [getattr(loaded, key) for key in keys] == [tmp_path / "here"] * 4


@pytest.mark.parametrize(("lines", "match"), [('user = "U"', "dsn is missing"), ('dsn = "D"', "user is missing")])
def test_oracle_needs_an_address_and_an_account(tmp_path: Path, lines: str, match: str) -> None:
    file = tmp_path / "crystal-search.toml"
    file.write_text(f'[xtaltrak]\ndialect = "oracle"\n{lines}\n')
    with pytest.raises(SettingsError, match=match):
        load_settings(file)


@pytest.mark.parametrize("name", ['"I_SCORES"', "I_SCORES; DROP TABLE X", "i_scores", "A.B.C", "I_SCORES--", "A" * 31, "", "1A", "Ä"])
def test_a_quoted_or_injected_name_is_refused_at_the_start(tmp_path: Path, name: str) -> None:
    file = tmp_path / "crystal-search.toml"
    file.write_text(f"[xtaltrak.names]\nI_SCORES = '{name}'\n")
    with pytest.raises(SettingsError, match="is not a database name") as caught:
        load_settings(file)
    assert len(str(caught.value).splitlines()) == 1


# ---- what a server would say ----------------------------------------------------------------------------------------

MEANINGS: dict[str, tuple[type[CrystalSearchError], str]] = {
    "ORA-01017: invalid username/password; logon denied\nHelp: https://docs.example/": (SettingsError, "user name or password is wrong"),
    "ORA-28000: The account is locked.": (SettingsError, "the DBA unlocks it"),
    "ORA-00942: table or view does not exist": (SettingsError, "check xtaltrak.names and the grants"),
    'ORA-00904: "S"."SCORED": invalid identifier': (SettingsError, "a column is not there"),
    "ORA-01031: insufficient privileges": (SettingsError, "lacks a right"),
    "ORA-02289: sequence does not exist": (SettingsError, "our sequence"),
    "ORA-01402: view WITH CHECK OPTION where-clause violation": (SettingsError, "takes another scorer"),
    "ORA-00001: unique constraint (X.UQ) violated": (SettingsError, "doctor"),
    "ORA-20001: scores are frozen\nORA-06512: at X.TRIGGER": (SettingsError, "doctor"),
    "ORA-00054: resource busy and acquire with NOWAIT specified or timeout expired": (TryAgainLater, "locked"),
    "ORA-30006: resource busy; acquire with WAIT timeout expired": (TryAgainLater, "locked"),
    "DPY-4011: the database or network closed the connection": (TryAgainLater, "the connection is lost"),
    "ORA-03113: end-of-file on communication channel": (TryAgainLater, "the connection is lost"),
    "DPY-4024: call timeout of 600000 ms exceeded": (TryAgainLater, "statement_seconds"),
    "ORA-01653: unable to extend table": (TryAgainLater, "no space"),
    "ORA-01034: ORACLE not available": (TryAgainLater, "it starts, stops"),
    "DPY-6005: cannot connect to database (CONNECTION_ID=abc==).\n[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed": (
        SettingsError,
        "TLS fails; check xtaltrak.wallet",
    ),
    "DPY-3010: connections to this database server version are not supported by python-oracledb in thin mode": (SettingsError, '"thick"'),
    "ORA-00923: FROM keyword not found where expected": (CrystalSearchError, "ORA-00923"),
}


@pytest.mark.parametrize("text", MEANINGS, ids=lambda text: text[:9])
def test_oracles_errors_are_one_line_with_what_to_do(text: str) -> None:
    kind, match = MEANINGS[text]
    explained = explain_oracle(oracledb.DatabaseError(text), "XtalTrak U@D", "score_insert.sql")
    assert type(explained) is kind
    assert match in str(explained)
    assert str(explained).startswith("XtalTrak U@D, score_insert.sql: ")
    assert len(str(explained).splitlines()) == 1
    assert "Help" not in str(explained)


# ---- the pool -------------------------------------------------------------------------------------------------------


class Session:
    """A stand-in for the driver's connection, which can die."""

    def __init__(self, made: list[Session]) -> None:
        made.append(self)
        self.alive = True
        self.call_timeout = 0
        self.closed = False
        self.pings: list[int] = []
        self.version = "19.3.0.0.0"

    def ping(self) -> None:
        self.pings.append(self.call_timeout)
        if not self.alive:
            raise oracledb.OperationalError("DPY-4011: the database or network closed the connection")

    def rollback(self) -> None:
        if not self.alive:
            raise oracledb.OperationalError("DPY-4011: the database or network closed the connection")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    made: list[Session] = []
    monkeypatch.setattr(Pool, "_connect", lambda _: Session(made))
    return made


def login(**more: Any) -> Login:
    return login_of(section(port=1, **more))


def test_a_connection_is_used_again_and_asked_for_a_sign_of_life(sessions: list[Session]) -> None:
    for _ in range(3):
        with open_xtaltrak(section(port=1)) as xtaltrak:
            assert xtaltrak.version.startswith("Oracle 19.3.0.0.0, python-oracledb ")
    (only,) = sessions
    assert only.pings == [10_000] * 3
    assert only.call_timeout == 0, "statements keep their own limit"


def test_a_dead_connection_is_thrown_away(sessions: list[Session], caplog: pytest.LogCaptureFixture) -> None:
    open_xtaltrak(section(port=1)).close()
    sessions[0].alive = False
    open_xtaltrak(section(port=1)).close()
    assert [session.closed for session in sessions] == [True, False]
    with open_xtaltrak(section(port=1)):
        sessions[1].alive = False
    open_xtaltrak(section(port=1)).close()
    assert len(sessions) == 3
    assert not caplog.records, "a database's night is no traceback"


def test_a_service_that_was_known_before_comes_back(sessions: list[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    """A restarted database registers with its listener a minute later."""
    is_down = False

    def connect(_: Pool) -> Session:
        if is_down:
            raise oracledb.OperationalError('DPY-6005: cannot connect.\nDPY-6001: Service "X" is not registered with the listener')
        return Session(sessions)

    monkeypatch.setattr(Pool, "_connect", connect)
    open_xtaltrak(section(port=1)).close()
    sessions[0].alive, is_down = False, True
    for _ in range(2):
        error = trouble(section(port=1))
        assert isinstance(error, TryAgainLater)
        assert "its listener does not know it yet" in str(error)
    is_down = False
    open_xtaltrak(section(port=1)).close()
    assert len(sessions) == 2


def test_no_more_connections_than_the_settings_allow(sessions: list[Session]) -> None:
    pool = Pool(login(pool=2, connect_seconds=0.05))
    held = [pool.acquire(), pool.acquire()]
    with pytest.raises(TryAgainLater, match=r"all 2 connections are in use \(xtaltrak\.pool\)"):
        pool.acquire()
    held[0].close()
    pool.acquire()
    assert len(sessions) == 2


def test_an_ancient_server_is_refused(sessions: list[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    open_xtaltrak(section(port=1)).close()
    sessions[0].version = "10.2.0.4.0"
    assert "11.2 is the first" in str(trouble(section(port=1)))
    sessions[0].version = "11.2.0.4.0"
    assert isinstance(open_xtaltrak(section(port=1)), OracleXtalTrak)
