"""Both evaluations stay: every ARTscore in a table of our own, its regions and its picture (rule 7, P27, P28)."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from scored_lab import MODEL, Lab, image_name, kill_points, killed_at, lines_of, results_of
from small_disk import small_disk

from crystal_search.archives import write_results
from crystal_search.cli import crystal_search
from crystal_search.errors import SettingsError, TryAgainLater
from finalizer.picture_files import is_ours, with_mark

SHOTS = {("A01a", 3): "clear", ("A01a", 8): "crystals_harvestable", ("A02a", 1): "unsure", ("A03a", 1): "no_drop", ("A04a", 1): "failed"}
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0" + bytes(range(200)) + b"\xff\xd9"
ALL: dict[str, Any] = {"own_table": True, "regions": True, "pictures": "database"}


def started(root: Path, **finalizer: Any) -> Lab:
    lab = Lab(root / "lab", finalizer).create()
    lab.inspect(*SHOTS)
    return lab


def scored(lab: Lab, shots: dict[tuple[str, int], str] = SHOTS, scoring: str = "{}") -> str:
    """A batch whose result archive, with a picture for each image but those that failed, is where the assimilator puts it."""
    batch = lab.batch(shots, scoring=scoring)
    rows = lab.ledger_rows(
        "SELECT w.name, lower(hex(i.public_id)), i.image_name FROM images i JOIN work_units w ON w.id = i.work_unit_id "
        f"JOIN batches b ON b.id = i.batch_id WHERE b.name = '{batch}' AND i.state <> 'failed'"
    )
    answers = {number: shots[next(shot for shot in shots if image_name(*shot) == name)] for _, number, name in rows}
    archive = lab.settings.results / batch / f"{rows[0][0]}.zip"
    archive.parent.mkdir(parents=True)
    write_results(archive, results_of(rows[0][0], answers), {number: JPEG + number.encode() for number in answers})
    return batch


def run(lab: Lab, *arguments: str) -> Any:
    settings = [f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for key, value in lab.finalizer.items()]
    path = lab.root / "crystal-search.toml"
    path.write_text(
        f'[paths]\nstate = "{lab.root / "state"}"\nimages = "{lab.root / "images"}"\n'
        f'[xtaltrak]\ndatabase = "{lab.root / "xtaltrak.sqlite"}"\n[finalizer]\n' + "\n".join(settings)
    )
    return CliRunner().invoke(crystal_search, [*arguments, "--settings", str(path)])


def counts(lab: Lab) -> tuple[int, int, int]:
    """Rows of the three tables."""
    return tuple(lab.execute(f"SELECT COUNT(*) FROM {table}")[0][0] for table in ("ARTSCORES", "ARTSCORE_REGIONS", "ARTSCORE_PICTURES"))  # type: ignore[return-value]


# ---- both evaluations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["before", "after"])
def test_a_person_scored_inspection_3_and_an_artscore_comes_for_inspection_8_of_the_same_drop(tmp_path: Path, stage: str) -> None:
    """Whichever row of a drop a reader takes, it is the person's; ours is in our own table (P28: "a serious problem")."""
    lab = started(tmp_path, own_table=True)
    if stage == "before":
        lab.person("A01a", 3, "11")
    batch = scored(lab)
    lab.finish()
    if stage == "after":
        assert [row[3] for row in lab.scores()] == ["01", "23"]
        lab.person("A01a", 3, "11")
        lab.finish()
    of_drop = "FROM I_SCORES JOIN I_INSPECTIONS USING (INSPECTID) WHERE COL = 1 AND I_ROW = 1 AND SUBWELL = 1"
    assert lab.execute(f"SELECT SCORE, SCOREDBY {of_drop} ORDER BY SCOREDATE DESC LIMIT 1") == [("11", "Berta")]
    assert lab.execute(f"SELECT SCORE, SCOREDBY {of_drop} ORDER BY SCOREID DESC LIMIT 1") == [("11", "Berta")]
    assert lab.execute(f"SELECT SCORE, SCOREDBY {of_drop} GROUP BY COL, I_ROW, SUBWELL") == [("11", "Berta")]
    assert lab.execute("SELECT SCORE, PROBABILITY, MODEL, BATCH FROM ARTSCORES WHERE IMAGENAME = ?", image_name("A01a", 8)) == [
        ("23", 0.90625, MODEL.name, batch)
    ]


