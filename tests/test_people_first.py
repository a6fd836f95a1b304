"""A person's score is never touched, and where one is, XtalTrak shows no other (P28, write-back rules 1-3).

The random part lets people act between any two statements of the importer, and compares what people wrote with the same actions in
a lab without us. Statements with a guard taken out must fail it.
"""

from __future__ import annotations

import random
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from deeds import Deeds, content
from scored_lab import Lab, Shot, image_name

from crystal_search import xtaltrak as xtaltrak_module
from crystal_search.classes import CLASSES
from crystal_search.errors import UsageError
from crystal_search.service import Stop
from crystal_search.xtaltrak import Row, XtalTrak, open_xtaltrak
from crystal_search.xtaltrak.names import statement
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.finalize import finalize_round
from finalizer.set_autoscore import set_autoscore_round
from finalizer.undo import undo_batch

FIRST, SECOND = ("A01a", 1), ("A01a", 2)  # two inspections of one drop
OTHER = ("B01a", 1)


@pytest.fixture(scope="module")
def empty_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("empty") / "lab").create()
    lab.inspect(FIRST, SECOND, OTHER)
    return lab


@pytest.fixture
def lab(empty_lab: Lab, tmp_path: Path) -> Lab:
    return empty_lab.copy(tmp_path / "lab")


def score_all(lab: Lab, class_name: str = "crystals_harvestable", scoring: str = "{}") -> str:
    return lab.batch({FIRST: class_name, SECOND: class_name, OTHER: class_name}, scoring=scoring)


# ---- one person, at each stage ----------------------------------------------------------------------------------------

PEOPLE: dict[str, dict[str, Any]] = {
    "a score": {"score": "11"},
    "at another inspection": {"score": "11"},
    "no name": {"score": "11", "scorer": None},
    "no image": {"score": "11", "image": False},
    "no score": {"score": None},
    "dated before us": {"score": "11", "days": -400},
    "our score": {"score": "23"},
    "nearly our name": {"score": "11", "scorer": "artscore"},
}


@pytest.mark.parametrize("how", PEOPLE)
@pytest.mark.parametrize("stage", ["before", "between", "after"])
def test_a_persons_score_stays_and_is_the_only_one_on_its_drop(lab: Lab, stage: str, how: str) -> None:
    shot = SECOND if how == "at another inspection" else FIRST
    if stage == "before":
        lab.person(*shot, **PEOPLE[how])
    score_all(lab)
    lab.finalize()
    if stage == "between":
        lab.person(*shot, **PEOPLE[how])
    lab.set_autoscore()
    if stage == "after":
        assert lab.shown()["A01a"] == [("23", "ARTscore")] * 2
        lab.person(*shot, **PEOPLE[how])
    people = lab.people()
    lab.finish()
    expected = {"score": None, "scorer": "Berta", **PEOPLE[how]}
    assert lab.people() == people
    assert len(people) == 1
    assert lab.shown() == {"A01a": [(expected["score"], expected["scorer"])], "B01a": [("23", "ARTscore")]}


def test_what_was_taken_out_is_noted_and_not_undone_again(lab: Lab) -> None:
    batch = score_all(lab)
    lab.finish()
    lab.person(*FIRST, "11")
    lab.finish()
    states = "SELECT inspection_id, state FROM writes ORDER BY inspection_id"
    assert [state for _, state in lab.ledger_rows(states)] == ["undone", "undone", "written"]
    people = lab.scores()[:1]
    assert lab.undo(batch).taken_back == 1
    assert lab.scores() == people


def test_undo_makes_room_for_a_person_first(lab: Lab) -> None:
    """Taking an update back would put our former score beside the person's."""
    score_all(lab, "clear")
    lab.finish()
    second = score_all(lab, "other", scoring='{"step":16}')
    lab.finish()
    lab.person(*FIRST, "11")
    lab.undo(second)
    assert lab.shown() == {"A01a": [("11", "Berta")], "B01a": [("01", "ARTscore")]}


