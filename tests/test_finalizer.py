"""CSV, approval, import, undo: what goes in, what a kill or a full disk leaves, and what a doctored CSV can not do."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from scored_lab import Lab, drop_of, image_name, kill_points, killed_at, lines_of
from small_disk import small_disk

from crystal_search.cli import crystal_search
from crystal_search.errors import CrystalSearchError, SettingsError, TryAgainLater, UsageError
from crystal_search.ledger.batches import ScoredImage
from crystal_search.ledger.schema import WriteState
from crystal_search.plate import Inspection, InspectionImage
from crystal_search.service import Stop
from crystal_search.xtaltrak.scores import ScoreRow, ScoreTable
from finalizer.batch_csv import COLUMNS, BatchCsvError, read_batch_csv, write_batch_csv
from finalizer.score_writer import only_writer

SHOTS = {
    ("A01a", 1): "crystals_harvestable",
    ("A01c", 1): "precipitate",
    ("A02a", 1): "clear",
    ("A03a", 1): "unsure",
    ("A04a", 1): "no_drop",
    ("A05a", 1): "failed",
}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "lab").create()
    lab.inspect(*SHOTS)
    return lab


@pytest.fixture
def batch(lab: Lab) -> str:
    return lab.batch(SHOTS)


def held(lab: Lab) -> Lab:
    return Lab(lab.root, {"hold": True})


def run(lab: Lab, *arguments: str) -> Result:
    """A command of crystal-search with the lab's settings."""
    path = lab.root / "crystal-search.toml"
    hold = str(lab.finalizer.get("hold", False)).lower()
    path.write_text(
        f'[paths]\nstate = "{lab.root / "state"}"\n[xtaltrak]\ndatabase = "{lab.root / "xtaltrak.sqlite"}"\n[finalizer]\nhold = {hold}\n'
    )
    return CliRunner().invoke(crystal_search, [*arguments, "--settings", str(path)])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# ---- the CSV --------------------------------------------------------------------------------------------------------


def test_the_csv_has_what_was_scored_and_nothing_else(lab: Lab, batch: str) -> None:
    lab.person("A01c", 1, "11", "Berta")
    lab.finalize()
    rows = rows_of(lab.csv(batch))
    assert [(row["well"], row["subwell"], row["score"], row["decision"]) for row in rows] == [
        ("A01", "1", "23", "write"),
        ("A01", "3", "13", "withhold: person scored 11"),
        ("A02", "1", "01", "write"),
    ]
    assert rows[1] == {
        "inspection_id": str(lab.inspection("A01c", 1)),
        "image_name": image_name("A01c", 1),
        "barcode": "CI000001",
        "inspection": "1",
        "inspected_at": "2024-03-08 09:30:00",
        "well": "A01",
        "subwell": "3",
        "score": "13",
        "class": "precipitate",
        "probability": "0.90625",
        "crystal_probability": "0.25",
        "model": "tiny",
        "present_score": "11",
        "present_scorer": "Berta",
        "decision": "withhold: person scored 11",
    }


def test_a_batch_waits_for_its_last_work_unit(lab: Lab) -> None:
    lab.start(*SHOTS)
    lab.finalize()
    assert list(lab.settings.csv.glob("*")) == []


def test_a_batch_without_a_score_goes_through_with_no_rows(lab: Lab) -> None:
    batch = held(lab).batch({("A03a", 1): "unsure"})
    held(lab).finish()
    assert rows_of(lab.csv(batch)) == []
    assert lab.state(batch) == "imported"
    assert lab.scores() == []


def test_a_full_disk_stops_the_csv_and_it_is_written_later(lab: Lab, batch: str) -> None:
    with small_disk(lab.root / "state" / "csv") as disk:
        disk.fill()
        with pytest.raises(TryAgainLater, match="disk full"):
            lab.finalize()
        assert lab.state(batch) == "open"
        assert not lab.csv(batch).exists()
        disk.free()
        lab.finish()
    assert len(lab.scores()) == 3


AWKWARD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


