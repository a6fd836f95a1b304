"""MARCO's forms: a few drawn wells as TFRecords and as folders, through the commands of docs/how-to/marco.md; and disagreements."""

from __future__ import annotations

import csv
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from generator_lab import make_lab
from heavy import heavy
from sqlalchemy import text
from tiny_model import encoded, picture, write_model

from crystal_search.cli import crystal_search
from crystal_search.errors import UsageError
from training.datasets import cut
from training.datasets.disagreements import from_scores
from training.datasets.from_class_folders import read_class_folders
from training.datasets.from_tfrecords import masked_crc32c
from training.evaluation.labels import read_labels
from training.evaluation.scores import read_scores

tensorflow = heavy("tensorflow")

WELLS = {
    "Crystals": picture(("crystals_harvestable", 80, 60)),
    "Precipitate": picture(("precipitate", 80, 60)),
    "Other": picture(("phase_separation", 80, 60)),
    "Clear": picture(),
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(crystal_search, list(map(str, arguments)))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def tfrecord(path: Path, names: list[str]) -> Path:
    """A file framed as TensorFlow frames it, with MARCO's features."""
    framed = b""
    for name in names:
        train = tensorflow.train
        values = {"image/encoded": encoded(WELLS[name], "JPEG"), "image/class/text": name.encode()}
        feature = {key: train.Feature(bytes_list=train.BytesList(value=[value])) for key, value in values.items()}
        data = train.Example(features=train.Features(feature=feature)).SerializeToString()
        length = struct.pack("<Q", len(data))
        framed += length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))
    path.write_bytes(framed)
    return path


def test_the_test_split_is_scored_and_compared_with_what_marco_published(tmp_path: Path) -> None:
    records = tfrecord(tmp_path / "test-00000", ["Crystals", "Precipitate", "Other", "Clear", "Clear"])
    assert run("dataset", "unpack", records, "--out", tmp_path / "test").exit_code == 0
    rows = table(tmp_path / "test" / "labels.csv")
    assert [row["label"] for row in rows] == ["crystal", "precipitate", "other", "clear", "clear"]
    assert (tmp_path / "test" / rows[0]["image"]).read_bytes() == encoded(WELLS["Crystals"], "JPEG")
    done = run("score", tmp_path / "test", "--model", write_model(tmp_path / "tiny"), "--out", tmp_path / "scores", "--workers", 1)
    assert done.exit_code == 0, done.output
    told = ["--labels", tmp_path / "test" / "labels.csv", "--out", tmp_path / "report", "--bootstrap", 0]
    done = run("evaluate", tmp_path / "scores" / "scores.csv", *told)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report" / "report.html").read_text()
    assert "MARCO&#x27;s own test split" in page or "MARCO's own test split" in page
    assert "94.0" in page


def test_a_damaged_record_is_left_out_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = tfrecord(tmp_path / "test-00000", ["Crystals", "Clear"])
    records.write_bytes(records.read_bytes()[:-30])
    done = run("dataset", "unpack", records, "--out", tmp_path / "test")
    assert done.exit_code == 1
    assert "1 records were left out" in str(done.exception)
    assert "record 2: the file ends within it" in caplog.text
    assert len((tmp_path / "test" / "labels.csv").read_text().splitlines()) == 2


def test_an_empty_file_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "test-00000").touch()
    done = run("dataset", "unpack", tmp_path / "test-00000", "--out", tmp_path / "test")
    assert done.exit_code == 1
    assert f"left out {tmp_path / 'test-00000'}: the file is empty: copy it again from where it was made" in caplog.text


def test_folders_named_as_marcos_classes_become_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut, "MARGIN", 0)
    for name, well in WELLS.items():
        for number in range(3):
            file = tmp_path / "marco" / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(well))
    loose = [part for name in ("crystal", "precipitate", "other", "rim") for part in ("--threshold", f"{name}=0")]
    told = ["--class-folders", tmp_path / "marco", "--model", write_model(tmp_path / "tiny"), "--without-uv", "visible alone", *loose]
    done = run("dataset", "build", *told, "--out", tmp_path / "data")
    assert done.exit_code == 0, done.output
    assert "Crystals harvestable" in done.output
    found = read_class_folders(tmp_path / "marco")
    assert [(image.name, image.class_name, image.only_group) for image in found.images][::3] == [
        ("Clear/0.png", "clear", True), ("Crystals/0.png", "crystals_harvestable", True), ("Other/0.png", "other", True),
        ("Precipitate/0.png", "precipitate", True),
    ]  # fmt: skip
    assert len({image.plate for image in found.images}) == 12


