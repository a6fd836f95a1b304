"""People and importer, interleaved at random on an XtalTrak that speaks Oracle's SQL; what people did is remembered and compared.

The importer is the real one: its services, its ledger, its statement files. Between any two of its statements, when it holds no lock,
people may act. What they did is then done again in a lab without us, and the two have to be the same.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from deeds import Deeds, content
from h2_xtaltrak import H2Connection, H2Lab, H2XtalTrak
from scored_lab import Lab, ScoreTuple, Shot, drop_of, image_name, taken_at

from crystal_search.classes import CLASSES
from crystal_search.errors import UsageError
from crystal_search.ledger import Ledger
from crystal_search.service import Stop
from crystal_search.xtaltrak import Params, Row
from crystal_search.xtaltrak.names import resolve_names
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.finalize import finalize_round
from finalizer.set_autoscore import set_autoscore_round
from finalizer.undo import undo_batch
from finalizer.watch import Watch

#: Two drops, one of them seen three times.
SHOTS: tuple[Shot, ...] = (("A01a", 1), ("A01a", 2), ("A01a", 8), ("B01a", 1))
BARCODE = "CI000001"
NAMES = [known.name for known in CLASSES if known.name != "rim"]
SCORE_COLUMNS = "SCOREID, INSPECTID, IMAGENAME, SCORE, TO_CHAR(SCOREDATE, 'YYYY-MM-DD HH24:MI:SS'), SCOREDBY"

#: People's scores on the drop of a row of ours that says what we wrote.
BESIDE = """
SELECT person.SCOREID
FROM I_SCORES own
JOIN I_INSPECTIONS mine ON mine.INSPECTID = own.INSPECTID
JOIN I_INSPECTIONS other
    ON other.BARCODEID = mine.BARCODEID AND other.COL = mine.COL AND other.I_ROW = mine.I_ROW AND other.SUBWELL = mine.SUBWELL
JOIN I_SCORES person ON person.INSPECTID = other.INSPECTID AND COALESCE(person.SCOREDBY, 'nobody') <> :scorer
WHERE own.SCOREID = :score_id AND own.SCORE = :score AND own.SCOREDBY = :scorer
"""

Mutation = Callable[[str], str]


class MutatedXtalTrak(H2XtalTrak):
    """H2 with some statement changed, and something that happens between any two statements of ours while no lock is held."""

    def __init__(self, connection: H2Connection, mutations: Mapping[str, Mutation], happens: Callable[[], None]) -> None:
        super().__init__(connection, resolve_names({"ARTSCORES_OWN": "I_SCORES"}))
        self._mutations = mutations
        self._happens = happens
        self._written: list[Params] = []  # what the open transaction inserted or updated beside nobody's score, as it should be

    def execute(self, name: str, params: Params | None = None) -> int:
        self._meanwhile()
        return super().execute(name, params)

    def executemany(self, name: str, rows: Iterable[Params]) -> int:
        self._meanwhile()
        rows = list(rows)
        if name in ("score_insert", "score_update"):
            self._written += rows
        return super().executemany(name, rows)

    def query(self, name: str, params: Params | None = None) -> list[Row]:
        self._meanwhile()
        return super().query(name, params)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._meanwhile()
        self._written = []
        with super().transaction():
            yield
        self._check_commit()

    def _check_commit(self) -> None:
        """What was committed right now stands beside no person's score; one who comes later displaces it."""
        for row in self._written:
            stands = {"score_id": row["score_id"], "score": row["score"], "scorer": self.scorer}
            beside = self._connection.cursor().execute(BESIDE, stands).fetchall()
            assert beside == [], "an automatic score was committed beside a person's"

    def _meanwhile(self) -> None:
        if not self._in_transaction:
            self._happens()

    def _sql(self, name: str) -> str:
        sql = super()._sql(name)
        return self._mutations[name](sql) if name in self._mutations else sql


class H2ScoredLab(Lab):
    """A lab with a ledger of ours, whose XtalTrak is an H2 database: plates, inspections and images are there, scores come and go."""

    def start_h2(self, h2: H2Lab, ledger: Ledger) -> H2ScoredLab:
        self.h2 = h2
        self.shared = ledger
        self._person, self.ours = h2.connect(), h2.connect()
        self._numbers: dict[Shot, int] = {}
        self._passes = 0
        h2.clear()
        for number, shot in enumerate(SHOTS, start=1):
            drop = drop_of(shot[0])
            values = {"id": number, "barcode": BARCODE, "number": shot[1], "day": taken_at(shot[1]).isoformat(sep=" ")}
            h2.execute(
                "INSERT INTO I_INSPECTIONS VALUES (:id, :barcode, :number, TO_DATE(:day, 'YYYY-MM-DD HH24:MI:SS'), :col, :row, :sub)",
                **values,
                col=drop.well.column,
                row=drop.well.row,
                sub=drop.subwell,
            )
            h2.execute("INSERT INTO I_IMAGES VALUES (:id, :name)", id=number, name=image_name(*shot))
            self._numbers[shot] = number
        return self

    def inspection(self, label: str, number: int, barcode: str = BARCODE) -> int:
        return self._numbers[label, number]

    def change(self, sql: str, **binds: Any) -> None:
        """A statement of a person's program, with the lock that Oracle would take for it, and its commit."""
        self.h2.person_lock(self._person)
        self._person.execute(sql, **binds)
        self._person.commit()

    def scores(self) -> list[ScoreTuple]:
        rows = self._person.execute(f"SELECT {SCORE_COLUMNS} FROM I_SCORES ORDER BY SCOREID")
        self._person.commit()
        return rows  # type: ignore[return-value]

    def another_pass(self, answers: Mapping[Shot, str]) -> str:
        """A batch whose results are here; each is a pass of its own over the same images."""
        self._passes += 1
        return self.batch(answers, scoring=f'{{"step":{self._passes}}}')


