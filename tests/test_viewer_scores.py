"""People's scores in the viewer: under their own name, beside every other row, entered once, undone alone (write-back rule 8)."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scored_lab import Lab as ScoredLab
from sqlalchemy import select
from viewer_lab import KINDS, PLATE, PlateOf, ViewerLab, make_viewer_lab

from crystal_search.classes import NAMES
from crystal_search.errors import CrystalSearchError, TryAgainLater, UsageError
from crystal_search.ledger import Ledger
from crystal_search.ledger.viewer_tables import viewer_marks
from crystal_search.settings import Viewer
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.person_rows import PeopleScores, checked_scorer
from crystal_search.xtaltrak.scores import ScoreRow
from viewer.drop_view import drop_view
from viewer.errors import BadRequest, NotAllowed, NotFound
from viewer.evaluations import scores_on_drop
from viewer.lab import Lab
from viewer.marks import mark_wrong
from viewer.person import Person, Role
from viewer.plate_view import plate_view
from viewer.plates import find_plate
from viewer.scoring import enter, take_back

BERTA, CARL = Person("Berta", Role.SCORER), Person("Carl", Role.SCORER)


@pytest.fixture
def made(tmp_path: Path) -> ViewerLab:
    return make_viewer_lab(tmp_path, (PlateOf(PLATE, 3, 2, (1,), 2),))


@pytest.fixture
def ledger(made: ViewerLab) -> Iterator[Ledger]:
    with made.ledger() as opened:
        yield opened


@pytest.fixture
def lab(made: ViewerLab, ledger: Ledger) -> Lab:
    return Lab(made.settings, ledger)


@pytest.fixture
def here(made: ViewerLab) -> tuple[int, str]:
    found = made.id(PLATE, "A01")
    return found, made.name(found)


def test_a_score_enters_under_the_persons_name_and_is_undone_alone(made: ViewerLab, lab: Lab, here: tuple[int, str]) -> None:
    made.person(here[0], "13", "Carl", 7)
    made.person(here[0], "12", None, 8)
    made.execute("INSERT INTO I_SCORES VALUES (9, ?, ?, '2026-11-02 00:00:00', '23', 'ARTscore')", here[0], here[1])
    before = made.scores()
    entered = enter(lab, BERTA, "action-1", "1", [here], {7, 8})
    (row,) = made.scores("Berta")
    assert row[1:4] == (*here, "01")
    assert row[0] > 1_000_000_000
    assert entered.others == ()
    assert [old for old in made.scores() if old[5] != "Berta"] == before
    assert take_back(lab, BERTA, None).rows == entered.rows
    assert made.scores() == before


def test_a_sites_own_codes_are_read_and_written(made: ViewerLab, ledger: Ledger, here: tuple[int, str]) -> None:
    """Two classes share a code there: a person may enter it, and nobody can say which of them it means."""
    section = made.settings.xtaltrak.model_copy(update={"codes": {"clear": "empty", "precipitate": "P", "precipitate_bad": "P"}})
    own = Lab(made.settings.model_copy(update={"xtaltrak": section}), ledger)
    for number, score in enumerate(("empty", "P", "23"), 1):
        enter(own, BERTA, f"action-{number}", score, [here], set())
    assert [row[3] for row in made.scores("Berta")] == ["empty", "P", "23"]
    meant = {score.score: score.meaning and score.meaning.name for score in scores_on_drop(own, here[0])}
    assert meant["empty"] == "clear"
    assert meant["P"] is None
    with pytest.raises(BadRequest, match="unknown score '99'"):
        enter(own, BERTA, "action-9", "99", [here], set())


def test_sent_twice_is_entered_once(made: ViewerLab, lab: Lab, here: tuple[int, str]) -> None:
    first = enter(lab, BERTA, "action-1", "23", [here], set())
    assert enter(lab, BERTA, "action-1", "23", [here], set()).rows == first.rows
    assert len(made.scores("Berta")) == 1
    take_back(lab, BERTA, "action-1")
    # what was undone does not come back with a late repetition
    assert enter(lab, BERTA, "action-1", "23", [here], set()).rows == ()
    assert made.scores("Berta") == []
    # the same number of somebody else's browser is another action
    enter(lab, CARL, "action-1", "23", [here], set())
    assert len(made.scores("Carl")) == 1


def test_a_kill_between_the_two_databases_is_mended_by_sending_again(
    made: ViewerLab, lab: Lab, here: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: PeopleScores, rows: Any) -> int:
        raise TryAgainLater("XtalTrak is away")

    with monkeypatch.context() as broken:
        broken.setattr(PeopleScores, "insert", away)
        with pytest.raises(TryAgainLater):
            enter(lab, BERTA, "action-1", "23", [here], set())
    assert made.scores() == []
    with pytest.raises(NotFound, match="nothing of yours"):  # what did not arrive is not there to be undone
        take_back(lab, BERTA, None)
    enter(lab, BERTA, "action-1", "23", [here], set())
    assert len(made.scores("Berta")) == 1
    with monkeypatch.context() as broken:
        broken.setattr(PeopleScores, "delete", away)
        with pytest.raises(TryAgainLater):
            take_back(lab, BERTA, None)
    take_back(lab, BERTA, None)
    assert made.scores() == []


def test_two_people_score_the_same_drop_at_once(made: ViewerLab, lab: Lab, here: tuple[int, str]) -> None:
    enter(lab, CARL, "action-1", "13", [here], set())
    told = enter(lab, BERTA, "action-2", "23", [here], set())
    assert [(other.scorer, other.score) for other in told.others] == [("Carl", "13")]
    # who has seen it on the screen is not told again
    assert enter(lab, BERTA, "action-3", "22", [here], {told.others[0].score_id}).others == ()
    assert [(row[3], row[5]) for row in made.scores()] == [("13", "Carl"), ("23", "Berta"), ("22", "Berta")]
    undone = take_back(lab, BERTA, None)
    assert [row.score for row in undone.rows] == ["22"]
    assert [(row[3], row[5]) for row in made.scores()] == [("13", "Carl"), ("23", "Berta")]


def test_nobody_undoes_what_is_anothers_or_was_changed_since(made: ViewerLab, lab: Lab, here: tuple[int, str]) -> None:
    entered = enter(lab, BERTA, "action-1", "23", [here], set())
    with pytest.raises(NotFound):
        take_back(lab, CARL, "action-1")
    made.execute("UPDATE I_SCORES SET SCORE = '11' WHERE SCOREID = ?", entered.rows[0].score_id)  # in XtalTrak itself
    undone = take_back(lab, BERTA, None)
    assert (undone.rows, len(undone.left)) == ((), 1)
    assert [row[3] for row in made.scores("Berta")] == ["11"]


def test_many_drops_are_one_action(made: ViewerLab, lab: Lab) -> None:
    ids = [made.id(PLATE, label) for label in ("A01", "B01", "A02")]
    enter(lab, BERTA, "action-1", "02", [(key, made.name(key)) for key in ids], set())
    assert sorted(row[1] for row in made.scores("Berta")) == sorted(ids)
    assert len(take_back(lab, BERTA, None).rows) == 3
    assert made.scores() == []


def test_one_wrong_drop_and_nothing_is_entered(made: ViewerLab, lab: Lab, here: tuple[int, str]) -> None:
    with pytest.raises(NotFound):
        enter(lab, BERTA, "action-1", "02", [here, (here[0] + 1, "other.jpg")], set())
    assert made.scores() == []


@pytest.mark.parametrize("name", ["ARTscore", "artSCORE", "", " ", "x" * 31, "a\nb"])
def test_names_that_no_person_may_have(name: str) -> None:
    with pytest.raises(UsageError):
        checked_scorer(name, "ARTscore")


def test_the_database_itself_refuses_our_own_name_and_none(made: ViewerLab, lab: Lab, here: tuple[int, str]) -> None:
    # whatever the code above it does: the view takes people's rows only
    for scorer in ("ARTscore", None):
        row = ScoreRow(score_id=5, inspection_id=here[0], image_name=here[1], score="23", scored_at="2026-11-20 10:00:00", scorer=scorer)
        with open_xtaltrak(made.settings.xtaltrak) as xtaltrak:
            people = PeopleScores(xtaltrak)
            with pytest.raises(sqlite3.IntegrityError, match="a person"), people.writing():
                people.insert([row])
    made.execute("INSERT INTO I_SCORES VALUES (9, ?, ?, '23', '2026-11-02 00:00:00', 'ARTscore')", here[0], here[1])
    ours = ScoreRow(score_id=9, inspection_id=here[0], image_name=here[1], score="23", scored_at="2026-11-02 00:00:00", scorer="ARTscore")
    with open_xtaltrak(made.settings.xtaltrak) as xtaltrak:
        people = PeopleScores(xtaltrak)
        with people.writing():
            assert people.delete([ours]) == 0
    assert len(made.scores("ARTscore")) == 1


def test_looking_never_writes(lab: Lab) -> None:
    assert lab.query("viewer_inspection_range") == [(1, 12)]
    with pytest.raises(CrystalSearchError, match="can not be written"):
        lab.query("score_next_ids", {"how_many": 1})


def test_scoring_off_and_looking_only(made: ViewerLab, lab: Lab, ledger: Ledger, here: tuple[int, str]) -> None:
    with pytest.raises(NotAllowed, match="look but not score"):
        enter(lab, Person("Vera", Role.VIEWER), "action-1", "23", [here], set())
    off = Lab(made.settings.model_copy(update={"viewer": Viewer()}), ledger)
    for act in (lambda: enter(off, BERTA, "action-1", "23", [here], set()), lambda: take_back(off, BERTA, None)):
        with pytest.raises(NotAllowed, match=r"viewer\.scoring"):
            act()
    assert made.scores() == []


def test_a_database_that_is_away_is_one_line(made: ViewerLab, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crystal_search.databases.BUSY_SECONDS", 0.1)
    holder = sqlite3.connect(made.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(TryAgainLater, match="locked"), lab.people_scores() as people:
        people.next_ids(1)
    holder.close()


# ---- marks and both evaluations ------------------------------------------------------------------------------------


def test_a_wrong_artscore_is_marked_and_kept(lab: Lab, ledger: Ledger) -> None:
    mark_wrong(lab, BERTA, 1, True)
    mark_wrong(lab, BERTA, 1, True)
    view, _ = plate_view(lab, BERTA, find_plate(lab, BERTA, PLATE), 1, False)
    assert view["drops"][0]["art"]["wrong"] == ["Berta"]
    mark_wrong(lab, BERTA, 1, False)
    view, _ = plate_view(lab, BERTA, find_plate(lab, BERTA, PLATE), 1, False)
    assert view["drops"][0]["art"]["wrong"] == []
    with ledger.read() as connection:
        ((kept, withdrawn),) = connection.execute(select(viewer_marks.c.class_name, viewer_marks.c.withdrawn_at)).all()
    assert kept == "crystals_bad_form"
    assert withdrawn is not None


def test_blind_hides_until_one_has_scored(made: ViewerLab, lab: Lab, here: tuple[int, str]) -> None:
    made.person(here[0], "13", "Carl", 7)
    plate = find_plate(lab, BERTA, PLATE)
    view, _ = plate_view(lab, BERTA, plate, 1, True)
    assert all(tile["art"] is None and tile["people"] == [] and not tile["disagree"] for tile in view["drops"])
    enter(lab, BERTA, "action-1", "23", [here], {7})
    view, _ = plate_view(lab, BERTA, plate, 1, True)
    first, *rest = view["drops"]
    assert first["art"]["class"] == "crystals_bad_form"
    assert [score["who"] for score in first["people"]] == ["Carl", "Berta"]
    assert all(tile["art"] is None for tile in rest)


def test_outline_and_all_classes_come_with_the_result_and_go_with_it(made: ViewerLab, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    here = made.id(PLATE, "B01")

    def shown(blind: bool = False) -> tuple[int, bool, list[str]]:
        (image,) = drop_view(lab, BERTA, here, blind)["images"]
        return len(image["outline"]), image["everyClass"], [row["class"] for row in image["classes"]]

    assert shown() == (4, True, list(NAMES))
    assert shown(blind=True) == (0, False, [])
    of_the_ledger = 0, False, [KINDS[2]]
    archive = made.settings.results / "batch-1" / "wu_batch-1_1.zip"

    def fails(*_: object) -> None:
        raise TryAgainLater("the disk does not answer")

    with monkeypatch.context() as patch:
        patch.setattr("crystal_search.archives._open_zip", fails)
        assert shown() == of_the_ledger
    archive.write_bytes(archive.read_bytes()[:-40])
    assert shown() == of_the_ledger
    archive.unlink()
    assert shown() == of_the_ledger


# ---- the importer beside people --------------------------------------------------------------------------------------


def test_people_and_importer_at_once(tmp_path: Path) -> None:
    """Scores from the viewer while `set-autoscore` writes: every person's row stays, and in the end none of ours is beside one."""
    scored = ScoredLab(tmp_path).create()
    labels = [f"{row}{column:02}a" for row in "ABCDEFGH" for column in range(1, 5)]
    scored.inspect(*((label, 1) for label in labels))
    scored.batch({(label, 1): "crystals_harvestable" for label in labels})
    scored.finalize()
    settings = scored.settings.model_copy(update={"viewer": Viewer(scoring=True)})
    problems: list[BaseException] = []

    def score(person: Person, some: list[str]) -> None:
        try:
            with scored.ledger() as ledger:
                lab = Lab(settings, ledger)
                for label in some:
                    key = scored.inspection(label, 1)
                    (name,) = scored.execute("SELECT IMAGENAME FROM I_IMAGES WHERE INSPECTID = ?", key)[0]
                    enter(lab, person, f"action-{label}", "01", [(key, name)], set())
        except BaseException as error:
            problems.append(error)

    people = [threading.Thread(target=score, args=(person, labels[at::3])) for at, person in enumerate((BERTA, CARL))]
    for thread in people:
        thread.start()
    for _ in range(3):
        assert scored.set_autoscore() == []
    for thread in people:
        thread.join(120)
    assert problems == []
    assert scored.set_autoscore() == []
    by_scorer = {name: {row[1] for row in scored.scores() if row[5] == name} for name in ("Berta", "Carl", "ARTscore")}
    assert by_scorer["Berta"] == {scored.inspection(label, 1) for label in labels[0::3]}
    assert by_scorer["Carl"] == {scored.inspection(label, 1) for label in labels[1::3]}
    assert by_scorer["ARTscore"] == {scored.inspection(label, 1) for label in labels[2::3]}
