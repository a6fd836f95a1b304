"""Scores out of the ledger: names beside numbers, page by page, in the forms that others read."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from scored_lab import Lab, image_name
from sqlalchemy import text

from crystal_search.errors import UsageError
from crystal_search.exports.cli import export

ANSWERS = {
    ("A01a", 1): "crystals_harvestable",
    ("A02a", 1): "precipitate",
    ("A03b", 1): "spherulites",
    ("A04a", 1): "clear",
    ("A05a", 1): "unsure",
    ("A06a", 1): "no_drop",
    ("A07a", 1): "failed",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("lab")).create()
    (lab.root / "crystal-search.toml").write_text('[paths]\nstate = "state"\nimages = "images"\n')
    lab.inspect(*ANSWERS)
    lab.batch(ANSWERS)
    lab.inspect(("H12d", 2), barcode="XY2")
    lab.batch({("H12d", 2): "crystals_bad_form"}, barcode="XY2")
    lab.person("A02a", 1, "23")
    with lab.ledger() as ledger, ledger.begin() as connection:
        chops = [("precipitate_good", 0.7), ("crystals_bad_form", 0.2), ("precipitate", 0.6), ("rim", 0.5)]
        connection.execute(
            text("UPDATE artscores SET chops = :chops WHERE class_name = 'precipitate'"),
            {"chops": json.dumps([{"box": [0, 0, 9, 9], "class_name": name, "probability": p} for name, p in chops])},
        )
    return lab


def told(lab: Lab, *options: str) -> str:
    result = CliRunner().invoke(export, ["scores", "--settings", str(lab.root / "crystal-search.toml"), *options], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_csv_has_every_image_that_came_back_with_names_and_numbers(lab: Lab) -> None:
    rows = list(csv.DictReader(told(lab).splitlines()))
    assert [(row["barcode"], row["well"], row["drop"], row["status"], row["class"], row["score"], row["group"]) for row in rows] == [
        ("CI000001", "A01", "a", "scored", "crystals_harvestable", "23", "crystal"),
        ("CI000001", "A02", "a", "scored", "precipitate", "13", "precipitate"),
        ("CI000001", "A03", "b", "scored", "spherulites", "32", "other"),
        ("CI000001", "A04", "a", "scored", "clear", "01", "clear"),
        ("CI000001", "A05", "a", "unsure", "", "", ""),
        ("CI000001", "A06", "a", "no_drop", "", "", ""),
        ("XY2", "H12", "d", "scored", "crystals_bad_form", "22", "crystal"),
    ]
    first = rows[0]
    assert (first["inspection"], first["inspected_at"], first["image"]) == ("1", "2024-03-08 09:30:00", image_name("A01a", 1))
    assert (first["probability"], first["crystal_probability"], first["drop_box"], first["model"]) == (
        "0.90625",
        "0.90625",
        "0,0,300,300",
        "tiny",
    )


@pytest.mark.parametrize("page", [1, 2, 7, 100])
def test_no_row_is_lost_or_doubled_between_pages(lab: Lab, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = told(lab)
    monkeypatch.setattr("crystal_search.ledger.all_scores.PAGE", page)
    assert told(lab) == whole


def test_json_says_the_same(lab: Lab) -> None:
    written = told(lab, "--format", "json")
    found = json.loads(written)
    rows = list(csv.DictReader(told(lab).splitlines()))
    assert [{key: "" if value is None else str(value) for key, value in item.items()} | {"drop_box": ""} for item in found] == [
        row | {"drop_box": ""} for row in rows
    ]
    assert found[0]["drop_box"] == [0, 0, 300, 300]
    assert found[5]["crystal_probability"] is None
    assert [json.loads(line.rstrip(",")) for line in written.splitlines()[1:-1]] == [
        json.loads(line) for line in (json.dumps(item) for item in found)
    ]


def test_an_empty_ledger_is_an_empty_array(tmp_path: Path) -> None:
    lab = Lab(tmp_path).create()
    (lab.root / "crystal-search.toml").write_text('[paths]\nstate = "state"\n')
    assert json.loads(told(lab, "--format", "json")) == []


def test_ispyb_names_and_a_probability_each(lab: Lab) -> None:
    """What the procedure insert_sample_image_auto_score takes; the classes are those of its schema CHIMP."""
    rows = list(csv.reader(told(lab, "--format", "ispyb").splitlines()))
    assert rows[0] == ["imageFullPath", "schemaName", "scoreClass", "probability"]
    by_image: dict[str, dict[str, str]] = {}
    for path, schema, name, probability in rows[1:]:
        assert schema == "CrystalSearch"
        by_image.setdefault(path, {})[name] = probability
    root = lab.settings.paths.images
    assert len(by_image) == 6  # the image without a drop has none
    assert by_image[f"{root}/CI000001/1/{image_name('A01a', 1)}"] == {
        "clear": "0.5",
        "crystal": "0.90625",
        "precipitant": "",
        "other": "",
    }
    assert by_image[f"{root}/CI000001/1/{image_name('A02a', 1)}"] == {
        "clear": "0.5",  # a rim is clear
        "crystal": "0.25",  # the crystal probability, not the best region's 0.2
        "precipitant": "0.90625",  # the score's, not the best regions'
        "other": "",
    }
    assert by_image[f"{root}/CI000001/1/{image_name('A05a', 1)}"]["crystal"] == "0.25"


def test_ispyb_gets_the_path_behind_a_link(lab: Lab, tmp_path: Path) -> None:
    link = lab.settings.paths.images / "XY2" / "2" / image_name("H12d", 2, "XY2")
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "plateID_7" / "d1_r1_ef.jpg")
    try:
        last = told(lab, "--format", "ispyb", "--schema", "MARCO").splitlines()[-1]
    finally:
        link.unlink()
    assert last == f"{tmp_path}/plateID_7/d1_r1_ef.jpg,MARCO,other,"


def test_one_plate_into_a_file(lab: Lab, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    assert told(lab, "--plate", "XY2", "--out", str(out)) == ""
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert row["barcode"] == "XY2"


def test_wrong_calls_are_one_line(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="25 characters"):
        told(lab, "--format", "ispyb", "--schema", "x" * 26)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"^[^\n]*can not be written"):
        told(lab, "--out", str(tmp_path / "file" / "scores.csv"))
