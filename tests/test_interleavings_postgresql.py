"""Non-interference with real sessions at once: two people and the importer on PostgreSQL, in its own dialect, under our own account.

``CRYSTAL_SEARCH_SCHEDULES_PG=200`` runs as many as the project promises; `make test` runs the first of them, CI all. Needs
Debian's postgresql.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from interleaving import BARCODE, NAMES
from postgres_xtaltrak import SQL, Postgres, PostgresXtalTrak
from scored_lab import Lab, Shot, drop_of, image_name, taken_at

from crystal_search import xtaltrak as xtaltrak_module
from crystal_search.errors import UsageError
from crystal_search.ledger import Ledger, open_ledger
from crystal_search.service import Stop
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.finalize import finalize_round
from finalizer.set_autoscore import set_autoscore_round
from finalizer.undo import undo_batch

SCHEDULES = int(os.environ.get("CRYSTAL_SEARCH_SCHEDULES_PG", "12"))
SHOTS: tuple[Shot, ...] = tuple((label, number) for label in ("A01a", "B01a", "C01a", "D01a", "E01a", "F01a") for number in (1, 8))
ROW = "SCOREID, INSPECTID, IMAGENAME, SCORE, SCOREDATE, SCOREDBY"

#: Rows of ours that were committed after a person's on the same drop: the importer had to see that.
LATE = """
SELECT own.SCOREID
FROM I_SCORES own
JOIN I_INSPECTIONS mine ON mine.INSPECTID = own.INSPECTID
JOIN I_INSPECTIONS other
    ON other.BARCODEID = mine.BARCODEID AND other.COL = mine.COL AND other.I_ROW = mine.I_ROW AND other.SUBWELL = mine.SUBWELL