@settings(max_examples=40)
@given(name=AWKWARD, model=AWKWARD, probability=st.floats(0, 1))
def test_what_is_written_reads_back(name: str, model: str, probability: float) -> None:
    """Whatever stands in a name: quotes, commas, line ends, other alphabets."""
    image = InspectionImage(1, name, drop_of("A01a"), Inspection("CI000001", 1, None))
    scored = ScoredImage(7, image, "clear", "01", probability, probability / 3, model)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "b.csv"
        write_batch_csv(path, [(scored, name, model, "write")])
        assert read_batch_csv(path, [scored]) == [scored]


# ---- approval -------------------------------------------------------------------------------------------------------


def test_a_held_batch_is_imported_after_its_approval_only(lab: Lab, batch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "greta")
    lab = held(lab)
    lab.finish()
    assert lab.state(batch) == "held"
    assert lab.scores() == []
    assert run(lab, "approve").output == f"{batch}  3 rows to write  {lab.csv(batch)}\n"
    assert run(lab, "approve", batch).exit_code == 0
    assert run(lab, "approve").output == "no batch waits for approval\n"
    assert isinstance(run(lab, "approve", batch).exception, UsageError)
    assert lab.ledger_rows("SELECT approved_by FROM batches") == [("greta",)]
    lab.finish()
    assert lab.state(batch) == "imported"
    assert len(lab.scores()) == 3


def test_a_held_batch_can_be_rejected(lab: Lab, batch: str) -> None:
    held(lab).finalize()
    assert lab.undo(batch).taken_back == 0
    lab.finish()
    assert lab.state(batch) == "undone"
    assert lab.scores() == []


def test_a_person_can_hold_an_image_back_by_hand(lab: Lab, batch: str) -> None:
    held(lab).finalize()
    text = lab.csv(batch).read_text()
    assert text.count(",write\n") == 3
    lab.csv(batch).write_text(text.replace(",write\n", ",withhold: looks like salt\n", 1))
    run(lab, "approve", batch)
    lab.finish()
    assert [row[3] for row in lab.scores()] == ["13", "01"]


# ---- import ---------------------------------------------------------------------------------------------------------


def test_a_score_is_dated_to_the_inspection_and_numbered_by_ourselves(lab: Lab, batch: str) -> None:
    lab.finish()
    rows = lab.scores()
    assert [row[1:] for row in rows] == [
        (lab.inspection(label, 1), image_name(label, 1), score, "2024-03-08 09:30:00", "ARTscore")
        for label, score in (("A01a", "23"), ("A01c", "13"), ("A02a", "01"))
    ]
    assert all(row[0] > 1_000_000_000 for row in rows)


def test_the_same_again_writes_nothing(lab: Lab, batch: str) -> None:
    lab.finish()
    before, noted = lab.scores(), lab.ledger_rows("SELECT * FROM writes")
    lab.finish()
    connection = sqlite3.connect(lab.root / "state" / "ledger.sqlite")
    with connection:
        connection.execute("UPDATE batches SET state = 'approved'")
    connection.close()
    lab.finish()
    assert lab.state(batch) == "imported"
    assert lab.scores() == before
    assert lab.ledger_rows("SELECT * FROM writes") == noted


def test_another_pass_changes_our_own_row_where_the_score_differs(lab: Lab, batch: str) -> None:
    lab.finish()
    first = lab.scores()
    lab.batch({("A01a", 1): "crystals_bad_form", ("A02a", 1): "clear"}, scoring='{"step":16}')
    lab.finish()
    assert lab.scores() == [(*first[0][:3], "22", *first[0][4:]), *first[1:]]
    (write,) = lab.ledger_rows("SELECT action, before, after FROM writes WHERE action = 'update'")
    assert (json.loads(write[1])["score"], json.loads(write[2])["score"]) == ("23", "22")


