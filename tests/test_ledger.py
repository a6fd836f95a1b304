"""The ledger: migrations and tables agree, openers and writers queue, troubles are one line."""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import sqlite3
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, insert, select, text

import crystal_search.ledger
from crystal_search.errors import CrystalSearchError, SettingsError, TryAgainLater
from crystal_search.ledger import Ledger, open_ledger
from crystal_search.ledger.results import utc_now
from crystal_search.ledger.schema import metadata, scorings
from crystal_search.ledger.searches import Cursor, take_cursor
from crystal_search.xtaltrak.images import Key


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'state' / 'ledger.sqlite'}"


def tables(path: Path) -> dict[str, list[str]]:
    """Every table, its columns, keys and defaults, and every index, as SQLite keeps them; the order of the pieces does not count."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'").fetchall()
    return {name: sorted(re.sub(r"\s+", " ", piece).strip(" ()") for piece in sql.split(", ")) for name, sql in rows}


def test_migrations_make_exactly_the_tables_of_the_schema(tmp_path: Path) -> None:
    open_ledger(url(tmp_path)).close()
    plain = tmp_path / "plain.sqlite"
    engine = create_engine(f"sqlite:///{plain}")
    metadata.create_all(engine)
    engine.dispose()
    assert tables(tmp_path / "state" / "ledger.sqlite") == tables(plain)


def test_alembic_finds_nothing_to_migrate(tmp_path: Path) -> None:
    with open_ledger(url(tmp_path)) as ledger, ledger.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []


def test_a_ledger_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "state" / "ledger.sqlite"
    path.parent.mkdir()
    old = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(Path(crystal_search.ledger.__file__).parent / "migrations"))
    with old.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text("INSERT INTO scorings VALUES (1, 'm', 'x', '{}', '2026-01-01 00:00:00')"))
        connection.execute(text("INSERT INTO cursors VALUES (1, 's', 5, 'name')"))
    old.dispose()
    with open_ledger(url(tmp_path)) as ledger, ledger.begin() as connection:
        assert take_cursor(connection, 1, "s", "a/1") == Cursor(Key(5, "name"), at_end=False)


def open_together(ledger_url: str, together: Barrier) -> None:
    together.wait(120)
    open_ledger(ledger_url).close()


def test_many_programs_open_a_new_ledger_at_once(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("fork")
    together = processes.Barrier(4)
    openers = [processes.Process(target=open_together, args=(url(tmp_path), together)) for _ in range(4)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(60)
    assert [opener.exitcode for opener in openers] == [0] * 4


def add_scoring(ledger: Ledger, settings: str) -> None:
    with ledger.begin() as connection:
        connection.execute(insert(scorings), {"model_name": "m", "model_sha256": "0" * 64, "settings": settings, "created_at": utc_now()})


def count_scorings(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return len(connection.execute(select(scorings.c.id)).all())


def test_a_transaction_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    with open_ledger(url(tmp_path)) as ledger:
        add_scoring(ledger, "kept")
        with contextlib.suppress(KeyError), ledger.begin() as connection:
            connection.execute(text("DELETE FROM scorings"))
            raise KeyError
        assert count_scorings(ledger) == 1


def test_two_writers_queue_and_readers_do_not_wait(tmp_path: Path) -> None:
    with open_ledger(url(tmp_path)) as ledger:
        with ledger.begin() as connection:
            connection.execute(select(scorings))  # a deferred transaction would only read here, and fail on its first write
            other = threading.Thread(target=add_scoring, args=(ledger, "second"))
            other.start()
            time.sleep(0.2)
            assert other.is_alive()
            assert count_scorings(ledger) == 0
            connection.execute(insert(scorings), {"model_name": "m", "model_sha256": "0" * 64, "settings": "1", "created_at": utc_now()})
        other.join()
        assert count_scorings(ledger) == 2


def test_a_locked_ledger_is_one_line_and_try_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crystal_search.databases.BUSY_SECONDS", 0.1)
    with open_ledger(url(tmp_path)) as ledger:
        holder = sqlite3.connect(tmp_path / "state" / "ledger.sqlite", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(TryAgainLater, match="another program holds it locked") as caught, ledger.begin():
            pass
        assert len(str(caught.value).splitlines()) == 1
        holder.close()


def test_foreign_keys_are_enforced(tmp_path: Path) -> None:
    with open_ledger(url(tmp_path)) as ledger, pytest.raises(Exception, match="FOREIGN KEY"), ledger.begin() as connection:
        connection.execute(text("INSERT INTO cursors (scoring_id, search_sha256, inspection_id, image_name) VALUES (77, 'x', 1, 'y')"))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("nonsense", "not a SQLAlchemy URL"),
        ("sqlite://", "a SQLite file or a PostgreSQL database"),
        ("sqlite:///:memory:", "a SQLite file or a PostgreSQL database"),
        ("mysql://user:secret@host/db", "a SQLite file or a PostgreSQL database"),
    ],
)
def test_a_url_that_can_not_be_used(bad: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        open_ledger(bad)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_text("something else, and long enough to be looked at" * 100)
    with pytest.raises(CrystalSearchError, match="not a readable SQLite database"):
        open_ledger(f"sqlite:///{path}")


def test_a_directory_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="can not be made"):
        open_ledger(f"sqlite:///{tmp_path}/file/ledger.sqlite")


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with open_ledger(url(tmp_path)) as ledger, ledger.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SettingsError, match="newer version"):
        open_ledger(url(tmp_path))


def test_postgresql_that_is_away_is_one_line_without_the_password() -> None:
    with pytest.raises(TryAgainLater, match="away or busy") as caught:
        open_ledger("postgresql://user:secret@127.0.0.1:1/ledger")
    assert "secret" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