def test_the_view_shows_both_evaluations_the_manual_one_first(tmp_path: Path) -> None:
    lab = started(tmp_path, own_table=True)
    lab.person("A01a", 8, "11")
    lab.person("A01a", 8, "13", None)
    scored(lab)
    lab.finish()
    view = (
        "SELECT EVALUATION, SCORE_CODE, SCORED_BY, CLASS_PROBABILITY, MODEL_NAME FROM ARTSCORES_BOTH "
        "WHERE PLATE_BARCODE = 'CI000001' AND PLATE_COLUMN = 1 AND INSPECTION_NUMBER = 8"
    )
    both = [("manual", "11", "Berta", None, None), ("manual", "13", None, None, None), ("automatic", "23", "ARTscore", 0.90625, "tiny")]
    assert lab.execute(f"{view} ORDER BY PLACE_IN_ORDER") == both
    assert lab.execute(view) == both, "also to a reader who does not ask for an order"
    assert lab.execute("SELECT COUNT(*) FROM ARTSCORES_BOTH WHERE EVALUATION = 'automatic'") == [(4,)]


def test_every_artscore_is_in_our_table_with_probability_model_and_boxes(tmp_path: Path) -> None:
    """Those without a score too; an image that failed has none."""
    lab = started(tmp_path, own_table=True, regions=True)
    batch = scored(lab)
    lab.finish()
    columns = "IMAGENAME, OUTCOME, SCORE, CLASSNAME, PROBABILITY, CRYSTALPROBABILITY, MODELHASH, DROPX1, BESTX0, BESTY1, INSPECTDATE"
    assert lab.execute(f"SELECT {columns} FROM ARTSCORES WHERE BATCH = ? ORDER BY IMAGENAME", batch) == [
        (image_name("A02a", 1), "unsure", None, None, None, 0.25, "a" * 64, 300, 0, 256, "2024-03-08 09:30:00"),
        (image_name("A03a", 1), "no_drop", None, None, None, None, "a" * 64, None, None, None, "2024-03-08 09:30:00"),
        (image_name("A01a", 3), "scored", "01", "clear", 0.90625, 0.25, "a" * 64, 300, 0, 256, "2024-03-22 09:30:00"),
        (image_name("A01a", 8), "scored", "23", "crystals_harvestable", 0.90625, 0.90625, "a" * 64, 300, 0, 256, "2024-04-26 09:30:00"),
    ]
    regions = "SELECT IMAGENAME, PLACE, CLASSNAME, PROBABILITY, X0, Y0, X1, Y1 FROM ARTSCORE_REGIONS ORDER BY IMAGENAME"
    shots = (("A02a", 1), ("A01a", 3), ("A01a", 8))
    assert lab.execute(regions) == [(image_name(*shot), 1, "clear", 0.5, 0, 0, 256, 256) for shot in shots]


def test_a_site_that_numbers_differently_reads_its_own_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = started(tmp_path, own_table=True)
    section = lab.settings.xtaltrak.model_copy(update={"codes": {"clear": "0"}})
    monkeypatch.setattr(Lab, "settings", lab.settings.model_copy(update={"xtaltrak": section}))
    scored(lab)
    lab.finish()
    assert [row[3] for row in lab.scores()] == ["0", "23"]
    assert lab.execute("SELECT SCORE FROM ARTSCORES WHERE SCORE IS NOT NULL ORDER BY SCORE") == [("0",), ("23",)]


def test_without_the_settings_only_the_ledger_keeps_them(tmp_path: Path) -> None:
    lab = started(tmp_path)
    scored(lab)
    lab.finish()
    assert counts(lab) == (0, 0, 0)
    assert len(lab.ledger_rows("SELECT * FROM artscores")) == 4


def test_a_held_batch_is_in_our_table_after_its_approval_only(tmp_path: Path) -> None:
    lab = started(tmp_path, hold=True, **ALL)
    batch = scored(lab)
    lab.finish()
    assert counts(lab) == (0, 0, 0)
    assert run(lab, "approve", batch).exit_code == 0
    lab.finish()
    assert counts(lab) == (4, 3, 4)