def test_rows_are_written_in_transactions_of_the_size_that_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(tmp_path / "lab", {"rows_per_transaction": 2}).create()
    shots = {(f"{row}{column:02d}a", 1): "clear" for row in "ABC" for column in range(1, 4)}
    lab.inspect(*shots)
    lab.batch(shots)
    sizes: list[int] = []
    insert = ScoreTable.insert

    def counted(table: ScoreTable, rows: Iterable[tuple[ScoreRow, Collection[int]]]) -> None:
        some = list(rows)
        sizes.append(len(some))
        insert(table, some)

    monkeypatch.setattr(ScoreTable, "insert", counted)
    lab.finish()
    assert sizes == [2, 2, 2, 2, 1]
    assert len(lab.scores()) == 9


def test_a_number_that_somebody_took_is_passed_over(lab: Lab, batch: str) -> None:
    """SQLite gives a row without a number the highest plus one, which may be our next."""
    lab.execute("INSERT INTO I_SCORES (SCOREID, INSPECTID, SCOREDBY) VALUES (1000000007, ?, 'Berta')", lab.inspection("A05a", 1))
    lab.finish()
    assert [row[0] for row in lab.scores()] == [1000000007, 1000000008, 1000000009, 1000000010]


def test_an_inspection_that_xtaltrak_lost_or_never_dated_is_withheld(lab: Lab, batch: str) -> None:
    connection = sqlite3.connect(lab.root / "state" / "ledger.sqlite")
    with connection:
        connection.execute("UPDATE images SET inspected_at = NULL WHERE plate_column = 2")
        connection.execute("UPDATE images SET inspection_id = 999 WHERE plate_column = 1 AND subwell = 3")
    connection.close()
    lab.finish()
    assert [row["decision"] for row in rows_of(lab.csv(batch))] == [
        "write",
        "withhold: XtalTrak has no such inspection any more",
        "withhold: the inspection has no date",
    ]
    assert [row[3] for row in lab.scores()] == ["23"]


GONE: dict[str, tuple[str, str]] = {
    "the image is gone": ("DELETE FROM I_IMAGES WHERE INSPECTID = {0}", "XtalTrak has no such image any more"),
    "the image has another name": ("UPDATE I_IMAGES SET IMAGENAME = 'x.jpg' WHERE INSPECTID = {0}", "XtalTrak has no such image any more"),
    "it shows another drop": ("UPDATE I_INSPECTIONS SET COL = 9 WHERE INSPECTID = {0}", "XtalTrak says that it shows another drop by now"),
}