JOIN I_SCORES person ON person.INSPECTID = other.INSPECTID AND COALESCE(person.SCOREDBY, 'nobody') <> 'ARTscore'
WHERE own.SCOREDBY = 'ARTscore' AND PG_XACT_COMMIT_TIMESTAMP(own.XMIN) > PG_XACT_COMMIT_TIMESTAMP(person.XMIN)
"""


class PostgresLab(Lab):
    """A lab with a ledger of ours, whose XtalTrak is a PostgreSQL database."""

    def start_server(self, server: Postgres, ledger: Ledger) -> PostgresLab:
        self.server, self.shared = server, ledger
        self.dba = server.connect("dba")
        self.dba.autocommit = True
        self._numbers = {shot: number for number, shot in enumerate(SHOTS, start=1)}
        self._passes = 0
        for shot, number in self._numbers.items():
            drop = drop_of(shot[0])
            values = (number, BARCODE, shot[1], taken_at(shot[1]), drop.well.column, drop.well.row, drop.subwell)
            self.dba.execute("INSERT INTO I_INSPECTIONS VALUES (%s, %s, %s, %s, %s, %s, %s)", values)
            self.dba.execute("INSERT INTO I_IMAGES VALUES (%s, %s)", (number, image_name(*shot)))
        return self

    def inspection(self, label: str, number: int, barcode: str = BARCODE) -> int:
        return self._numbers[label, number]

    def another_pass(self, chance: random.Random) -> str:
        self._passes += 1
        return self.batch({shot: chance.choice(NAMES) for shot in SHOTS}, scoring=f'{{"step":{self._passes}}}')

    def rows(self, which: str = "TRUE") -> list[tuple[Any, ...]]:
        return self.dba.execute(f"SELECT {ROW} FROM I_SCORES WHERE {which} ORDER BY SCOREID").fetchall()


PEOPLE = "SCOREDBY IS DISTINCT FROM 'ARTscore'"


@dataclass
class Person:
    """Somebody with a session of their own; ``have`` is what they know their rows to be, whatever we do."""

    connection: psycopg.Connection[Any]
    name: str | None
    first_number: int
    chance: random.Random
    have: dict[int, tuple[Any, ...]] = field(default_factory=dict)

    def act(self, numbers: dict[Shot, int]) -> None:
        """One transaction, which may take its time before the commit."""
        deed = self.chance.choice([self.score, self.score, self.withdraw, self.withdraw, self.rescore, self.take_over])
        changes = deed(numbers)
        if self.chance.random() < 0.5:
            time.sleep(self.chance.random() * 0.01)
        self.connection.commit()
        for number, row in changes.items():
            if row is None:
                del self.have[number]
            else:
                self.have[number] = row

    def score(self, numbers: dict[Shot, int]) -> dict[int, tuple[Any, ...] | None]:
        shot = self.chance.choice(SHOTS)
        self.first_number += 1
        day = taken_at(shot[1]) + timedelta(days=self.chance.choice([-400, 1]))
        image = image_name(*shot) if self.chance.random() < 0.8 else None
        row = (self.first_number, numbers[shot], image, self.chance.choice(["11", "23", None]), day, self.name)
        self.connection.execute(f"INSERT INTO I_SCORES ({ROW}) VALUES (%s, %s, %s, %s, %s, %s)", row)
        return {row[0]: row}

    def withdraw(self, _: dict[Shot, int]) -> dict[int, tuple[Any, ...] | None]:
        if not self.have:
            return {}
        number = self.chance.choice(sorted(self.have))
        gone = self.connection.execute(f"DELETE FROM I_SCORES WHERE SCOREID = %s RETURNING {ROW}", (number,)).fetchall()
        assert gone == [self.have[number]], "a person's row changed behind that person's back"
        return {number: None}

    def rescore(self, _: dict[Shot, int]) -> dict[int, tuple[Any, ...] | None]:
        if not self.have:
            return {}
        number = self.chance.choice(sorted(self.have))
        changed = self.connection.execute(f"UPDATE I_SCORES SET SCORE = '31' WHERE SCOREID = %s RETURNING {ROW}", (number,)).fetchall()
        assert changed == [(*self.have[number][:3], "31", *self.have[number][4:])], "a person's row changed behind that person's back"
        return {number: changed[0]}

    def take_over(self, _: dict[Shot, int]) -> dict[int, tuple[Any, ...] | None]:
        """A program writes this person's name into a row of ours."""
        found = self.connection.execute("SELECT SCOREID FROM I_SCORES WHERE SCOREDBY = 'ARTscore' ORDER BY RANDOM() LIMIT 1").fetchall()
        if not found:
            return {}
        sql = f"UPDATE I_SCORES SET SCOREDBY = %s, SCORE = '33' WHERE SCOREID = %s AND SCOREDBY = 'ARTscore' RETURNING {ROW}"
        return {row[0]: row for row in self.connection.execute(sql, (self.name, *found[0])).fetchall()}


@pytest.fixture(scope="module")
def lab() -> Iterator[PostgresLab]:
    shared_memory = Path("/dev/shm")  # the ledger brings every commit to the disk, which is not what is tried here
    folder = Path(tempfile.mkdtemp(dir=shared_memory if shared_memory.is_dir() else None))
    server = Postgres()
    scored = PostgresLab(folder)
    try:
        with open_ledger(scored.settings.ledger_url) as ledger:
            yield scored.start_server(server, ledger)
            scored.dba.close()
    finally:
        server.close()
        shutil.rmtree(folder)


