"""set-autoscore as a service: what people score is found by number, round after round, without reading everything again."""

from __future__ import annotations

from pathlib import Path

import pytest
from scored_lab import Lab

from crystal_search.service import Stop
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.own_rows import OwnRows
from finalizer.set_autoscore import set_autoscore_round
from finalizer.watch import Watch


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """Three drops with our scores in the score table, one with a person's."""
    lab = Lab(tmp_path / "lab").create()
    shots = {("A01a", 1): "clear", ("A02a", 1): "clear", ("A03a", 1): "clear"}
    lab.inspect(*shots, ("B01a", 1))
    lab.person("B01a", 1, "01")
    lab.batch(shots)
    lab.finish()
    return lab


def import_round(lab: Lab, watch: Watch, warned: list[str] | None = None) -> None:
    def one(settings: object, ledger: object, table: object) -> None:
        said = [] if warned is None else warned
        assert set_autoscore_round(lab.settings, ledger, table, Stop(), warn=said.append, watch=watch) == []  # type: ignore[arg-type]

    lab.with_table(one)


def test_a_new_score_of_a_person_is_found_without_reading_all_of_ours(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(now=lambda: 0.0)
    import_round(lab, watch)
    monkeypatch.setattr(OwnRows, "foreign", lambda _: pytest.fail("reads every row of ours"))
    monkeypatch.setattr(ScoreTable, "displaced", lambda _: pytest.fail("reads every row of people's"))
    import_round(lab, watch)
    assert set(lab.shown()) == {"A01a", "A02a", "A03a", "B01a"}
    lab.person("A02a", 1, "22")
    import_round(lab, watch)
    assert lab.shown()["A02a"] == [("22", "Berta")]
    assert lab.shown()["A01a"] == [("01", "ARTscore")]


@pytest.mark.parametrize("number", [77, 5_000_000_000], ids=["below ours", "above ours"])
def test_somebody_else_under_our_name_counts_as_a_person(lab: Lab, number: int) -> None:
    watch = Watch(now=lambda: 0.0)
    import_round(lab, watch)
    row = (number, lab.inspection("A03a", 1), "13", "2024-05-05 00:00:00", "ARTscore")
    lab.execute("INSERT INTO I_SCORES (SCOREID, INSPECTID, SCORE, SCOREDATE, SCOREDBY) VALUES (?, ?, ?, ?, ?)", *row)
    warned: list[str] = []
    import_round(lab, watch, warned)
    assert lab.shown()["A03a"] == [("13", "ARTscore")], "ours is taken out, theirs stays"
    assert "1 rows of scorer 'ARTscore' that this ledger did not write" in warned[0]
    import_round(lab, watch, warned)
    assert lab.shown()["A03a"] == [("13", "ARTscore")]


def test_a_row_that_was_taken_over_is_found_within_an_hour(lab: Lab) -> None:
    times = [0.0]
    watch = Watch(now=lambda: times[0])
    lab.inspect(("A01a", 2))
    lab.batch({("A01a", 2): "clear"})
    lab.finish()
    import_round(lab, watch)
    lab.execute("UPDATE I_SCORES SET SCOREDBY = 'Berta' WHERE INSPECTID = ?", lab.inspection("A01a", 1))
    import_round(lab, watch)
    assert len(lab.shown()["A01a"]) == 2
    times[0] = 3600.0
    import_round(lab, watch)
    assert lab.shown()["A01a"] == [("01", "Berta")]