@pytest.mark.parametrize("case", GONE)
@pytest.mark.parametrize("stage", ["before", "between", "meanwhile"])
def test_an_image_that_xtaltrak_lost_or_moved_after_the_query_gets_no_score(
    lab: Lab, batch: str, case: str, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql, reason = GONE[case]

    def happens() -> None:
        lab.execute(sql.format(lab.inspection("A01c", 1)))

    if stage == "before":
        happens()
        lab.finalize()
        assert [row["decision"] for row in rows_of(lab.csv(batch))] == ["write", f"withhold: {reason}", "write"]
    else:
        lab.finalize()
    if stage == "between":
        happens()
    if stage == "meanwhile" and "drop" not in case:  # right before we lock the score table
        locked, waiting = ScoreTable.locked, [happens]
        monkeypatch.setattr(ScoreTable, "locked", lambda table: (waiting.pop()() if waiting else None, locked(table))[1])
    elif stage == "meanwhile":
        happens()
    assert lab.set_autoscore() == []
    assert [row[3] for row in lab.scores()] == ["23", "01"]


def with_two_images(lab: Lab) -> str:
    """A batch in which one drop was seen with two profiles at one inspection."""
    second = image_name("A01a", 1).replace("_HF_", "_E0_")
    lab.execute("INSERT INTO I_IMAGES VALUES (?, ?)", lab.inspection("A01a", 1), second)
    batch = lab.batch(SHOTS)
    connection = sqlite3.connect(lab.root / "state" / "ledger.sqlite")
    with connection:  # the image of A02a becomes the second one of A01a
        connection.execute(
            "UPDATE images SET inspection_id = ?, image_name = ?, plate_column = 1 WHERE plate_column = 2",
            (lab.inspection("A01a", 1), second),
        )
    connection.close()
    return batch


SEVERAL = "withhold: 2 images of this drop at one inspection: name one profile in [[search]]"


def test_two_images_of_one_drop_and_inspection_are_told_and_none_is_written(lab: Lab) -> None:
    """XtalTrak would show either; the search has to say which profile counts."""
    batch = with_two_images(lab)
    lab.finish()
    assert [row["decision"] for row in rows_of(lab.csv(batch))] == [SEVERAL, "write", SEVERAL]
    assert [row[3] for row in lab.scores()] == ["13"]


@pytest.mark.parametrize(("chosen", "scores"), [([1], ["23", "13"]), ([1, 3], ["13"])], ids=["one", "both"])
def test_a_person_may_choose_one_of_two_images(lab: Lab, chosen: list[int], scores: list[str], caplog: pytest.LogCaptureFixture) -> None:
    batch = with_two_images(lab)
    lab.finalize()
    lines = lab.csv(batch).read_text().splitlines(keepends=True)
    for number in chosen:
        lines[number] = lines[number].replace(SEVERAL, "write")
    lab.csv(batch).write_text("".join(lines))
    assert lab.set_autoscore() == []
    assert [row[3] for row in lab.scores()] == scores
    assert ("2 images of this drop" in caplog.text) is (len(chosen) == 2)
    lab.batch({("A02a", 1): "clear"}, scoring='{"step":16}')
    lab.finish()
    assert len(lab.scores()) == len(scores) + 1


def test_another_image_of_an_inspection_that_has_our_score_is_withheld(lab: Lab) -> None:
    lab.batch({("A01a", 1): "clear"})
    lab.finish()
    batch = with_two_images(lab)
    connection = sqlite3.connect(lab.root / "state" / "ledger.sqlite")
    with connection:
        connection.execute(
            "DELETE FROM artscores WHERE image_id = (SELECT MAX(id) FROM images WHERE image_name = ?)", (image_name("A01a", 1),)
        )
    connection.close()
    lab.finalize()
    decisions = [row["decision"] for row in rows_of(lab.csv(batch))]
    assert decisions == [
        "write",
        f"withhold: {image_name('A01a', 1)} of the same drop and inspection has our score already: name one profile in [[search]]",
    ]


def test_images_count_each_where_a_site_protects_by_image(lab: Lab) -> None:
    by_image = Lab(lab.root, {"protect": "image"})
    with_two_images(by_image)
    by_image.finish()
    assert [row[3] for row in lab.scores()] == ["23", "13", "01"]


def test_a_score_of_ours_that_somebody_changed_is_left_as_it_is(lab: Lab, batch: str) -> None:
    """It may be a person's, made in a program that leaves the name."""
    lab.finish()
    lab.execute("UPDATE I_SCORES SET SCORE = '31' WHERE IMAGENAME = ?", image_name("A01c", 1))
    second = lab.batch({("A01c", 1): "clear", ("A02a", 1): "other"}, scoring='{"step":16}')
    lab.finish()
    assert [row["decision"] for row in rows_of(lab.csv(second))] == ["withhold: somebody changed our score to 31", "write"]
    assert [row[3] for row in lab.scores()] == ["23", "31", "33"]


def test_a_dry_run_prints_the_difference_and_writes_nothing(lab: Lab, batch: str) -> None:
    lab.finish()
    lab.person("A01a", 1, "11")
    second = lab.batch({("A01c", 1): "precipitate_bad", ("A02a", 1): "clear"}, scoring='{"step":16}')
    held(lab).finalize()
    before = lab.scores(), lab.ledger_rows("SELECT * FROM writes"), lab.ledger_rows("SELECT * FROM batches")
    output = run(lab, "set-autoscore", "--dry-run").output
    assert output == (
        f"take out   23 of {image_name('A01a', 1)}: a person has scored the drop\n"
        f"update 13 to 12 of CI000001 A01c inspection 1, {image_name('A01c', 1)} (batch {second})\n"
        f"batch {second} (held): 1 rows to write\n"
    )
    assert before == (lab.scores(), lab.ledger_rows("SELECT * FROM writes"), lab.ledger_rows("SELECT * FROM batches"))


# ---- a CSV that somebody changed --------------------------------------------------------------------------------------

DOCTORED: dict[str, tuple[Callable[[list[list[str]]], Any], str]] = {
    "other columns": (lambda lines: lines[0].pop(), "the first line is not"),
    "columns in another order": (lambda lines: lines[0].reverse(), "the first line is not"),
    "another score": (lambda lines: lines[1].__setitem__(7, "11"), "line 2: score is '11', the ledger has '23'"),
    "another score in Excel's way": (lambda lines: lines[3].__setitem__(7, "2"), "line 4: score is '2', the ledger has '01'"),
    "a date in Excel's way": (lambda lines: lines[3].__setitem__(4, "08.03.2024 09:30"), "line 4: inspected_at is '08.03.2024 09:30'"),
    "an unknown score": (lambda lines: lines[1].__setitem__(7, "77"), "line 2: unknown score '77'"),
    "another inspection": (lambda lines: lines[1].__setitem__(0, "4711"), "is no scored image of this batch"),
    "a row too many": (lambda lines: lines.append(["999", "x.jpg", *lines[1][2:]]), "line 5: 'x.jpg' of inspection 999 is no scored image"),
    "a row twice": (lambda lines: lines.append(lines[1]), "is there twice"),
    "a scorer of their own": (
        lambda lines: [line.append("SCOREDBY" if line is lines[0] else "Berta") for line in lines],
        "the first line is not",
    ),
    "a column too many in one row": (lambda lines: lines[2].append("Berta"), f"line 3: {len(COLUMNS) + 1} columns"),
    "a row missing": (lambda lines: lines.pop(), "1 images of the batch are missing"),
    "another class": (lambda lines: lines[1].__setitem__(8, "rim"), "line 2: class is 'rim'"),
    "another probability": (lambda lines: lines[1].__setitem__(9, "1.0"), "line 2: probability is '1.0'"),
    "an unknown decision": (lambda lines: lines[1].__setitem__(-1, "yes"), "line 2: decision is 'yes'"),
    "a short line": (lambda lines: lines[1].pop(), f"line 2: {len(COLUMNS) - 1} columns"),
    "an empty file": (lambda lines: lines.clear(), "the first line is not"),
}


@pytest.mark.parametrize("case", DOCTORED)
def test_a_csv_edited_by_hand_is_refused_with_one_line_and_nothing_is_written(lab: Lab, batch: str, case: str) -> None:
    change, reason = DOCTORED[case]
    lab.finalize()
    with lab.csv(batch).open(newline="") as file:
        lines = list(csv.reader(file))
    change(lines)
    with lab.csv(batch).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
    (mistake,) = lab.set_autoscore()
    assert reason in mistake
    assert "spreadsheet" in mistake
    assert "\n" not in mistake
    assert lab.scores() == []
    assert lab.state(batch) == "approved"


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["", "byte order mark"])
def test_what_a_spreadsheet_program_does_unasked_is_forgiven(lab: Lab, batch: str, delimiter: str, start: bytes) -> None:
    lab = held(lab)
    lab.finalize()
    with lab.csv(batch).open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[3][7] == "01"
    lines[3][7] = "1"
    lines[1][-1] = "withhold"
    with lab.csv(batch).open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(lines)
    lab.csv(batch).write_bytes(start + lab.csv(batch).read_bytes())
    assert run(lab, "approve").output == f"{batch}  2 rows to write  {lab.csv(batch)}\n"
    assert run(lab, "approve", batch).exit_code == 0
    lab.finish()
    assert [row[3] for row in lab.scores()] == ["13", "01"]