def play(lab: PostgresLab, seed: int, without_lock: bool = False) -> None:
    """Two people act as they like while we finalize, import and undo; then the table is looked at."""
    chance = random.Random(seed)
    lab.dba.execute("DELETE FROM I_SCORES")
    names: list[str | None] = ["Berta", None]
    people = [Person(lab.server.connect("dba"), name, 1000 * n, random.Random(seed * 10 + n)) for n, name in enumerate(names)]
    done = threading.Event()
    trouble: list[BaseException] = []

    def live(person: Person) -> None:
        try:
            while not done.is_set():
                person.act(lab._numbers)
                done.wait(person.chance.random() * 0.1)  # so that there are drops that nobody has scored
        except BaseException as error:
            trouble.append(error)

    sessions = [threading.Thread(target=live, args=(person,)) for person in people]
    batches = [lab.another_pass(chance)]
    ledger, stop = lab.shared, Stop()
    assert ledger is not None
    late: list[Any] = []
    with ExitStack() as stack:
        xtaltrak = stack.enter_context(PostgresXtalTrak(lab.server, without_lock))
        for person in people:
            stack.callback(person.connection.close)
        table = ScoreTable(xtaltrak, "drop")
        for session in sessions:
            session.start()
        try:
            for _ in range(3):
                finalize_round(lab.settings, ledger, table, stop)
                assert set_autoscore_round(lab.settings, ledger, table, stop) == []
                late += lab.dba.execute(LATE).fetchall()
                if chance.random() < 0.4:
                    with suppress(UsageError):
                        undo_batch(lab.settings, ledger, table, chance.choice(batches))
                batches.append(lab.another_pass(chance))
        finally:
            done.set()
            for session in sessions:
                session.join(60)
        assert trouble == []
        assert late == [], "an automatic score was committed beside a person's"
        finalize_round(lab.settings, ledger, table, stop)
        set_autoscore_round(lab.settings, ledger, table, stop)
        alone = sorted(row for person in people for row in person.have.values())
        assert lab.rows(PEOPLE) == alone, "people's rows are those of a lab without us"
        drops = "COUNT(DISTINCT SCOREDBY IS NOT DISTINCT FROM 'ARTscore')"
        both = f"SELECT COL FROM I_SCORES JOIN I_INSPECTIONS USING (INSPECTID) GROUP BY COL, I_ROW, SUBWELL HAVING {drops} > 1"
        assert lab.dba.execute(both).fetchall() == [], "a drop shows people's scores and ours"
        rows = lab.rows()
        set_autoscore_round(lab.settings, ledger, table, stop)
        assert lab.rows() == rows, "the same again writes nothing"
        for batch in reversed(batches):
            undo_batch(lab.settings, ledger, table, batch)
        assert lab.rows() == alone, "import and undo leave what people wrote"


def test_two_people_and_the_importer_at_once(lab: PostgresLab) -> None:
    for seed in range(SCHEDULES):
        try:
            play(lab, seed)
        except Exception as error:
            raise AssertionError(f"schedule {seed}: {error}") from error


# ---- the lock -----------------------------------------------------------------------------------------------------------


def a_person_commits_while_we_write(lab: PostgresLab, without_lock: bool) -> list[tuple[Any, ...]]:
    """A person has scored and not committed yet when our import comes to the table; returns what the drop shows in the end."""
    lab.dba.execute("DELETE FROM I_SCORES")
    lab.another_pass(random.Random(1))
    ledger = lab.shared
    assert ledger is not None
    with closing(lab.server.connect("dba")) as person, PostgresXtalTrak(lab.server, without_lock) as xtaltrak:
        person.execute(f"INSERT INTO I_SCORES ({ROW}) VALUES (1, 1, NULL, '11', NULL, 'Berta')")
        table = ScoreTable(xtaltrak, "drop")
        finalize_round(lab.settings, ledger, table, Stop())
        importer = threading.Thread(target=set_autoscore_round, args=(lab.settings, ledger, table, Stop()))
        importer.start()
        waiting = "SELECT 1 FROM pg_locks WHERE NOT GRANTED"
        while importer.is_alive() and not lab.dba.execute(waiting).fetchall():
            time.sleep(0.01)
        person.commit()
        importer.join(60)
    return lab.dba.execute("SELECT SCORE, SCOREDBY FROM I_SCORES WHERE INSPECTID IN (1, 2) ORDER BY SCOREID").fetchall()