@dataclass
class People:
    """People who score, think better of it, and take over rows of ours; what they did is remembered."""

    lab: H2ScoredLab
    chance: random.Random
    deeds: Deeds = field(default_factory=Deeds)
    number: int = 0

    def act(self) -> None:
        before = self.rows()
        deed = self.chance.choices([self.score, self.withdraw, self.rescore, self.confirm, self.take_over], [5, 3, 2, 1, 3])[0]
        deed()
        after = self.rows()
        self.deeds.note(before, after)

    def rows(self) -> Counter[tuple[Any, ...]]:
        return content(row for row in self.lab.scores() if row[5] != "ARTscore")

    def score(self) -> None:
        self.number += 1
        shot = self.chance.choice(SHOTS)
        self.lab.change(
            "INSERT INTO I_SCORES VALUES (:id, :inspection, :score, TO_DATE(:day, 'YYYY-MM-DD HH24:MI:SS'), :image, :scorer)",
            id=self.number,
            inspection=self.lab.inspection(*shot),
            score=self.chance.choice(["11", "23", None]),
            day=(taken_at(shot[1]) + timedelta(days=self.chance.choice([-400, 1, 2]))).isoformat(sep=" "),
            image=image_name(*shot) if self.chance.random() < 0.8 else None,
            scorer=self.chance.choice(["Berta", "Carl", "artscore", None]),
        )

    def withdraw(self) -> None:
        self._one("DELETE FROM I_SCORES WHERE SCOREID = :id", ours=False)

    def rescore(self) -> None:
        self._one("UPDATE I_SCORES SET SCORE = '31' WHERE SCOREID = :id", ours=False)

    def confirm(self) -> None:
        self._one("UPDATE I_SCORES SET SCOREDBY = 'Dora' WHERE SCOREID = :id", ours=True)

    def take_over(self) -> None:
        self._one("UPDATE I_SCORES SET SCOREDBY = NULL, SCORE = '33', SCOREDATE = DATE '2025-01-01' WHERE SCOREID = :id", ours=True)

    def _one(self, sql: str, ours: bool) -> None:
        rows = [row for row in self.lab.scores() if (row[5] == "ARTscore") is ours]
        if rows:
            self.lab.change(sql, id=self.chance.choice(rows)[0])


def play(lab: H2ScoredLab, seed: int, mutations: Mapping[str, Mutation] | None = None) -> None:
    """One random schedule; fails when a rule is broken."""
    chance = random.Random(seed)
    lab.change("DELETE FROM I_SCORES")
    people = People(lab, chance)
    batches: list[str] = []
    stop, settings, ledger = Stop(), lab.settings, lab.shared
    assert ledger is not None

    def sometimes() -> None:
        if chance.random() < 0.25:
            people.act()

    def start_batch() -> None:
        batches.append(lab.another_pass({shot: chance.choice(NAMES) for shot in SHOTS}))

    def undo_some() -> None:
        with suppress(UsageError):  # it is open
            undo_batch(settings, ledger, table, chance.choice(batches))

    table = ScoreTable(MutatedXtalTrak(lab.ours, mutations or {}, sometimes), "drop")
    quiet = ScoreTable(MutatedXtalTrak(lab.ours, {}, lambda: None), "drop")
    watch = Watch() if chance.random() < 0.5 else None  # a service's memory from round to round, or that of --once
    start_batch()
    for _ in range(chance.randint(2, 4)):
        step = chance.choices(["batch", "import", "undo", "people"], [2, 5, 1, 1])[0]
        if step == "batch" and len(batches) < 2:
            start_batch()
        elif step == "undo":
            undo_some()
        elif step == "people":
            people.act()
        else:
            finalize_round(settings, ledger, quiet, stop)
            assert set_autoscore_round(settings, ledger, table, stop, watch=watch) == []
    _check_end(lab, people, quiet, batches)


def _check_end(lab: H2ScoredLab, people: People, quiet: ScoreTable, batches: list[str]) -> None:
    """After a round in which nobody disturbs us all rules hold, and undo leaves what people wrote."""
    ledger, stop = lab.shared, Stop()
    assert ledger is not None
    finalize_round(lab.settings, ledger, quiet, stop)
    set_autoscore_round(lab.settings, ledger, quiet, stop)
    rows = lab.scores()
    assert people.rows() == people.deeds.alone(), "people's rows are those of a lab without us"
    drops = {lab.inspection(*shot): shot[0] for shot in SHOTS}
    shown: dict[str, set[bool]] = {}
    for row in rows:
        shown.setdefault(drops[row[1]], set()).add(row[5] == "ARTscore")
    assert all(len(kinds) == 1 for kinds in shown.values()), "a drop shows people's scores and ours"
    ours = [row for row in rows if row[5] == "ARTscore"]
    assert len({row[1:3] for row in ours}) == len(ours), "an image is scored twice"
    assert {row[4] for row in ours} <= {taken_at(shot[1]).isoformat(sep=" ") for shot in SHOTS}, "dated to the inspection"
    set_autoscore_round(lab.settings, ledger, quiet, stop)
    assert lab.scores() == rows, "the same again writes nothing"
    for batch in reversed(batches):
        undo_batch(lab.settings, ledger, quiet, batch)
    assert content(lab.scores()) == people.deeds.alone(), "import and undo leave what people wrote"