def test_two_passes_stand_beside_each_other_and_undo_takes_one(tmp_path: Path) -> None:
    lab = started(tmp_path, **ALL)
    first = scored(lab)
    lab.finish()
    before = [lab.execute(f"SELECT * FROM {table}") for table in ("ARTSCORES", "ARTSCORE_REGIONS", "ARTSCORE_PICTURES")]
    second = scored(lab, {("A01a", 8): "clear"}, scoring='{"step":16}')
    lab.finish()
    assert counts(lab) == (5, 4, 5)
    result = run(lab, "undo", second)
    assert result.output == f"batch {second}: 1 rows taken back, 0 left; of ours: 1 ARTscores, 1 regions, 1 pictures removed\n"
    assert [lab.execute(f"SELECT * FROM {table}") for table in ("ARTSCORES", "ARTSCORE_REGIONS", "ARTSCORE_PICTURES")] == before
    lab.undo(first)
    assert counts(lab) == (0, 0, 0)


def test_the_same_again_writes_nothing_and_a_dry_run_tells(tmp_path: Path) -> None:
    lab = started(tmp_path, **ALL)
    batch = scored(lab)
    lab.finalize()
    told = "for us: 4 ARTscores, 3 regions, 4 pictures"
    assert run(lab, "set-autoscore", "--dry-run").output.endswith(f"batch {batch} (approved): {told}\n")
    assert counts(lab) == (0, 0, 0)
    lab.set_autoscore()
    assert counts(lab) == (4, 3, 4)
    assert lab.execute("SELECT PICTURE FROM ARTSCORE_PICTURES WHERE IMAGENAME = ?", image_name("A01a", 8))[0][0].startswith(JPEG)
    connection = sqlite3.connect(lab.root / "state" / "ledger.sqlite")
    with connection:
        connection.execute("UPDATE batches SET state = 'approved'")
    connection.close()
    assert "for us" not in run(lab, "set-autoscore", "--dry-run").output
    lab.finish()
    assert counts(lab) == (4, 3, 4)


def test_an_embedded_xtaltrak_of_an_earlier_version_gets_the_tables(tmp_path: Path) -> None:
    lab = started(tmp_path, **ALL)
    for what in ("VIEW ARTSCORES_BOTH", "TABLE ARTSCORES", "TABLE ARTSCORE_REGIONS", "TABLE ARTSCORE_PICTURES"):
        lab.execute(f"DROP {what}")
    scored(lab)
    lab.finish()
    assert counts(lab) == (4, 3, 4)


# ---- pictures as files --------------------------------------------------------------------------------------------------


@pytest.fixture
def beside(tmp_path: Path) -> Lab:
    lab = started(tmp_path, pictures="files")
    for label, number in SHOTS:
        folder = lab.settings.paths.images / "CI000001" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / image_name(label, number)).write_bytes(JPEG)
    return lab


def files(lab: Lab) -> dict[str, bytes]:
    return {str(path.relative_to(lab.root)): path.read_bytes() for path in sorted((lab.root / "images").rglob("*.jpg"))}


def picture_of(lab: Lab, batch: str, label: str, number: int) -> Path:
    return lab.settings.paths.images / "CI000001" / str(number) / f"{image_name(label, number)[:-4]}_ARTscore_{batch}.jpg"


def test_pictures_go_beside_the_images_and_come_away_again(beside: Lab) -> None:
    images = files(beside)
    batch = scored(beside)
    beside.finish()
    added = {name: content for name, content in files(beside).items() if name not in images}
    assert len(added) == 4
    shown = picture_of(beside, batch, "A01a", 8).read_bytes()
    assert is_ours(shown, batch)
    assert not is_ours(shown, "another")
    public_id = beside.ledger_rows(f"SELECT lower(hex(public_id)) FROM images WHERE image_name = '{image_name('A01a', 8)}'")[0][0]
    assert shown == with_mark(JPEG + public_id.encode(), batch)
    assert run(beside, "undo", batch).output == f"batch {batch}: 2 rows taken back, 0 left; of ours: 4 picture files removed\n"
    assert files(beside) == images