def test_with_the_lock_we_wait_for_a_person_who_is_about_to_commit(lab: PostgresLab) -> None:
    assert a_person_commits_while_we_write(lab, without_lock=False) == [("11", "Berta")]


def test_without_the_lock_the_same_moment_leaves_our_score_beside_theirs(lab: PostgresLab) -> None:
    """So the test above is able to fail."""
    assert [scorer for _, scorer in a_person_commits_while_we_write(lab, without_lock=True)] == ["Berta", "ARTscore", "ARTscore"]


# ---- the database sees to it ----------------------------------------------------------------------------------------------

REFUSED: dict[str, str] = {
    "an update of the table": "UPDATE I_SCORES SET SCORE = '31'",
    "a delete from the table": "DELETE FROM I_SCORES",
    "an insert into the table": f"INSERT INTO I_SCORES ({ROW}) VALUES (7, 1, NULL, '01', NULL, 'ARTscore')",
    "a person's row through the view": f"INSERT INTO ARTSCORES_OWN ({ROW}) VALUES (7, 1, NULL, '01', NULL, 'Berta')",
    "our row given to a person": "UPDATE ARTSCORES_OWN SET SCOREDBY = 'Berta'",
    "our row given to nobody": "UPDATE ARTSCORES_OWN SET SCOREDBY = NULL",
    "another view": "CREATE VIEW MINE AS SELECT * FROM I_SCORES",
}


@pytest.mark.parametrize("what", REFUSED)
def test_our_account_is_refused(lab: PostgresLab, what: str) -> None:
    lab.dba.execute("DELETE FROM I_SCORES")
    for number, scorer in ((1, "Berta"), (2, "ARTscore"), (3, None)):
        lab.dba.execute(f"INSERT INTO I_SCORES ({ROW}) VALUES (%s, 1, NULL, '11', NULL, %s)", (number, scorer))
    before = lab.rows()
    refused = (psycopg.errors.InsufficientPrivilege, psycopg.errors.WithCheckOptionViolation)
    with closing(lab.server.connect("crystal_search")) as ours, pytest.raises(refused):
        ours.execute(REFUSED[what])  # type: ignore[call-overload]
    assert lab.rows() == before


def test_a_statement_without_any_guard_reaches_our_own_rows_only(lab: PostgresLab) -> None:
    lab.dba.execute("DELETE FROM I_SCORES")
    for number, scorer in ((1, "Berta"), (2, "ARTscore"), (3, None)):
        lab.dba.execute(f"INSERT INTO I_SCORES ({ROW}) VALUES (%s, 1, NULL, '11', NULL, %s)", (number, scorer))
    people = lab.rows(PEOPLE)
    with closing(lab.server.connect("crystal_search")) as ours:
        assert ours.execute("UPDATE ARTSCORES_OWN SET SCORE = '31'").rowcount == 1
        assert ours.execute("DELETE FROM ARTSCORES_OWN").rowcount == 1
        ours.commit()
    assert lab.rows() == people


# ---- it is the same statement -----------------------------------------------------------------------------------------------

ORACLE = Path(xtaltrak_module.__file__).parent / "sql" / "oracle"


def conditions(path: Path) -> str:
    """A statement from its first WHERE on, without what the two dialects write differently."""
    text = re.sub(r"^\s*--.*\n", "", path.read_text(), flags=re.MULTILINE)
    text = re.sub(r"(TO_DATE|CAST)\((:\w+)(, '[^']*'| AS TIMESTAMP)\)", r"\2", text).replace("STRPOS", "INSTR")
    return " ".join(text[text.index("WHERE") :].split())


@pytest.mark.parametrize(
    "name", ["score_insert", "score_update", "score_delete", "score_restore", "score_take_out", "score_displaced", "score_drops"]
)
def test_every_guard_of_oracles_statement_is_in_postgresqls(name: str) -> None:
    assert conditions(SQL / f"{name}.sql") == conditions(ORACLE / f"{name}.sql")