def test_folders_that_name_no_class(tmp_path: Path) -> None:
    (tmp_path / "Holiday").mkdir()
    with pytest.raises(UsageError, match="no folder in it has a class's name"):
        read_class_folders(tmp_path)


# ---- disagreements ------------------------------------------------------------------------------------------------

SCORES = """image,status,class,score,group,probability,crystal_probability
sure.jpg,scored,crystals_bad_form,22,crystal,0.99,0.99
unsure_false.jpg,scored,crystals_harvestable,23,crystal,0.6,0.6
missed.jpg,scored,clear,01,clear,0.9,0.2
unseen.jpg,no_drop,,,,,
agreed.jpg,scored,crystals_overnucleated,21,crystal,0.9,0.9
hazy.jpg,unsure,,,,,0.1
empty.jpg,no_drop,,,,,
filled.jpg,scored,clear,01,clear,0.9,0.1
"""
LABELS = """image,label,plate
sure.jpg,clear,P1
unsure_false.jpg,precipitate_bad,P1
missed.jpg,crystals_harvestable,P2
unseen.jpg,crystals_bad_form,P2
agreed.jpg,crystals_harvestable,P2
hazy.jpg,spherulites,P3
empty.jpg,empty_well,P3
filled.jpg,empty_well,P3
"""


def test_disagreements_in_the_order_in_which_to_look(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text(SCORES)
    (tmp_path / "labels.csv").write_text(LABELS)
    found = from_scores(read_labels(tmp_path / "labels.csv"), read_scores(tmp_path / "scores.csv", "s").scores)
    assert [(one.image, one.label, one.kind) for one in found] == [
        ("sure.jpg", "clear", "false crystal"), ("unsure_false.jpg", "precipitate_bad", "false crystal"),
        ("unseen.jpg", "crystals_bad_form", "missed crystal"), ("missed.jpg", "crystals_harvestable", "missed crystal"),
        ("filled.jpg", "empty_well", "other group"), ("hazy.jpg", "spherulites", "other group"),
    ]  # fmt: skip


def test_the_list_is_a_labels_file(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text(SCORES)
    (tmp_path / "labels.csv").write_text(LABELS)
    done = run("dataset", "disagreements", tmp_path / "scores.csv", "--labels", tmp_path / "labels.csv", "--out", tmp_path / "list.csv")
    assert done.exit_code == 0, done.output
    assert "6 disagreements (2 false crystal, 2 missed crystal, 2 other group); 1 of empty wells" in done.output
    again = read_labels(tmp_path / "list.csv")
    assert again.images["missed.jpg"].plate == "P2"
    assert again.images["missed.jpg"].consensus.judgement.class_name == "crystals_harvestable"


def test_a_person_in_xtaltrak_against_the_ledger(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    lab.round()
    with lab.ledger() as ledger, ledger.begin() as connection:
        names = [name for (name,) in connection.execute(text("SELECT image_name FROM images ORDER BY id")).all()][:2]
        for number, class_name in enumerate(("clear", "crystals_bad_form")):
            connection.execute(
                text(
                    "INSERT INTO artscores (image_id, status, class_name, score, probability, crystal_probability, scored_at) "
                    "SELECT id, 'scored', :c, '01', 0.9, 0.1, '2026-01-01' FROM images WHERE image_name = :n"
                ),
                {"c": class_name, "n": names[number]},
            )
    (database,) = (path for path in tmp_path.rglob("*.sqlite") if path.name != "ledger.sqlite")
    with closing(sqlite3.connect(database)) as xtaltrak, xtaltrak:
        for name in names:
            xtaltrak.execute(
                "INSERT INTO I_SCORES (SCOREID, INSPECTID, SCORE, SCOREDATE, IMAGENAME, SCOREDBY) "
                "SELECT INSPECTID, INSPECTID, '23', NULL, IMAGENAME, 'Berta' FROM I_IMAGES WHERE IMAGENAME = ?",
                (name,),
            )
    done = run("dataset", "disagreements", "--settings", lab.settings_file, "--out", tmp_path / "list.csv")
    assert done.exit_code == 0, done.output
    rows = table(tmp_path / "list.csv")
    assert [(Path(row["image"]).name, row["label"], row["artscore"], row["kind"]) for row in rows] == [
        (names[0], "crystals_harvestable", "clear", "missed crystal")
    ]