@pytest.mark.parametrize("own_folder", [False, True])
def test_undo_takes_all_back_though_the_settings_ask_for_it_no_more(tmp_path: Path, own_folder: bool) -> None:
    lab = started(tmp_path, **{**ALL, "pictures": "files"})
    for number in (1, 3, 8):
        (lab.settings.paths.images / "CI000001" / str(number)).mkdir(parents=True)
    batch = scored(lab)
    lab.finish()
    assert (counts(lab), len(files(lab))) == ((4, 3, 0), 4)
    lab.finalizer = {"picture_folder": str(tmp_path / "pictures")} if own_folder else {}
    told = "batch {}: 2 rows {}taken back, 0 left; of ours: 4 ARTscores, 3 regions, 4 picture files {}removed\n"
    assert run(lab, "undo", "--dry-run", batch).output.endswith(told.format(batch, "would be ", "would be "))
    assert (counts(lab), len(files(lab)), len(lab.scores())) == ((4, 3, 0), 4, 2)
    assert run(lab, "undo", batch).output == told.format(batch, "", "")
    assert (counts(lab), files(lab)) == ((0, 0, 0), {})


def test_undo_without_tables_of_our_own_misses_nothing(tmp_path: Path) -> None:
    lab = started(tmp_path)
    batch = scored(lab)
    lab.finish()
    for sql in ("VIEW ARTSCORES_BOTH", "TABLE ARTSCORES", "TABLE ARTSCORE_REGIONS", "TABLE ARTSCORE_PICTURES"):
        lab.execute(f"DROP {sql}")
    assert run(lab, "undo", batch).output == f"batch {batch}: 2 rows taken back, 0 left\n"


def test_undo_tells_of_an_image_root_that_is_away_and_ends_its_work_later(beside: Lab) -> None:
    batch = scored(beside)
    beside.finish()
    images = beside.settings.paths.images
    images.rename(images.with_name("away"))
    images.mkdir()
    result = run(beside, "undo", batch)
    assert (result.exit_code, beside.scores()) == (1, [])
    assert f"left the pictures in {images}, if there are any: is it mounted?" in result.output
    images.rmdir()
    images.with_name("away").rename(images)
    assert run(beside, "undo", batch).output == f"batch {batch}: 0 rows taken back, 0 left; of ours: 4 picture files removed\n"
    assert len(files(beside)) == len(SHOTS)


def test_the_embedded_xtaltrak_does_not_take_pictures_for_images(beside: Lab) -> None:
    scored(beside)
    beside.finish()
    loaded = run(beside, "load", str(beside.settings.paths.images))
    assert loaded.exit_code == 0
    assert beside.execute("SELECT COUNT(*) FROM I_IMAGES") == [(len(SHOTS),)]


def test_a_folder_of_their_own_is_made(tmp_path: Path) -> None:
    lab = started(tmp_path, pictures="files", picture_folder=tmp_path / "pictures")
    batch = scored(lab)
    lab.finish()
    assert len(list((tmp_path / "pictures" / "CI000001").rglob(f"*_ARTscore_{batch}.jpg"))) == 4
    lab.undo(batch)
    assert list((tmp_path / "pictures").rglob("*.jpg")) == []


@pytest.mark.parametrize(
    "content", [b"", b"somebody's", JPEG, with_mark(JPEG, "20200101-000000-abcdef")], ids=["empty", "text", "jpeg", "batch"]
)
def test_a_file_of_somebody_else_stays(beside: Lab, content: bytes) -> None:
    batch = scored(beside)
    path = picture_of(beside, batch, "A01a", 8)
    path.write_bytes(content)
    beside.finish()
    assert path.read_bytes() == content
    assert picture_of(beside, batch, "A01a", 3).exists()
    result = run(beside, "undo", batch)
    assert f"left {path}: it is not as we wrote it\n" in result.output
    assert result.exit_code == 1
    assert path.read_bytes() == content


def test_a_picture_that_somebody_drew_on_stays(beside: Lab) -> None:
    batch = scored(beside)
    beside.finish()
    path = picture_of(beside, batch, "A01a", 8)
    path.write_bytes(path.read_bytes()[:-3] + b"me!")
    assert len(beside.undo(batch).left) == 1
    assert path.exists()