@pytest.mark.parametrize("content", [b"\xff\xfe\0\0", b'"', b"a\0b", bytes(65 * 2**20)], ids=["not text", "open quote", "NUL", "huge"])
def test_a_csv_that_is_none_is_refused(lab: Lab, batch: str, content: bytes) -> None:
    lab.finalize()
    lab.csv(batch).write_bytes(content)
    (mistake,) = lab.set_autoscore()
    assert "nothing of it was written" in mistake
    assert lab.scores() == []


def test_other_batches_do_not_wait_for_a_bad_csv(lab: Lab) -> None:
    bad = lab.batch({("A01a", 1): "clear"})
    lab.batch({("A02a", 1): "clear"})
    lab.finalize()
    lab.csv(bad).write_text("x")
    result = run(lab, "set-autoscore", "--once")
    assert isinstance(result.exception, CrystalSearchError)
    assert not isinstance(result.exception, BatchCsvError | UsageError)
    assert list(lab.shown()) == ["A02a"]


def test_whatever_scorer_a_csv_names_the_row_is_ours(lab: Lab, batch: str) -> None:
    """The present scorer is there for people to read; nothing is written by it."""
    lab.finalize()
    lines = [line.split(",") for line in lab.csv(batch).read_text().splitlines()]
    for line in lines[1:]:
        line[-3:-1] = ["31", "Berta"]
    lab.csv(batch).write_text("".join(",".join(line) + "\n" for line in lines))
    assert lab.set_autoscore() == []
    assert {(row[3], row[5]) for row in lab.scores()} == {("23", "ARTscore"), ("13", "ARTscore"), ("01", "ARTscore")}


