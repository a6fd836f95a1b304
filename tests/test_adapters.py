"""Images of Rock Maker and of CSV lists in the embedded XtalTrak: rightly mapped, once, and a bad one fails alone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from generator_lab import Lab, make_lab, picture

from crystal_search.crystaltrak_names import parse_image_name
from crystal_search.errors import EXIT_DONE, EXIT_SOME_FAILED, UsageError
from crystal_search.plate import Well
from crystal_search.xtaltrak.adapters.rock_maker import FORMATS, well_of
from crystal_search.xtaltrak.load import load

HEADER = "BatchID,DateImaged,DropNum,ImagerName,PlateID,ProfileID,WellColNum,WellNum,WellRowLetter"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    (tmp_path / "lab" / "images").mkdir(parents=True)
    return make_lab(tmp_path / "lab", drops=())


def put(base: Path, plate: int, batch: int, well: int, name: str, profile: int = 1, seed: int = 0, bucket: int | None = None) -> Path:
    folder = base / "WellImages" / str(plate % 1000 if bucket is None else bucket) / f"plateID_{plate}" / f"batchID_{batch}"
    path = folder / f"wellNum_{well}" / f"profileID_{profile}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(seed))
    return path


def run(lab: Lab, *arguments: str | Path, code: int = EXIT_DONE) -> Result:
    result = CliRunner().invoke(load, ["--settings", str(lab.settings_file), *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code
    return result


def rows(lab: Lab, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(lab.settings.xtaltrak.database)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


INSPECTIONS = "SELECT BARCODEID, INSPECTNUMBER, INSPECTDATE, COL, I_ROW, SUBWELL FROM I_INSPECTIONS ORDER BY 1, 2, 4, 5, 6"


def links(lab: Lab) -> dict[str, Path]:
    """What each link below the image root is called, and where it leads."""
    return {path.name: path.readlink() for path in sorted(lab.settings.paths.images.rglob("*")) if path.is_symlink()}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def export(folder: Path, lines: Sequence[str], header: str = HEADER) -> Path:
    path = folder / "export.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


# ---- Rock Maker -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wells", "last"), [(24, "D06"), (48, "F08"), (96, "H12"), (384, "P24"), (1536, "AF48")])
def test_wells_are_numbered_row_by_row(wells: int, last: str) -> None:
    rows_, columns = FORMATS[wells]
    assert rows_ * columns == wells
    assert well_of(1, wells) == Well(1, 1)
    assert well_of(columns, wells) == Well(columns, 1)
    assert well_of(columns + 1, wells) == Well(1, 2)
    assert well_of(wells, wells).label == last
    for outside in (0, wells + 1):
        with pytest.raises(ValueError, match=f"not on a plate of {wells} wells"):
            well_of(outside, wells)


def test_a_rock_maker_tree_with_its_export(lab: Lab, tmp_path: Path) -> None:
    base = tmp_path / "rock"
    first = put(base, 12345, 700, 13, "d1_r9_ef.jpg")
    put(base, 12345, 700, 13, "d1_r9_th.jpg")
    put(base, 12345, 700, 13, "d2_r9_ef.jpg", seed=1)
    uv = put(base, 12345, 700, 13, "d1_r10_ef.jpg", profile=4, seed=2)
    put(base, 12345, 801, 13, "d1_r9_ef.jpg", seed=3)
    table = export(
        tmp_path,
        [
            "801,2026-03-08 10:00:05,1,RI1000-0082,12345,1,1,13,B",  # the later imaging stands first
            "700,2026-03-01 09:30:00,1,RI1000-0082,12345,1,1,13,B",
            "700,2026-03-01 09:30:02,2,RI1000-0082,12345,1,1,13,B",
            "700,2026-03-01 09:31:00,1,RI1000-0082,12345,4,1,13,B",
        ],
    )
    run(lab, base, "--from", "rockmaker", "--csv", table)
    assert rows(lab, INSPECTIONS) == [
        ("RM12345", 1, "2026-03-01 09:30:00", 1, 2, 1),
        ("RM12345", 1, "2026-03-01 09:30:02", 1, 2, 2),
        ("RM12345", 2, "2026-03-08 10:00:05", 1, 2, 1),
    ]
    found = {parse_image_name(name): path for name, path in links(lab).items()}
    assert {(name.imager, name.drop.barcode, name.drop.label, name.inspection_number, name.profile) for name in found} == {
        (82, "RM12345", "B01a", 1, "RM1"),
        (82, "RM12345", "B01b", 1, "RM1"),
        (82, "RM12345", "B01a", 1, "RM4"),
        (82, "RM12345", "B01a", 2, "RM1"),
    }
    assert {str(name.taken_on) for name in found} == {"2026-03-01", "2026-03-08"}
    assert {first, uv} <= set(found.values())  # the images stay where they are
    assert rows(lab, "SELECT count(*) FROM I_IMAGES") == [(4,)]
    assert rows(lab, "SELECT INSPECTNUMBER, INSPECTDATE FROM I_PLATE_INSPECTIONS ORDER BY 1") == [
        (1, "2026-03-01 09:30:00"),
        (2, "2026-03-08 10:00:05"),
    ]


def test_a_second_time_brings_only_what_is_new_and_numbers_stay(lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = tmp_path / "rock"
    put(base, 7, 20, 1, "d1_r1_ef.jpg")
    line = "20,2026-03-02 08:00,1,A,7,1,1,1,A"
    run(lab, base, "--from", "rockmaker", "--csv", export(tmp_path, [line]))
    before = rows(lab, INSPECTIONS)
    caplog.set_level("INFO")
    run(lab, base, "--from", "rockmaker", "--csv", export(tmp_path, [line]))
    assert caplog.messages[-1].startswith("0 images new in ")
    assert rows(lab, INSPECTIONS) == before
    put(base, 7, 10, 1, "d1_r1_ef.jpg")  # an older imaging comes late: the numbers that people know stay
    put(base, 7, 30, 1, "d1_r1_ef.jpg")
    older, newer = "10,2026-03-01 08:00,1,A,7,1,1,1,A", "30,2026-03-03 08:00,1,A,7,1,1,1,A"
    run(lab, base, "--from", "rockmaker", "--csv", export(tmp_path, [line, newer, older]))
    assert [row[1:3] for row in rows(lab, INSPECTIONS)] == [
        (1, "2026-03-02 08:00:00"),
        (2, "2026-03-01 08:00:00"),
        (3, "2026-03-03 08:00:00"),
    ]


def test_one_bad_row_of_an_export_fails_alone(lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = tmp_path / "rock"
    put(base, 7, 20, 1, "d1_r1_ef.jpg")
    put(base, 7, 20, 14, "d1_r1_ef.jpg", seed=1)
    lines = {
        "20,2026-03-02 08:00,1,A,7,1,1,1,A": None,
        "20,02.03.2026 08:00,1,A,7,1,1,1,A": "'02.03.2026 08:00' is not an ISO date",
        "20,2026-03-02 08:00,1,A,7,1,1": "7 cells, the header has 9",
        "20,2026-03-02 08:00,x,A,7,1,1,1,A": "DropNum 'x' is not a whole number",
        "20,2026-03-02 08:00,2,A,7,1,1,1,A": "no image of drop 2 in",
        "21,2026-03-02 08:00,1,A,7,1,1,1,A": "no image of drop 1 in",
        "20,2026-03-02 08:00,1,A,7,1,1,14,B": "well 14 of 96 is B02, the row says B01",
        "20,2026-03-02 08:00,1,A,7,1,99,14,B": "'B99' is not a well|no plate has a well",
        "20,1999-03-02 08:00,1,A,7,1,2,14,B": "1999-03-02 or profile 'RM1' does not fit",
        "20,2026-03-02 08:00,1,A,7,1,2,14,B": None,
    }
    run(lab, base, "--from", "rockmaker", "--csv", export(tmp_path, list(lines)), "--wells", "96", code=EXIT_SOME_FAILED)
    said = warnings(caplog)
    wrong = [(number, reason) for number, reason in enumerate(lines.values(), 2) if reason]
    assert len(said) == len(wrong)
    for (number, reason), line in zip(wrong, said, strict=True):
        assert "\n" not in line
        assert f"export.csv line {number}: " in line or "1999" in line
        assert any(part in line for part in reason.split("|")), line
    assert [row[3:] for row in rows(lab, INSPECTIONS)] == [(1, 1, 1), (2, 2, 1)]


def test_dates_in_another_order_are_said_not_guessed(lab: Lab, tmp_path: Path) -> None:
    base = tmp_path / "rock"
    put(base, 7, 20, 1, "d1_r1_ef.jpg")
    table = export(tmp_path, ["20,3/2/2026 2:05:00 PM,1,A,7,1,1,1,A"])
    run(lab, base, "--from", "rockmaker", "--csv", table, "--date-format", "%m/%d/%Y %I:%M:%S %p")
    assert rows(lab, "SELECT INSPECTDATE FROM I_INSPECTIONS") == [("2026-03-02 14:05:00",)]


def test_an_export_with_barcodes(lab: Lab, tmp_path: Path) -> None:
    base = tmp_path / "rock"
    put(base, 7, 20, 1, "d1_r1_ef.jpg")
    table = export(tmp_path, ["20,2026-03-02 08:00,1,A,7,1,1,1,A,AB0042"], HEADER + ",Barcode")
    run(lab, base, "--from", "rockmaker", "--csv", table)
    assert rows(lab, "SELECT BARCODE FROM PLATES") == [("AB0042",)]


def test_a_tree_alone(lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = tmp_path / "rock"
    kept = put(base, 3001, 5, 25, "d2_r1_ef.jpg")
    os.utime(kept, (datetime(2026, 3, 1, 9, 30).timestamp(),) * 2)
    put(base, 3001, 5, 25, "d2_r1_th.jpg")
    put(base, 3001, 5, 385, "d1_r1_ef.jpg")
    put(base, 3001, 5, 25, "notes.txt")
    put(base, 42, 6, 1, "d1_r1_ef.jpg", bucket=7)
    run(lab, base / "WellImages", "--from", "rockmaker", "--wells", "384", code=EXIT_SOME_FAILED)
    assert rows(lab, INSPECTIONS) == [("RM3001", 1, "2026-03-01 09:30:00", 1, 2, 2)]
    said = warnings(caplog)
    assert len(said) == 3
    assert sum("well 385 is not on a plate of 384 wells" in line for line in said) == 1
    assert sum("notes.txt: not a name such as d1_r1_ef.jpg" in line for line in said) == 1
    assert sum("plate 42 belongs into the folder 42" in line for line in said) == 1


def test_other_kinds_are_asked_for(lab: Lab, tmp_path: Path) -> None:
    base = tmp_path / "rock"
    put(base, 7, 20, 1, "d1_r1_ef.jpg")
    put(base, 7, 20, 1, "d1_r1_F1.jpg", seed=1)
    run(lab, base, "--from", "rockmaker", "--kind", "ef", "--kind", "f1")
    assert rows(lab, "SELECT count(*) FROM I_IMAGES") == [(2,)]


def test_what_is_no_rock_maker_folder(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder WellImages there"):
        run(lab, tmp_path, "--from", "rockmaker")
    (tmp_path / "WellImages").mkdir()
    with pytest.raises(UsageError, match="no column 'ProfileID'"):
        run(lab, tmp_path, "--from", "rockmaker", "--csv", export(tmp_path, ["1"], HEADER.replace("ProfileID", "Profile")))
    with pytest.raises(UsageError, match="go with --from rockmaker"):
        run(lab, tmp_path, "--from", "csv", "--wells", "96")


# ---- a CSV list -----------------------------------------------------------------------------------------------------

LIST = "path,barcode,inspection,well,drop,date,imager,profile"


def test_a_list_of_images(lab: Lab, tmp_path: Path) -> None:
    for name in ("one.jpg", "two.PNG"):
        (tmp_path / name).write_bytes(picture(len(name)))
    table = export(tmp_path, ["one.jpg,CI9,2,B03,c,2026-03-01 09:30,17,HF", f"{tmp_path}/two.PNG,CI9,3,h12,1,2026-03-08,,"], LIST)
    for _ in range(2):
        run(lab, table, "--from", "csv")
        assert rows(lab, INSPECTIONS) == [("CI9", 2, "2026-03-01 09:30:00", 3, 2, 3), ("CI9", 3, "2026-03-08 00:00:00", 12, 8, 1)]
        first, second = (parse_image_name(name) for name in links(lab))
        assert (first.imager, first.drop.label, first.profile) == (17, "B03c", "HF")
        assert (second.imager, second.drop.label, second.profile) == (0, "H12a", "00")


def test_a_name_that_is_crystaltraks_is_kept_and_must_agree(lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = "RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI9_003_121121_01_06_01_HF_99_030_001_RDI.jpg"
    (tmp_path / name).write_bytes(picture(1))
    table = export(tmp_path, [f"{name},CI9,3,F01,a,2012-11-21,,", f"{name},CI9,3,F02,a,2012-11-21,,"], LIST)
    run(lab, table, "--from", "csv", code=EXIT_SOME_FAILED)
    assert list(links(lab)) == [name]
    assert warnings(caplog) == ["skipped export.csv line 3: the file's name says plate CI9 drop F01a inspection 3, not CI9 F02a 3"]


def test_one_bad_row_of_a_list_fails_alone(lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.jpg", "b.jpg", "c.txt"):
        (tmp_path / name).write_bytes(picture(ord(name[0])))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").write_bytes(picture(9))
    lines = {
        "a.jpg,CI9,2,B03,c,2026-03-01,,HF": None,
        "sub/a.jpg,CI9,2,B03,c,2026-03-01,,HF": "another image of that name",
        "nowhere.jpg,CI9,2,B03,c,2026-03-01,,HF": "no such file",
        "a.jpg,CI_9,2,B03,c,2026-03-01,,HF": "barcode 'CI_9' is not 1 to 32 letters and digits",
        "a.jpg,,2,B03,c,2026-03-01,,HF": "barcode '' is not 1 to 32 letters and digits",
        "a.jpg,CI9,0,B03,c,2026-03-01,,HF": "inspection '0' is not a whole number from 1 on",
        "a.jpg,CI9,2,Q99,c,2026-03-01,,HF": "no plate has a well",
        "a.jpg,CI9,2,B03,27,2026-03-01,,HF": "drop '27' is none of 1 to 26",
        "a.jpg,CI9,2,B03,c,,,HF": "'' is not an ISO date",
        "c.txt,CI9,2,B03,c,2026-03-01,,HF": "not an image's file name",
        "a.jpg,CI9,2,B03,c,2026-03-01,,H_F": "profile 'H_F' has a _ in it",
        "a.jpg,CI9,2": "3 cells, the header has 8",
        "b.jpg,CI9,2,B04,c,2026-03-01,,HF": None,
    }
    run(lab, export(tmp_path, list(lines), LIST), "--from", "csv", code=EXIT_SOME_FAILED)
    said = warnings(caplog)
    wrong = [(number, reason) for number, reason in enumerate(lines.values(), 2) if reason]
    assert len(said) == len(wrong)
    for (number, reason), line in zip(wrong, said, strict=True):
        assert line.startswith(f"skipped export.csv line {number}: "), line
        assert any(part in line for part in reason.split("|")), line
    assert [row[3] for row in rows(lab, INSPECTIONS)] == [3, 4]


def test_copies_where_links_would_not_lead_anywhere(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(picture(1))
    table = export(tmp_path, ["one.jpg,CI9,2,B03,c,2026-03-01,,HF"], LIST)
    run(lab, table, "--from", "csv", "--copy")
    (placed,) = lab.settings.paths.images.rglob("*.jpg")
    assert not placed.is_symlink()
    assert placed.read_bytes() == picture(1)
    run(lab, table, "--from", "csv")  # it is the same image: nothing to do


# ---- all the way ----------------------------------------------------------------------------------------------------


def test_what_was_brought_in_goes_out_to_the_grid(lab: Lab, tmp_path: Path) -> None:
    base = tmp_path / "rock"
    put(base, 7, 20, 1, "d1_r1_ef.jpg")
    gone = put(base, 7, 20, 2, "d1_r1_ef.jpg", seed=1)
    (tmp_path / "one.jpg").write_bytes(picture(2))
    run(lab, base, "--from", "rockmaker")
    run(lab, export(tmp_path, ["one.jpg,CI9,2,B03,c,2026-03-01,,HF"], LIST), "--from", "csv")
    gone.unlink()
    lab.round()
    assert lab.counts() == {"in_work": 2, "refused": 1}
    assert list(lab.reasons().values()) == ["missing: no such file below the image root"]
    (manifest,) = lab.grid.manifests()
    assert sorted(image.um_per_px or 0 for image in manifest.images) == [0, 1.131]  # by profile: HF of the list is in the settings