def test_images_that_were_moved_away_get_no_pictures_and_no_folder(beside: Lab) -> None:
    batch = scored(beside)
    (beside.settings.paths.images / "CI000001" / "8").rename(beside.root / "elsewhere")
    beside.finish()
    assert not (beside.settings.paths.images / "CI000001" / "8").exists()
    assert picture_of(beside, batch, "A01a", 3).exists()
    assert len(beside.scores()) == 2


def test_an_image_root_that_is_away_is_waited_for(beside: Lab) -> None:
    batch = scored(beside)
    images = beside.settings.paths.images
    beside.finalize()
    images.rename(images.with_name("away"))
    with pytest.raises(TryAgainLater, match="is it mounted"):
        beside.set_autoscore()
    assert beside.state(batch) == "approved"
    images.with_name("away").rename(images)
    beside.finish()
    assert beside.state(batch) == "imported"


def test_a_full_disk_leaves_no_half_picture(tmp_path: Path) -> None:
    lab = started(tmp_path, pictures="files", picture_folder=tmp_path / "pictures")
    batch = scored(lab)
    lab.finalize()
    with small_disk(tmp_path / "pictures") as disk:
        disk.fill()
        with pytest.raises(TryAgainLater, match="nothing was lost"):
            lab.set_autoscore()
        assert [path for path in (tmp_path / "pictures").rglob("*CI0*") if path.is_file()] == []
        disk.free()
        lab.finish()
        assert lab.state(batch) == "imported"


def test_a_result_that_was_deleted_gives_no_picture(tmp_path: Path) -> None:
    lab = started(tmp_path, **ALL)
    batch = scored(lab)
    for path in (lab.settings.results / batch).iterdir():
        path.unlink()
    lab.finish()
    assert counts(lab) == (4, 3, 0)