def test_a_csv_that_was_deleted_is_written_anew_and_held_again(lab: Lab, batch: str) -> None:
    held(lab).finalize()
    run(lab, "approve", batch)
    lab.csv(batch).unlink()
    (mistake,) = lab.set_autoscore()
    assert "is not there" in mistake
    held(lab).finalize()
    assert lab.state(batch) == "held"
    assert len(rows_of(lab.csv(batch))) == 3


def test_a_kill_between_state_and_new_csv_leaves_nothing_approved_that_nobody_saw(lab: Lab, batch: str) -> None:
    lab = held(lab)
    lab.finalize()
    run(lab, "approve", batch)
    lab.csv(batch).unlink()
    quiet = lab.copy(lab.root.parent / "quiet")
    lines = lines_of(quiet.finalize)
    for number, line in enumerate(kill_points(8, lines, seed=3)):
        shaken = lab.copy(lab.root.parent / f"kill-{number}")
        killed_at(line, shaken.finalize)
        assert shaken.state(batch) == "held" or not shaken.csv(batch).exists()
        shaken.finalize()
        assert shaken.state(batch) == "held"
        assert shaken.csv(batch).exists()


def test_what_has_no_csv_is_not_approved(lab: Lab, batch: str) -> None:
    lab = held(lab)
    lab.finalize()
    lab.csv(batch).unlink()
    assert isinstance(run(lab, "approve", batch).exception, UsageError)
    assert lab.state(batch) == "held"