def test_a_batch_in_the_middle_is_undone_after_those_that_came_later(lab: Lab) -> None:
    """The third brings the first one's score back: so the row looks as if the second were undone, and it is not."""
    batches = []
    for step, class_name in enumerate(("clear", "other", "clear")):
        batches.append(score_all(lab, class_name, scoring=f'{{"step":{step}}}'))
        lab.finish()
    shown = lab.shown()
    undone = lab.undo(batches[1])
    assert (undone.taken_back, len(undone.left)) == (0, 3)
    assert lab.shown() == shown
    scores = []
    for batch in reversed(batches):
        assert lab.undo(batch).left == ()
        scores.append({score for rows in lab.shown().values() for score, _ in rows})
    assert scores == [{"33"}, {"01"}, set()]


def test_a_row_of_ours_that_a_person_took_over_is_theirs(lab: Lab) -> None:
    """Some programs keep one row an image and write a person's score into it."""
    batch = score_all(lab)
    lab.finish()
    lab.execute("UPDATE I_SCORES SET SCOREDBY = 'Berta' WHERE IMAGENAME = ?", image_name(*OTHER))
    lab.finish()
    assert len(lab.undo(batch).left) == 1
    assert lab.shown() == {"B01a": [("23", "Berta")]}


def test_protection_by_image_leaves_the_rest_of_the_drop_to_us(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab", {"protect": "image"}).create()
    lab.inspect(FIRST, SECOND, OTHER)
    lab.person(*FIRST, "11")
    score_all(lab)
    lab.finish()
    lab.person(*OTHER, "12", image=False)
    lab.finish()
    assert lab.shown() == {"A01a": [("11", "Berta"), ("23", "ARTscore")], "B01a": [("12", "Berta")]}
    ours = lab.scores()[-1]
    assert ours[2] == image_name(*SECOND)


def test_every_artscore_is_kept_the_withheld_ones_too(lab: Lab) -> None:
    lab.person(*FIRST, "11")
    score_all(lab)
    lab.finish()
    assert lab.ledger_rows("SELECT score FROM artscores") == [("23",)] * 3


# ---- somebody else bears our name -------------------------------------------------------------------------------------

WARNING = "I_SCORES holds {} rows of scorer 'ARTscore' that this ledger did not write: they are left as they are"


def test_an_earlier_systems_rows_are_left_as_they_are(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    """Also beside a person's score, and whatever we undo."""
    lab.execute(
        "INSERT INTO I_SCORES (SCOREID, INSPECTID, SCORE, SCOREDATE, IMAGENAME, SCOREDBY) "
        "VALUES (77, ?, '13', '2020-01-01 00:00:00', ?, 'ARTscore')",
        lab.inspection(*FIRST),
        image_name(*FIRST),
    )
    lab.person(*SECOND, "11")
    before = lab.scores()
    batch = score_all(lab)
    lab.finish()
    assert caplog.text.count(WARNING.format(1)) == 1
    assert [row for row in lab.scores() if row[1] != lab.inspection(*OTHER)] == before
    assert ours_on(lab, OTHER) == ["23"]
    assert lab.undo(batch).taken_back == 1
    lab.finish()
    assert lab.scores() == before


@pytest.mark.parametrize("image", [True, False])
@pytest.mark.parametrize("stage", ["before", "between", "after"])
def test_a_person_who_bears_our_name_is_a_person(lab: Lab, stage: str, image: bool) -> None:
    def scores() -> None:
        lab.person(*SECOND, "11", "ARTscore", image=image)

    if stage == "before":
        scores()
    batch = score_all(lab)
    lab.finalize()
    if stage == "between":
        scores()
    lab.set_autoscore()
    if stage == "after":
        scores()
    lab.finish()
    assert lab.shown() == {"A01a": [("11", "ARTscore")], "B01a": [("23", "ARTscore")]}
    score_all(lab, "other", scoring='{"step":16}')
    lab.finish()
    assert lab.shown() == {"A01a": [("11", "ARTscore")], "B01a": [("33", "ARTscore")]}
    lab.undo(batch)
    assert lab.shown()["A01a"] == [("11", "ARTscore")]


@pytest.mark.parametrize("scorer", ["Berta", "ARTscore"])
def test_a_person_who_got_the_number_of_a_row_that_we_took_back_keeps_the_row(lab: Lab, scorer: str) -> None:
    """We were killed after the delete and before we looked."""
    batch = score_all(lab)
    lab.finish()
    (ours,) = (row for row in lab.scores() if row[2] == image_name(*OTHER))
    lab.execute("DELETE FROM I_SCORES WHERE SCOREID = ?", ours[0])
    lab.execute("INSERT INTO I_SCORES VALUES (?, ?, '11', '2024-05-01 00:00:00', ?, ?)", ours[0], ours[1], ours[2], scorer)
    connection = sqlite3.connect(lab.settings.paths.state / "ledger.sqlite")
    with connection:
        connection.execute("UPDATE writes SET state = 'removing'")
    connection.close()
    lab.finish()
    state = f"SELECT state FROM writes WHERE score_id = {ours[0]}"
    assert lab.ledger_rows(state) == [("undone",)]
    assert lab.undo(batch).taken_back == 2
    assert lab.shown() == {"B01a": [("11", scorer)]}


# ---- somebody acts between our look and our lock ------------------------------------------------------------------------


def meanwhile(action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``action`` happen once, right before the next time that we take the lock."""
    locked, waiting = ScoreTable.locked, [action]

    def late(table: ScoreTable) -> AbstractContextManager[None]:
        if waiting:
            waiting.pop()()
        return locked(table)

    monkeypatch.setattr(ScoreTable, "locked", late)


def ours_on(lab: Lab, shot: Shot) -> list[str | None]:
    """Our scores of an image."""
    return [row[3] for row in lab.scores() if row[2] == image_name(*shot) and row[5] == "ARTscore"]


def becomes_bertas(lab: Lab, shot: Shot) -> None:
    """A program writes a person's name into the row that is there."""
    lab.execute("UPDATE I_SCORES SET SCOREDBY = 'Berta' WHERE IMAGENAME = ? AND SCOREDBY = 'ARTscore'", image_name(*shot))


def a_person_scores_before_our_insert(lab: Lab, patch: pytest.MonkeyPatch, **how: Any) -> None:
    score_all(lab)
    lab.finalize()
    meanwhile(lambda: lab.person(*SECOND, **{"score": "11", **how}), patch)
    assert lab.set_autoscore() == []
    assert ours_on(lab, FIRST) == ours_on(lab, SECOND) == []
    assert ours_on(lab, OTHER) == ["23"]


def nobody_in_particular_scores_before_our_insert(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    a_person_scores_before_our_insert(lab, patch, scorer=None)


def a_namesake_scores_before_our_insert(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    score_all(lab)
    lab.finalize()
    meanwhile(lambda: lab.person(*SECOND, "11", "ARTscore"), patch)
    assert lab.set_autoscore() == []
    assert lab.shown() == {"A01a": [("11", "ARTscore")], "B01a": [("23", "ARTscore")]}


def a_namesake_scores_before_our_update(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    score_all(lab, "clear")
    lab.finish()
    score_all(lab, "other", scoring='{"step":16}')
    lab.finalize()
    meanwhile(lambda: lab.person(*SECOND, "11", "ARTscore"), patch)
    assert lab.set_autoscore() == []
    assert ours_on(lab, FIRST) == ["01"], "as it was; the next round takes it out"
    assert ours_on(lab, SECOND) == ["11", "01"]
    assert ours_on(lab, OTHER) == ["33"]


def a_namesake_scores_after_us(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    score_all(lab)
    lab.finish()
    lab.person(*FIRST, "11", "ARTscore")
    lab.finish()
    assert lab.shown() == {"A01a": [("11", "ARTscore")], "B01a": [("23", "ARTscore")]}


def nobody_takes_our_row_over_before_our_insert(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    """The row is still among the numbers that we took for ours."""
    lab.batch({FIRST: "clear"})
    lab.finish()
    lab.batch({SECOND: "clear"})
    lab.finalize()
    meanwhile(lambda: lab.execute("UPDATE I_SCORES SET SCOREDBY = NULL"), patch)
    assert lab.set_autoscore() == []
    assert lab.shown() == {"A01a": [("01", None)]}


def another_importer_of_ours_is_quicker(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    score_all(lab)
    lab.finalize()
    meanwhile(lambda: lab.person(*OTHER, "23", "ARTscore"), patch)
    assert lab.set_autoscore() == []
    assert ours_on(lab, OTHER) == ["23"]


def a_person_scores_before_our_update(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    score_all(lab, "clear")
    lab.finish()
    score_all(lab, "other", scoring='{"step":16}')
    lab.finalize()
    meanwhile(lambda: lab.person(*SECOND, "11"), patch)
    assert lab.set_autoscore() == []
    assert ours_on(lab, FIRST) == ["01"], "as it was; the next round takes it out"
    assert ours_on(lab, OTHER) == ["33"]


def a_person_takes_our_row_over_before_our_update(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    score_all(lab, "clear")
    lab.finish()
    score_all(lab, "other", scoring='{"step":16}')
    lab.finalize()
    meanwhile(lambda: becomes_bertas(lab, OTHER), patch)
    assert lab.set_autoscore() == []
    assert lab.shown()["B01a"] == [("01", "Berta")]


def a_person_takes_our_row_over_before_it_is_taken_out(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    score_all(lab)
    lab.finish()
    lab.person(*FIRST, "11")
    meanwhile(lambda: becomes_bertas(lab, SECOND), patch)
    assert lab.set_autoscore() == []
    assert sorted(lab.shown()["A01a"], key=repr) == [("11", "Berta"), ("23", "Berta")]


def a_person_withdraws_before_our_row_is_taken_out(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    score_all(lab)
    lab.finish()
    lab.person(*FIRST, "11")
    meanwhile(lambda: lab.execute("DELETE FROM I_SCORES WHERE SCOREDBY = 'Berta'"), patch)
    assert lab.set_autoscore() == []
    assert lab.shown().get("A01a") == [("23", "ARTscore")] * 2
    assert {state for (state,) in lab.ledger_rows("SELECT state FROM writes")} == {"written"}


def a_person_takes_our_row_over_before_undo(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    batch = score_all(lab)
    lab.finish()
    meanwhile(lambda: becomes_bertas(lab, OTHER), patch)
    assert len(lab.undo(batch).left) == 1
    assert lab.shown() == {"B01a": [("23", "Berta")]}


def a_person_takes_our_row_over_before_undo_of_an_update(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    score_all(lab, "clear")
    lab.finish()
    batch = score_all(lab, "other", scoring='{"step":16}')
    lab.finish()
    meanwhile(lambda: becomes_bertas(lab, OTHER), patch)
    assert len(lab.undo(batch).left) == 1
    assert lab.shown() == {"A01a": [("01", "ARTscore")] * 2, "B01a": [("33", "Berta")]}


def our_row_changes_before_undo(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    batch = score_all(lab)
    lab.finish()
    meanwhile(lambda: lab.execute("UPDATE I_SCORES SET SCORE = '31' WHERE IMAGENAME = ?", image_name(*OTHER)), patch)
    assert len(lab.undo(batch).left) == 1
    assert lab.shown() == {"B01a": [("31", "ARTscore")]}


def a_person_scores_after_us(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    score_all(lab)
    lab.finish()
    lab.person(*FIRST, "11", None)
    lab.finish()
    assert lab.shown() == {"A01a": [("11", None)], "B01a": [("23", "ARTscore")]}


Race = Callable[[Lab, pytest.MonkeyPatch], None]
RACES: list[Race] = [
    a_person_scores_before_our_insert,
    nobody_in_particular_scores_before_our_insert,
    nobody_takes_our_row_over_before_our_insert,
    a_namesake_scores_before_our_insert,
    a_namesake_scores_before_our_update,
    a_namesake_scores_after_us,
    another_importer_of_ours_is_quicker,
    a_person_scores_before_our_update,
    a_person_takes_our_row_over_before_our_update,
    a_person_takes_our_row_over_before_it_is_taken_out,
    a_person_withdraws_before_our_row_is_taken_out,
    a_person_takes_our_row_over_before_undo,
    a_person_takes_our_row_over_before_undo_of_an_update,
    our_row_changes_before_undo,
    a_person_scores_after_us,
]


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
def test_of_two_that_act_at_once_the_person_is_right(lab: Lab, monkeypatch: pytest.MonkeyPatch, race: Race) -> None:
    race(lab, monkeypatch)


def without(pattern: str, replacement: str = "") -> Callable[[str], str]:
    def change(sql: str) -> str:
        changed, count = re.subn(pattern, replacement, sql, flags=re.DOTALL)
        if count != 1:
            raise ValueError("the mutant is out of date")
        return changed

    return change


SCORER = r"\n    AND SCOREDBY = :scorer(?=\n    AND INSPECTID)"
OWN_ROW = r"\n    AND NOT EXISTS \(\n        SELECT 1\n        FROM I_SCORES own.*?\n    \)"
FOREIGN = r"\n +OR INSTR\(:own_ids, [^\n]*"
NO_PERSON = r"\n    AND NOT EXISTS \(\n        SELECT 1\n        FROM I_INSPECTIONS mine.*$"
NAMELESS = r"person\.SCOREDBY IS NULL OR "


def anybodys(sql: str) -> str:
    """Without both guards: each of them alone would do."""
    return without(NO_PERSON)(without(SCORER)(sql))


def beside_our_own(sql: str) -> str:
    """Likewise: a row of ours that this ledger does not know is a person's."""
    return without(FOREIGN)(without(OWN_ROW)(sql))


#: What is left out of which statement, and who notices.
MUTANTS: dict[str, tuple[str, Callable[[str], str], Race]] = {
    "insert beside people": ("score_insert", without(NO_PERSON), a_person_scores_before_our_insert),
    "insert beside our own": ("score_insert", beside_our_own, another_importer_of_ours_is_quicker),
    "insert beside the nameless": ("score_insert", without(NAMELESS), nobody_takes_our_row_over_before_our_insert),
    "insert by image": ("score_insert", without(":by_drop = 1", ":by_drop = 2"), a_person_scores_before_our_insert),
    "insert beside a namesake": ("score_insert", without(FOREIGN), a_namesake_scores_before_our_insert),
    "update beside a namesake": ("score_update", without(FOREIGN), a_namesake_scores_before_our_update),
    "taking out of all that bears our name": ("score_take_out", without(FOREIGN), a_namesake_scores_after_us),
    "update beside people": ("score_update", without(NO_PERSON), a_person_scores_before_our_update),
    "update of anybody's row": ("score_update", anybodys, a_person_takes_our_row_over_before_our_update),
    "plain update": ("score_update", without(r"WHERE .*$", "WHERE SCOREID = :score_id"), a_person_scores_before_our_update),
    "undo of anybody's row": ("score_delete", without(SCORER), a_person_takes_our_row_over_before_undo),
    "undo of anybody's update": ("score_restore", without(SCORER), a_person_takes_our_row_over_before_undo_of_an_update),
    "undo of what changed": ("score_delete", without(r"\n    AND SCORE = :score\n.*$"), our_row_changes_before_undo),
    "taking out anybody's row": ("score_take_out", without(SCORER), a_person_takes_our_row_over_before_it_is_taken_out),
    "taking out for nobody": ("score_take_out", without(r"\n    AND EXISTS \(.*$"), a_person_withdraws_before_our_row_is_taken_out),
    "taking out for the named only": ("score_displaced", without(NAMELESS), a_person_scores_after_us),
}


SQL = Path(xtaltrak_module.__file__).parent / "sql"


@pytest.mark.parametrize("path", sorted(SQL.glob("*/score_*.sql")), ids=lambda path: f"{path.parent.name} {path.stem}")
def test_whatever_changes_a_score_names_our_scorer_itself(path: Path) -> None:
    """In both dialects, which also ask for the same parameters."""
    text = re.sub(r"^--.*$", "", path.read_text(), flags=re.MULTILINE)
    assert not re.search(r"(INSERT INTO|UPDATE|DELETE FROM) \{I_SCORES\}", text), "what is written goes through the view"
    if re.match(r"\s*(UPDATE|DELETE FROM) \{ARTSCORES_OWN\}", text):
        assert re.search(r"\nWHERE \{I_SCORES.SCOREID\} = :score_id\n    AND \{I_SCORES.SCOREDBY\} = :scorer\n", text)
    binds = set(re.findall(r":([a-z_]+)", text))
    twins = {twin.parent.name: twin.read_text() for twin in SQL.glob(f"*/{path.name}")}
    assert twins.keys() == {"sqlite", "oracle"}
    assert all(binds == set(re.findall(r":([a-z_]+)", re.sub(r"--.*", "", twin))) for twin in twins.values())


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_statement_without_its_guard_is_found_out(lab: Lab, monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    name, change, race = MUTANTS[mutant]

    def mutated(dialect: str, asked: str, names: Mapping[str, str]) -> str:
        sql = statement(dialect, asked, names)
        return change(sql.replace("ARTSCORES_OWN", "I_SCORES")) if asked == name else sql  # the view would save it

    monkeypatch.setattr(xtaltrak_module, "statement", mutated)
    with pytest.raises(AssertionError):
        race(lab, monkeypatch)


# ---- the database sees to it too ----------------------------------------------------------------------------------------


def test_the_view_takes_rows_of_our_scorer_only(lab: Lab) -> None:
    score_all(lab)
    lab.finish()
    number = lab.person(*OTHER, "11")
    before = lab.scores()
    for values in ("'Berta'", "NULL", "'artscore'"):
        with pytest.raises(sqlite3.IntegrityError, match="only rows of our own scorer"):
            lab.execute(f"INSERT INTO ARTSCORES_OWN (SCOREID, INSPECTID, SCOREDBY) VALUES (5, {lab.inspection(*OTHER)}, {values})")
        with pytest.raises(sqlite3.IntegrityError, match="only rows of our own scorer"):
            lab.execute(f"UPDATE ARTSCORES_OWN SET SCOREDBY = {values}")
    lab.execute("UPDATE ARTSCORES_OWN SET SCORE = '31' WHERE SCOREID = ?", number)
    lab.execute("DELETE FROM ARTSCORES_OWN WHERE SCOREID = ?", number)
    assert lab.scores() == before
    lab.execute("UPDATE ARTSCORES_OWN SET SCORE = '31'")
    assert ours_on(lab, FIRST) == ["31"]
    lab.execute("DELETE FROM ARTSCORES_OWN")
    assert [row[0] for row in lab.scores()] == [number]


@pytest.mark.parametrize("name", ["score_update", "score_delete", "score_restore", "score_take_out"])
def test_a_statement_without_any_guard_does_nothing_to_a_person_through_the_view(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    number = lab.person(*FIRST, "11")
    before = lab.scores()
    bare = without(r"WHERE .*$", "WHERE SCOREID = :score_id")
    monkeypatch.setattr(xtaltrak_module, "statement", lambda *asked: bare(statement(*asked)) if asked[1] == name else statement(*asked))
    values = {"score_id": number, "score": "31", "scored_at": "x", "before_score": "31", "before_scored_at": "x"}
    with open_xtaltrak(lab.settings.xtaltrak) as xtaltrak:
        xtaltrak.execute(name, values)
    assert lab.scores() == before


def test_the_view_is_made_where_it_lacks_and_anew_for_another_scorer(lab: Lab) -> None:
    lab.execute("DROP VIEW ARTSCORES_OWN")  # an embedded XtalTrak of an earlier version

    def version(scorer: str) -> int:
        section = lab.settings.xtaltrak.model_copy(update={"scorer": scorer})
        with open_xtaltrak(section) as xtaltrak, ScoreTable(xtaltrak, "drop").locked():
            pass
        ((made,),) = lab.execute("PRAGMA schema_version")
        return int(made)

    first = version("ARTscore")
    assert version("ARTscore") == first, "it stays where it fits"
    second = version("O'Art\"{x}")
    assert second > first
    assert version("O'Art\"{x}") == second
    lab.execute("INSERT INTO ARTSCORES_OWN (SCOREID, INSPECTID, SCOREDBY) VALUES (5, ?, ?)", lab.inspection(*OTHER), "O'Art\"{x}")
    assert len(lab.scores()) == 1


# ---- people and importer, interleaved at random -------------------------------------------------------------------------

DROPS = ("A01a", "A01c", "A02a")
SHOTS: tuple[Shot, ...] = tuple((label, number) for label in DROPS for number in (1, 2))
NAMES = [known.name for known in CLASSES if known.name != "rim"]


@dataclass
class People:
    """People who score, think better of it, and take over rows of ours; what they did is remembered."""

    lab: Lab
    chance: random.Random
    deeds: Deeds = field(default_factory=Deeds)
    day: int = 0

    def act(self) -> None:
        before = content(self.lab.people())
        deed = self.chance.choices([self.score, self.withdraw, self.rescore, self.confirm, self.take_over], [5, 2, 2, 2, 1])[0]
        deed()
        after = content(self.lab.people())
        self.deeds.note(before, after)

    def score(self) -> None:
        self.day += 1
        shot, named = self.chance.choice(SHOTS), self.chance.random() < 0.8
        scorer = self.chance.choice(["Berta", "Carl", None])
        self.lab.person(*shot, self.chance.choice(["11", "23", None]), scorer, days=self.day, image=named)

    def withdraw(self) -> None:
        self._one("DELETE FROM I_SCORES WHERE SCOREID = ?", ours=False)

    def rescore(self) -> None:
        self._one("UPDATE I_SCORES SET SCORE = '31' WHERE SCOREID = ?", ours=False)

    def confirm(self) -> None:
        self._one("UPDATE I_SCORES SET SCOREDBY = 'Dora' WHERE SCOREID = ?", ours=True)

    def take_over(self) -> None:
        self._one("UPDATE I_SCORES SET SCOREDBY = NULL, SCORE = '33', SCOREDATE = '2025-01-01 00:00:00' WHERE SCOREID = ?", ours=True)

    def _one(self, sql: str, ours: bool) -> None:
        rows = [row for row in self.lab.scores() if (row[5] == "ARTscore") is ours]
        if rows:
            self.lab.execute(sql, self.chance.choice(rows)[0])


class Busy:
    """An XtalTrak in which something happens between any two statements of ours, when no lock is held."""

    def __init__(self, inner: XtalTrak, happens: Callable[[], None]) -> None:
        self._inner = inner
        self._happens = happens
        self._locked = False
        self.scorer = inner.scorer

    def query(self, name: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        self._meanwhile()
        return self._inner.query(name, params)

    def execute(self, name: str, params: Mapping[str, Any] | None = None) -> int:
        self._meanwhile()
        return self._inner.execute(name, params)

    def executemany(self, name: str, rows: Iterable[Mapping[str, Any]]) -> int:
        self._meanwhile()
        return self._inner.executemany(name, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._meanwhile()
        with self._inner.transaction():
            self._locked = True
            try:
                yield
            finally:
                self._locked = False

    def guard_own_rows(self) -> None:
        self._inner.guard_own_rows()

    def _meanwhile(self) -> None:
        if not self._locked:
            self._happens()


def play(lab: Lab, seed: int) -> None:
    """One random schedule; fails when a rule is broken."""
    chance = random.Random(seed)
    people = People(lab, chance)
    batches: list[str] = []
    stop = Stop()

    def sometimes() -> None:
        if chance.random() < 0.15:
            people.act()

    def start_batch() -> None:
        batches.append(lab.batch({shot: chance.choice(NAMES) for shot in SHOTS}, scoring=f'{{"step":{len(batches)}}}'))

    with open_xtaltrak(lab.settings.xtaltrak) as inner, lab.ledger() as ledger:
        lab.shared = ledger
        table = ScoreTable(Busy(inner, sometimes), "drop")  # type: ignore[arg-type]
        quiet = ScoreTable(inner, "drop")

        def undo_some() -> None:
            with suppress(UsageError):  # it is open
                undo_batch(lab.settings, ledger, table, chance.choice(batches))

        start_batch()
        for _ in range(10):
            step = chance.choices(["batch", "finalize", "import", "undo", "people"], [1, 4, 5, 1, 2])[0]
            if step == "batch" and len(batches) < 3:
                start_batch()
            elif step == "finalize":
                finalize_round(lab.settings, ledger, table, stop)
            elif step == "import":
                assert set_autoscore_round(lab.settings, ledger, table, stop) == []
            elif step == "undo":
                undo_some()
            else:
                people.act()
        finalize_round(lab.settings, ledger, quiet, stop)
        set_autoscore_round(lab.settings, ledger, quiet, stop)
        rows = lab.scores()
        assert content(lab.people()) == people.deeds.alone(), "people's rows are those of a lab without us"
        for label, shown in lab.shown().items():
            assert len({scorer == "ARTscore" for _, scorer in shown}) == 1, f"{label} shows people's scores and ours"
        ours = [row for row in rows if row[5] == "ARTscore"]
        assert len({row[1:3] for row in ours}) == len(ours), "an image is scored twice"
        noted = "SELECT score_id, json_extract(after, '$.score') FROM writes WHERE state = 'written'"
        assert {(row[0], row[3]) for row in ours} <= set(lab.ledger_rows(noted)), "every row of ours is noted"
        set_autoscore_round(lab.settings, ledger, quiet, stop)
        assert lab.scores() == rows, "the same again writes nothing"
        for batch in reversed(batches):
            undo_batch(lab.settings, ledger, quiet, batch)
        assert content(lab.scores()) == people.deeds.alone(), "import and undo leave what people wrote"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("template") / "lab").create()
    lab.inspect(*SHOTS)
    return lab


@pytest.mark.parametrize("seed", range(25))
def test_people_and_importer_at_random(template: Lab, tmp_path: Path, seed: int) -> None:
    play(template.copy(tmp_path / "lab"), seed)


def test_two_sessions_at_once(template: Lab, tmp_path: Path) -> None:
    """A person scores as fast as they can while we import and undo; nobody fails, nobody loses a row."""
    lab = template.copy(tmp_path / "lab")
    people = People(lab, random.Random(5))
    done = threading.Event()
    trouble: list[BaseException] = []

    def score() -> None:
        try:
            while not done.is_set():
                people.score()
                time.sleep(0.002)
        except BaseException as error:
            trouble.append(error)

    session = threading.Thread(target=score)
    session.start()
    try:
        for number in range(4):
            batch = lab.batch(dict.fromkeys(SHOTS, NAMES[number]), scoring=f'{{"step":{number}}}')
            lab.finish()
            if number % 2:
                lab.undo(batch)
    finally:
        done.set()
        session.join()
    lab.finish()
    assert trouble == []
    assert len(lab.people()) == people.day > 10
    assert {scorer == "ARTscore" for shown in lab.shown().values() for _, scorer in shown} == {False}