def test_a_kill_at_any_line_leaves_nothing_out_and_nothing_twice(beside: Lab) -> None:
    lab = Lab(beside.root, {"own_table": True, "regions": True, "pictures": "files", "rows_per_transaction": 1})
    batch = scored(lab)
    quiet = lab.copy(lab.root.parent / "quiet")
    quiet.finish()
    expected = counts(quiet), files(quiet).keys(), len(quiet.scores())
    lines = lines_of(lambda: lab.copy(lab.root.parent / "count").finish())
    for number, line in enumerate(kill_points(5, lines, seed=7)):
        shaken = lab.copy(lab.root.parent / f"kill-{number}")
        killed_at(line, shaken.finish)
        shaken.finish()
        assert (counts(shaken), files(shaken).keys(), len(shaken.scores())) == expected, f"killed at line {line} of {lines}"
        killed_at(line // 3, lambda shaken=shaken: shaken.undo(batch))
        shaken.undo(batch)
        assert (counts(shaken), len(files(shaken)), shaken.scores()) == ((0, 0, 0), len(SHOTS), [])


# ---- reconciliation -----------------------------------------------------------------------------------------------------


def test_reconcile_tells_every_difference_and_mends_what_is_ours(tmp_path: Path) -> None:
    lab = started(tmp_path, own_table=True, regions=True)
    lab.inspect(("B01a", 1), ("B02a", 1), ("B03a", 1))
    batch = scored(lab, {**SHOTS, ("B01a", 1): "other", ("B02a", 1): "precipitate", ("B03a", 1): "clear"})
    gone = scored(lab, {("B03a", 1): "spherulites"}, scoring='{"step":16}')
    lab.finish()
    agree = run(lab, "reconcile")
    assert (agree.exit_code, agree.output) == (0, "ledger and XtalTrak agree: 5 rows of ours\n")

    numbers = {row[2]: row[0] for row in lab.scores()}
    vanished, taken, changed, later = (numbers[image_name(*shot)] for shot in (("A01a", 8), ("B01a", 1), ("B02a", 1), ("B03a", 1)))
    lab.execute("DELETE FROM I_SCORES WHERE SCOREID IN (?, ?)", vanished, later)
    lab.execute("UPDATE I_SCORES SET SCOREDBY = 'Berta', SCORE = '31', SCOREDATE = '2025-01-01 00:00:00' WHERE SCOREID = ?", taken)
    lab.execute("UPDATE I_SCORES SET SCORE = '12' WHERE SCOREID = ?", changed)
    stranger = lab.person("A02a", 1, "21", "ARTscore")
    lab.execute("DELETE FROM ARTSCORES WHERE IMAGENAME = ?", image_name("A02a", 1))
    lab.execute("UPDATE ARTSCORES SET SCORE = '11' WHERE IMAGENAME = ?", image_name("A01a", 3))
    lab.execute("INSERT INTO ARTSCORE_REGIONS VALUES ('unknown', 1, 'x', 1, 'clear', 1, 0, 0, 1, 1)")
    before = lab.scores(), counts(lab), lab.ledger_rows("SELECT * FROM writes")
    lines = [
        f"vanished    23 of {image_name('A01a', 8)} (SCOREID {vanished})",
        f"taken over  33 of {image_name('B01a', 1)} (SCOREID {taken}): it is Berta's, 31",
        f"changed     13 of {image_name('B02a', 1)} (SCOREID {changed}): it is 12 on {image_name('B02a', 1)}, 2024-03-08 09:30:00",
        f"vanished    32 of {image_name('B03a', 1)} (SCOREID {later})",
        f"not noted   SCOREID {stranger} of inspection {lab.inspection('A02a', 1)}: bears our name, and is not ours",
        f"changed     1 ARTscores of batch {batch}",
        f"lacking     1 ARTscores of batch {batch}",
        "not noted   1 regions of batch unknown, which this ledger does not know",
    ]
    told = run(lab, "reconcile")
    assert told.output.splitlines()[:-1] == lines
    assert told.output.splitlines()[-1].endswith("3 differences that are ours to mend (--repair mends them), 5 that stay as they are")
    assert told.exit_code == 1
    assert (lab.scores(), counts(lab), lab.ledger_rows("SELECT * FROM writes")) == before, "nothing is written without the option"

    mended = run(lab, "reconcile", "--repair")
    assert mended.output.splitlines()[-1].endswith("3 differences that are ours to mend (3 mended), 5 that stay as they are")
    assert {row[2]: row[3] for row in lab.scores() if row[5] == "ARTscore" and row[0] != stranger} == {
        image_name("A01a", 3): "01",
        image_name("A01a", 8): "23",
        image_name("B02a", 1): "12",
        image_name("B03a", 1): "32",
    }
    assert [row for row in lab.scores() if row[0] in (taken, stranger)] == [row for row in before[0] if row[0] in (taken, stranger)]
    again = run(lab, "reconcile")
    assert "vanished" not in again.output
    assert "lacking" not in again.output
    lab.undo(gone)
    lab.undo(batch)
    assert sorted(row[0] for row in lab.scores()) == sorted([taken, changed, stranger]), "what was written again is undone with its batch"


def test_a_row_that_vanished_beside_a_person_is_not_written_again(tmp_path: Path) -> None:
    lab = started(tmp_path)
    scored(lab)
    lab.finish()
    lab.execute("DELETE FROM I_SCORES WHERE IMAGENAME = ?", image_name("A01a", 8))
    lab.person("A01a", 3, "11")
    assert run(lab, "reconcile", "--repair").exit_code == 0
    assert [row[3] for row in lab.scores() if row[2] == image_name("A01a", 8)] == []
    assert lab.people()[0][3] == "11"


def test_what_an_undone_batch_left_in_our_tables_is_mended(tmp_path: Path) -> None:
    lab = started(tmp_path, own_table=True)
    batch = scored(lab)
    lab.finish()
    lab.execute("CREATE TABLE BACKUP AS SELECT * FROM ARTSCORES")
    lab.undo(batch)
    lab.execute("INSERT INTO ARTSCORES SELECT * FROM BACKUP")
    assert f"left over   4 ARTscores of batch {batch}, which is undone" in run(lab, "reconcile").output
    assert run(lab, "reconcile", "--repair").exit_code == 0
    assert counts(lab)[0] == 0


def test_nothing_is_mended_where_rule_6_forbids_writing(tmp_path: Path) -> None:
    lab = started(tmp_path)
    scored(lab)
    lab.finish()
    lab.execute("DELETE FROM I_SCORES")
    lab.execute("CREATE TRIGGER T AFTER INSERT ON I_SCORES BEGIN DELETE FROM PLATES; END")
    assert run(lab, "reconcile").exit_code == 1
    refused = run(lab, "reconcile", "--repair")
    assert isinstance(refused.exception, SettingsError)
    assert lab.scores() == []