@pytest.mark.parametrize("module", ["cli", "undo"])
def test_a_batch_that_somebody_else_moved_is_not_called_done(lab: Lab, batch: str, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    lab = held(lab)
    lab.finalize()

    def moved_meanwhile(*_: object, **__: object) -> bool:
        return False

    monkeypatch.setattr(f"finalizer.{module}.move_batch", moved_meanwhile)
    result = run(lab, "approve" if module == "cli" else "undo", batch)
    assert isinstance(result.exception, TryAgainLater)
    assert result.output == ""
    assert lab.state(batch) == "held"


@pytest.mark.parametrize("service", ["finalize", "set-autoscore"])
def test_a_round_without_work_says_so(lab: Lab, batch: str, service: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    if service == "set-autoscore":
        lab.finalize()
        caplog.clear()
    assert run(lab, service, "--once").exit_code == 0
    assert "nothing to do" not in caplog.text
    caplog.clear()
    assert run(lab, service, "--once").exit_code == 0
    assert [record.message for record in caplog.records] == ["nothing to do"]


def test_a_state_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(SettingsError, match=r"^paths\.state: [^\n]*$"), only_writer(tmp_path / "state" / "lock"):
        pass


def test_a_service_warns_of_rows_under_our_name_once(lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def twice(_name: str, one_round: Callable[[Stop], None], _once: bool, _seconds: float, **_: object) -> None:
        one_round(Stop())
        one_round(Stop())

    lab.person("A01a", 1, "11", "ARTscore")
    monkeypatch.setattr("crystal_search.services.run_service", twice)
    assert run(lab, "set-autoscore").exit_code == 0
    (warning,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert warning.startswith("I_SCORES holds 1 rows of scorer 'ARTscore' that this ledger did not write")


# ---- undo -----------------------------------------------------------------------------------------------------------


def test_import_and_undo_give_the_table_as_it_was(lab: Lab) -> None:
    lab.person("A02a", 1, "11")
    lab.batch({("A01a", 1): "clear"})
    lab.finish()
    before = lab.scores()
    second = lab.batch(SHOTS, scoring='{"step":16}')
    lab.finish()
    assert lab.scores() != before
    undone = lab.undo(second)
    assert (undone.taken_back, undone.left) == (2, ())
    assert lab.scores() == before
    assert lab.state(second) == "undone"


def test_a_second_undo_does_nothing(lab: Lab, batch: str) -> None:
    lab.finish()
    assert lab.undo(batch).taken_back == 3
    noted = lab.ledger_rows("SELECT * FROM writes")
    assert lab.undo(batch).taken_back == 0
    assert lab.scores() == []
    assert lab.ledger_rows("SELECT * FROM writes") == noted
    lab.finish()
    assert lab.scores() == [], "an undone batch does not come back"


def test_undo_leaves_what_changed_since(lab: Lab, batch: str) -> None:
    lab.finish()
    lab.execute("UPDATE I_SCORES SET SCORE = '34' WHERE IMAGENAME = ?", image_name("A01c", 1))
    result = run(lab, "undo", batch)
    assert result.exit_code == 1
    (changed,) = lab.scores()
    assert changed[3] == "34"
    assert result.output == (
        f"left {image_name('A01c', 1)} (SCOREID {changed[0]}): it changed since\nbatch {batch}: 2 rows taken back, 1 left\n"
    )


def test_a_dry_run_of_undo_tells_each_row_and_changes_nothing(lab: Lab) -> None:
    """A row that is deleted, one that gets its former score, one that changed, one that is gone, and one beside a person."""
    lab.batch({("A01a", 1): "clear"})
    lab.finish()
    batch = lab.batch(dict.fromkeys(list(SHOTS)[:5], "crystals_harvestable"), scoring='{"step":16}')
    lab.finish()
    lab.execute("UPDATE I_SCORES SET SCORE = '34' WHERE IMAGENAME = ?", image_name("A01c", 1))
    lab.execute("DELETE FROM I_SCORES WHERE IMAGENAME = ?", image_name("A03a", 1))
    lab.person("A04a", 1, "11")
    numbers = {row[2]: row[0] for row in lab.scores()}
    state = lab.scores(), lab.ledger_rows("SELECT * FROM writes"), lab.ledger_rows("SELECT name, state FROM batches")
    result = run(lab, "undo", batch, "--dry-run")
    assert result.exit_code == 0
    place = {label: f"{image_name(label, 1)} (SCOREID {numbers[image_name(label, 1)]})" for label in ("A01a", "A01c", "A02a")}
    assert sorted(result.output.splitlines()) == sorted(
        [
            f"take out   23 of {image_name('A04a', 1)}: a person has scored the drop",
            f"delete     23 of {place['A02a']}",
            f"give back  01 for 23 of {place['A01a']}",
            f"leave      {place['A01c']}: it changed since",
            f"batch {batch}: 2 rows would be taken back, 1 left",
        ]
    )
    assert (lab.scores(), lab.ledger_rows("SELECT * FROM writes"), lab.ledger_rows("SELECT name, state FROM batches")) == state
    undone = lab.undo(batch)
    assert {row[3] for row in lab.scores()} == {"01", "11", "34"}
    assert len(undone.left) == 1


def test_undo_under_another_name_leaves_all_and_says_why(lab: Lab, batch: str) -> None:
    lab.finish()
    before = lab.scores()
    run(lab, "status")
    path = lab.root / "crystal-search.toml"
    path.write_text(path.read_text().replace("[finalizer]", 'scorer = "ANOTHER"\n[finalizer]'))
    for dry, code in ((["--dry-run"], 0), ([], 1)):
        result = CliRunner().invoke(crystal_search, ["undo", batch, "--settings", str(path), *dry])
        assert result.exit_code == code
        assert result.output.count("it was written as ARTscore, and xtaltrak.scorer is ANOTHER") == 3
        assert " 3 left" in result.output
    assert lab.scores() == before


def test_undo_of_the_earlier_of_two_batches_leaves_what_the_later_wrote(lab: Lab, batch: str) -> None:
    lab.finish()
    lab.batch({("A01a", 1): "crystals_bad_form"}, scoring='{"step":16}')
    lab.finish()
    undone = lab.undo(batch)
    assert (undone.taken_back, len(undone.left)) == (2, 1)
    assert [row[3] for row in lab.scores()] == ["22"]


def test_undo_of_a_batch_that_is_out_or_unknown_is_an_error(lab: Lab) -> None:
    unit, _ = lab.start(*SHOTS)
    with pytest.raises(UsageError, match="not finished"):
        lab.undo(unit.batch.name)
    with pytest.raises(UsageError, match="no batch 'x'"):
        lab.undo("x")
    for name, says in ((unit.batch.name, "not finished"), ("x", "no batch 'x'")):
        assert says in str(run(lab, "undo", name, "--dry-run").exception)


# ---- kills ----------------------------------------------------------------------------------------------------------


def prepared(root: Path) -> tuple[Lab, str]:
    """An import with everything in it: inserts, an update, a withheld row, a row to take out."""
    lab = Lab(root, {"rows_per_transaction": 2}).create()
    shots = {**SHOTS, ("A06a", 1): "clear", ("A07a", 1): "clear"}
    lab.inspect(*shots)
    lab.batch({("A01a", 1): "clear", ("A07a", 1): "other"})
    lab.finish()
    lab.person("A07a", 1, "31")
    lab.person("A02a", 1, None, None)
    return lab, lab.batch(shots, scoring='{"step":16}')


def outcome(lab: Lab) -> tuple[Any, ...]:
    """Everything but times and numbers given out."""
    change = "json_extract(before, '$.score'), json_extract(after, '$.score')"
    writes = f"SELECT image_id, action, {change}, state FROM writes ORDER BY image_id, id"
    return (
        sorted((row[1:] for row in lab.scores()), key=repr),
        lab.ledger_rows(writes),
        lab.ledger_rows("SELECT name, state FROM batches ORDER BY id"),
        lab.ledger_rows("SELECT id, state FROM images ORDER BY id"),
        {path.name: path.read_bytes() for path in lab.settings.csv.glob("*.csv")},
    )


@pytest.mark.slow
def test_a_kill_at_any_line_of_the_import_neither_loses_nor_doubles(tmp_path: Path) -> None:
    lab, _ = prepared(tmp_path / "lab")
    quiet = lab.copy(tmp_path / "quiet")
    lines = lines_of(quiet.finish)
    expected = outcome(quiet)
    assert [row[2] for row in expected[0]].count("23") == 1
    kills = 0
    for number, line in enumerate(kill_points(24, lines, seed=1)):
        shaken = lab.copy(tmp_path / f"kill-{number}")
        kills += killed_at(line, shaken.finish)
        killed_at(line // 2, shaken.finish)
        shaken.finish()
        assert outcome(shaken) == expected, f"killed at line {line} of {lines}"
    assert kills > 20


def test_a_kill_at_any_line_of_undo_takes_back_everything_once(tmp_path: Path) -> None:
    lab, batch = prepared(tmp_path / "lab")
    lab.finish()
    quiet = lab.copy(tmp_path / "quiet")
    lines = lines_of(lambda: quiet.undo(batch))
    expected = outcome(quiet)
    for number, line in enumerate(kill_points(14, lines, seed=2)):
        shaken = lab.copy(tmp_path / f"kill-{number}")
        killed_at(line, lambda shaken=shaken: shaken.undo(batch))
        shaken.undo(batch)
        assert outcome(shaken) == expected, f"killed at line {line} of {lines}"
    assert {row[4] for row in expected[1]} == {WriteState.UNDONE, WriteState.WRITTEN}
