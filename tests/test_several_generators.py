"""Several work generators on one ledger: together they send every image once, whoever of them dies; on SQLite and on PostgreSQL."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import product
from multiprocessing.context import ForkProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from generator_lab import Lab, image_name, make_lab
from killable_postgres import KillablePostgres
from sqlalchemy import update

from crystal_search.archives import Manifest
from crystal_search.ledger import images as queue
from crystal_search.ledger import leases, searches
from crystal_search.ledger.results import utc_now
from crystal_search.ledger.schema import batches
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.images import Key
from work_generator import slots
from work_generator.files import Disk
from work_generator.generate import run_round
from work_generator.generator import Generator

_PATIENCE_SECONDS = 60.0
DROPS = list(product(range(1, 8), range(1, 5), (1,)))
NAMES = sorted(image_name(*drop) for drop in DROPS)
SETTINGS = "[generator]\nimages_per_work_unit = 1\npage = 7\n"


@pytest.fixture(params=["sqlite", "postgresql"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    """Twenty-eight images in pages of seven, one in a work unit."""
    if request.param == "sqlite":
        return make_lab(tmp_path, DROPS, SETTINGS)
    server: KillablePostgres = request.getfixturevalue("postgres")
    server.empty()
    return make_lab(tmp_path, DROPS, f'{SETTINGS}[ledger]\nurl = "{server.url}"\n')


def start(work: Callable[..., Any], *arguments: Any) -> ForkProcess:
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    return process


def rounds(lab: Lab, mark: Path, pause: float = 0.0, together: Barrier | None = None) -> None:
    """A generator as ``--once`` runs it, in a process of its own; ``mark`` gets a line for each work unit that it packs."""
    if together is not None:
        together.wait(_PATIENCE_SECONDS)
    pack = Disk.pack

    def noted(disk: Disk, manifest: Manifest, contents: Mapping[str, bytes]) -> str:
        with mark.open("a") as file:
            file.write(f"{manifest.name}\n")
        time.sleep(pause)
        return pack(disk, manifest, contents)

    Disk.pack = noted  # type: ignore[method-assign]
    while lab.round():
        pass


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def packed_by(mark: Path) -> list[str]:
    return mark.read_text().split() if mark.exists() else []


def test_three_at_once_send_every_image_once(lab: Lab, tmp_path: Path) -> None:
    lab.ledger().close()  # so that nobody makes it while the others look
    marks = [tmp_path / f"packed-{number}" for number in range(3)]
    together = multiprocessing.get_context("fork").Barrier(len(marks))
    running = [start(rounds, lab, mark, 0.03, together) for mark in marks]
    for one in running:
        one.join(_PATIENCE_SECONDS)
    assert [one.exitcode for one in running] == [0, 0, 0]
    while lab.round():  # whoever came last may have left what another one had leased
        pass
    assert lab.sent_images() == NAMES
    assert lab.counts("work_units") == {"submitted": len(DROPS)}
    packed = [packed_by(mark) for mark in marks]
    assert sum(1 for names in packed if names) >= 2, "they have shared the work"
    everything = [name for names in packed for name in names]
    assert len(everything) == len(set(everything)), "no work unit was packed by two"
    assert lab.rows("SELECT name FROM batches WHERE leased_by IS NOT NULL") == []


def test_together_they_keep_to_the_mark(lab: Lab, tmp_path: Path) -> None:
    lab.settings = lab.settings.model_copy(update={"generator": lab.settings.generator.model_copy(update={"max_open_work_units": 5})})
    lab.ledger().close()
    running = [start(rounds, lab, tmp_path / f"packed-{number}", 0.01) for number in range(3)]
    for one in running:
        one.join(_PATIENCE_SECONDS)
    assert [one.exitcode for one in running] == [0, 0, 0]
    assert lab.counts("work_units") == {"submitted": 5}


def test_what_a_killed_one_had_goes_on_at_once(lab: Lab, tmp_path: Path) -> None:
    lab.ledger().close()
    mark = tmp_path / "packed"
    killed = start(rounds, lab, mark, 0.05)
    wait_for(lambda: len(packed_by(mark)) >= 2)
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    assert lab.rows("SELECT name FROM batches WHERE leased_by IS NOT NULL"), "it died with a lease"
    while lab.round():
        pass
    assert lab.sent_images() == NAMES
    assert lab.counts("work_units") == {"submitted": len(DROPS)}


def test_a_living_ones_lease_is_left_alone_until_it_has_run_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.settings = lab.settings.model_copy(update={"generator": lab.settings.generator.model_copy(update={"max_open_work_units": 1})})
    lab.round()
    assert lab.counts() == {"in_work": 1, "claimed": 6}
    lab.assimilated()
    with lab.ledger() as ledger, ledger.begin() as connection:
        assert leases.take(connection, batches, batches.c.id > 0, "another-machine/1") == 1
    lab.round()
    (first,) = lab.rows("SELECT count(*) AS count FROM work_units WHERE batch_id = (SELECT min(id) FROM batches)")
    assert first["count"] == 1, "the leased batch is not touched, the search goes on"
    assert lab.counts()["claimed"] == 6 + 6
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(update(batches).values(leased_until=utc_now() - timedelta(seconds=1)))
    lab.assimilated()
    lab.round()
    (first,) = lab.rows("SELECT count(*) AS count FROM work_units WHERE batch_id = (SELECT min(id) FROM batches)")
    assert first["count"] == 2
    monkeypatch.setattr(slots.socket, "gethostname", lambda: "x" * 300)  # a name of any length fits the ledger
    lab.assimilated()
    lab.round()


@pytest.mark.parametrize("alive", [False, True])
def test_what_a_dead_one_of_this_machine_had_under_another_name_is_adopted(lab: Lab, alive: bool) -> None:
    lab.settings = lab.settings.model_copy(update={"generator": lab.settings.generator.model_copy(update={"max_open_work_units": 1})})
    lab.round()
    lab.assimilated()
    other = slots.Slot(5, lab.settings.paths.state / "generators")
    with lab.ledger() as ledger, ledger.begin() as connection:
        assert leases.take(connection, batches, batches.c.id > 0, other.owner) == 1
    with (other.folder / "5.lock").open("w") as lock:
        if alive:
            fcntl.flock(lock, fcntl.LOCK_EX)
        lab.round()
    (first,) = lab.rows("SELECT count(*) AS count FROM work_units WHERE batch_id = (SELECT min(id) FROM batches)")
    assert first["count"] == (1 if alive else 2)


def test_a_lost_lease_stops_the_slow_one(lab: Lab) -> None:
    """One that hung while it read files finds its batch in other hands: what it packed does not go out a second time."""
    lab.settings = lab.settings.model_copy(update={"generator": lab.settings.generator.model_copy(update={"images_per_work_unit": 7})})
    stolen: list[int] = []

    class Slow:
        def __init__(self, store: Any) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        def pack(self, *arguments: Any) -> str:
            if not stolen:
                with lab.ledger() as ledger, ledger.begin() as connection:
                    connection.execute(update(batches).values(leased_by="other/1", leased_until=utc_now() + timedelta(hours=1)))
                stolen.append(1)
            return str(self._store.pack(*arguments))

    with lab.ledger() as ledger, open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        generator = Generator(lab.settings, ledger, xtaltrak, lab.grid)
        run_round(Generator(lab.settings, ledger, xtaltrak, lab.grid, store=Slow(generator.files)))
    assert lab.rows("SELECT state FROM work_units WHERE id = (SELECT min(id) FROM work_units)") == [{"state": "packing"}]
    assert len(lab.grid.submitted) == 3, "the pages that came after it"


def test_a_search_is_read_by_one_at_a_time(lab: Lab) -> None:
    with lab.ledger() as ledger, ledger.begin() as connection:
        scoring = queue.scoring_id(connection, queue.ModelReference(name="m", sha256="0" * 64), "{}")
        first = searches.take_cursor(connection, scoring, "s", "a/1")
        assert first is not None
        assert (first.key, first.at_end) == (Key(-1, ""), False)
        assert searches.take_cursor(connection, scoring, "s", "b/1") is None
        searches.move_cursor(connection, scoring, "s", Key(5, "x"), True, "a/1")
        second = searches.take_cursor(connection, scoring, "s", "b/1")
        assert second is not None
        assert (second.key, second.at_end) == (Key(5, "x"), True)
        leases.release(connection, "b/1")
        assert searches.take_cursor(connection, scoring, "s", "a/1") is not None
