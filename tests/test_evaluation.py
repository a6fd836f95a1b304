"""``crystal-search evaluate`` as a person meets it: score files and labels in, a report out that can be believed."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from openpyxl import load_workbook
from PIL import Image

from client_app.score import COLUMNS
from crystal_search import cli as root
from crystal_search.classes import BY_NAME
from crystal_search.errors import SettingsError, TryAgainLater, UsageError
from training.evaluation.cli import evaluate, read_columns
from training.evaluation.evaluation import Wish
from training.evaluation.evaluation import evaluate as compare
from training.evaluation.intervals import units_of
from training.evaluation.labels import read_labels
from training.evaluation.report.data import left_section
from training.evaluation.report.findings import finding_section
from training.evaluation.report.page import page
from training.evaluation.report.table import Thumbnail
from training.evaluation.report.thumbnails import thumbnails
from training.evaluation.scores import name_files, read_scores

# The example that is worked out by hand: image, people's word, what became of it, crystal probability.
# crystal 3: two found, one unsure. precipitate 2: one right. other 1: wrong. clear 2 and empty 2: one clear drop is called a
# crystal, an empty well's no_drop is right, a clear drop's no_drop is not, and clear is right for an empty well.
EXAMPLE = [
    ("P1/A01.jpg", "crystals_harvestable", "crystals_bad_form", 0.95),
    ("P1/A02.jpg", "crystals_bad_form", "crystals_bad_form", 0.90),
    ("P1/A03.jpg", "crystals_overnucleated", "unsure", 0.40),
    ("P1/A04.jpg", "precipitate", "precipitate_good", 0.30),
    ("P2/A01.jpg", "precipitate_bad", "failed", None),
    ("P2/A02.jpg", "phase_separation", "clear", 0.20),
    ("P2/A03.jpg", "clear", "crystals_harvestable", 0.92),
    ("P2/A04.jpg", "clear", "no_drop", None),
    ("P2/A05.jpg", "empty_well", "no_drop", None),
    ("P2/A06.jpg", "empty_well", "rim", 0.10),
]

HOSTILE = "=HYPERLINK(1)<img src=y>\x1b[31m$a_{b$.jpg"


def write_scores(path: Path, rows: list[tuple[str, str, float | None]], model: str = "squeeze 012345") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for image, outcome, crystal in rows:
            row: dict[str, Any] = {"image": image, "status": outcome, "model": model}
            if outcome in BY_NAME:
                row |= {"status": "scored", "class": outcome, "score": BY_NAME[outcome].score, "probability": 0.9}
            if crystal is not None:
                row["crystal_probability"] = crystal
            writer.writerow(row)
    return path


def write_labels(path: Path, rows: list[tuple[str, ...]], header: str = "image,label,plate,well,source") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate, list(map(str, arguments)), catch_exceptions=False)


def compared(labels: Path, *scores: Path | str, **wish: Any) -> dict[str, Any]:
    """What report.json would hold, without the time that the plots take."""
    files = [read_scores(path, name) for name, path in name_files([*map(str, scores)]).items()]
    evaluation, _ = compare(read_labels(labels), files, Wish(**{"bootstrap": 0, **wish}))
    content: dict[str, Any] = json.loads(msgspec.json.encode(evaluation))
    return content


def told(report: dict[str, Any]) -> str:
    return "\n".join(report["warnings"])


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    return write_scores(tmp_path / "model" / "scores.csv", [(image, outcome, p) for image, _, outcome, p in EXAMPLE])


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_labels(tmp_path / "labels.csv", [(image, label, image[:2], image[3:6], "ann") for image, label, _, _ in EXAMPLE])


@pytest.fixture
def report(scores: Path, labels: Path) -> dict[str, Any]:
    return compared(labels, scores)


# ---- the figures, by hand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("success_crystal", 2 / 3),
        ("success_precipitate", 1 / 2),
        ("success_other", 0),
        ("success_clear", 2 / 4),  # the empty well without a drop and the one scored as rim, which is clear
        ("weighted_mean", 5 / 10),
        ("balanced_mean", (2 / 3 + 1 / 2 + 0 + 1 / 2) / 4),
        ("crystal_precision", 2 / 3),
        ("false_crystals_clear", 1 / 4),
        ("roc_area", (7 + 6 + 6) / 21),  # .95 beats all 7 others; .90 and .40 all but the .92
        ("roc_area_clear", (4 + 3 + 3) / 12),
        ("average_precision", (1 + 2 / 3 + 3 / 4) / 3),
        ("recall_at_5_percent_false", 1 / 3),  # none of four may be called
        ("calibration_error_scored", 0.9 - 4 / 6),  # six scored at 0.9, four of them right
    ],
)
def test_the_figures_of_the_example(report: dict[str, Any], figure: str, value: float) -> None:
    assert report["files"][0]["figures"][figure]["value"] == pytest.approx(value)


def test_matrices_show_what_became_of_every_image(report: dict[str, Any]) -> None:
    groups, classes = report["files"][0]["group_matrix"], report["files"][0]["class_matrix"]
    assert groups["columns"] == ["crystal", "precipitate", "other", "clear", "unsure", "no_drop", "failed"]
    assert dict(zip(groups["rows"], groups["counts"], strict=True)) == {
        "crystal": [2, 0, 0, 0, 1, 0, 0],
        "precipitate": [0, 1, 0, 0, 0, 0, 1],
        "other": [0, 0, 0, 1, 0, 0, 0],
        "clear": [1, 0, 0, 0, 0, 1, 0],
        "empty_well": [0, 0, 0, 1, 0, 1, 0],
    }
    assert (len(classes["rows"]), len(classes["columns"]), sum(map(sum, classes["counts"]))) == (12, 15, 8)  # empty wells have no class
    cell = classes["counts"][classes["rows"].index("precipitate")][classes["columns"].index("precipitate_good")]
    assert cell == 1


def test_plates_ranking_and_thresholds(report: dict[str, Any]) -> None:
    (file,) = report["files"]
    assert [(part["name"], part["images"], part["group_right"], part["false_crystals"]) for part in file["plates"]] == [
        ("P1", 4, [2, 1, 0, 0], 0),
        ("P2", 6, [0, 0, 0, 2], 1),
    ]
    assert file["plates"][1]["roc_area"] is None
    ranking = file["ranking"]
    assert ranking["plates"] == [{"plate": "P1", "wells": 4, "crystal_ranks": [1, 2, 3], "wells_for_share": 3}]
    assert (ranking["wells"], ranking["crystal_wells"], ranking["wells_for_share"]) == (10, 3, 4)
    ninety = file["thresholds"][0]
    assert (ninety["threshold"], ninety["recall"], ninety["called"], ninety["false_rate_clear"]) == (0.4, 1, 4, 0.25)


def test_missed_and_false_crystals_are_listed(report: dict[str, Any]) -> None:
    (file,) = report["files"]
    assert [(f["image"], f["label"], f["outcome"]) for f in file["missed_crystals"]] == [("P1/A03.jpg", "crystals_overnucleated", "unsure")]
    assert [(f["image"], f["label"], f["outcome"]) for f in file["false_crystals"]] == [("P2/A03.jpg", "clear", "crystals_harvestable")]


def test_the_report_says_how_little_it_rests_on(report: dict[str, Any]) -> None:
    for warning in (
        "fewer than 20 images of crystal (3), precipitate (2), other (1), clear (4)",
        "crystals_harvestable (1)",
        "fewer than 5 plates are known",
        "failed and count as misses: 1",
    ):
        assert warning in told(report)
    assert report["labels"]["by_group"] == {"crystal": 3, "precipitate": 2, "other": 1, "clear": 4}
    assert report["labels"]["by_source"] == {"ann": 10}
    assert report["labels"]["empty_wells"] == 2


def test_a_source_of_crystals_alone_is_measured_against_everybodys_clear_drops(tmp_path: Path, scores: Path) -> None:
    """Crystals at .95 and .40 from one source, at .90 from another; clear drops and empty wells at .92, .10, 0 and 0."""
    source = {"P1/A01.jpg": "imager", "P1/A03.jpg": "imager", "P1/A02.jpg": "film"}
    labels = write_labels(tmp_path / "l.csv", [(image, label, image[:2], "", source.get(image, "rest")) for image, label, _, _ in EXAMPLE])
    parts = {part["name"]: part for part in compared(labels, scores, bootstrap=50)["files"][0]["sources"]}
    assert parts["imager"]["roc_area"] is None
    assert parts["imager"]["roc_area_clear"]["value"] == pytest.approx((4 + 3) / 8)
    assert parts["film"]["roc_area_clear"]["value"] == pytest.approx(3 / 4)
    assert parts["rest"]["roc_area_clear"] == {"value": None, "low": None, "high": None}
    assert parts["imager"]["roc_area_clear"]["low"] < 7 / 8


def test_pictures_of_missed_and_false_crystals_are_found_by_either_name(tmp_path: Path, scores: Path) -> None:
    labels = write_labels(tmp_path / "l.csv", [(image.replace("P1/", "old/P1/"), label) for image, label, *_ in EXAMPLE], "image,label")
    for name, size in (("P1/A03.jpg", (900, 600)), ("P2/A03.jpg", (60, 40))):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, 90).save(tmp_path / "images" / name)
    evaluation, _ = compare(read_labels(labels), [read_scores(scores, "s")], Wish(bootstrap=0))
    pictures = thumbnails(evaluation, tmp_path / "images")
    sizes = {name: Image.open(io.BytesIO(jpeg)).size for name, jpeg in pictures.items()}
    assert sizes == {"old/P1/A03.jpg": (280, 187), "P2/A03.jpg": (60, 40)}, "the first by its name in the scores, and never enlarged"
    section = finding_section(evaluation, pictures)
    assert [table.rows[0][-1] for table in section.tables] == [Thumbnail(pictures["old/P1/A03.jpg"]), Thumbnail(pictures["P2/A03.jpg"])]
    text = page(evaluation, (section,), date(2026, 1, 1))
    assert text.count("data:image/jpeg;base64,") == 2
    assert "data:image/jpeg" not in page(evaluation, (finding_section(evaluation, None),), date(2026, 1, 1))
    (tmp_path / "images" / "P2" / "A03.jpg").write_bytes(b"no image")
    assert list(thumbnails(evaluation, tmp_path / "images")) == ["old/P1/A03.jpg"]


def test_the_labels_of_dataset_build_are_read_as_they_are(tmp_path: Path, scores: Path) -> None:
    header = "image,label,plate,well,inspection,uv,protein,drop_type,um_per_px"
    rows = [(image, label, image[:2], image[3:6], "3", f"uv/{image}", "lysozyme", "in meso", "1.131") for image, label, *_ in EXAMPLE]
    report = compared(write_labels(tmp_path / "l.csv", rows, header), scores)
    assert report["files"][0]["matching"]["compared"] == 10
    assert report["labels"]["plates"] == 2


def test_a_plate_that_holds_most_images_is_warned_of(tmp_path: Path) -> None:
    rows = [(f"{n}.jpg", "clear", "large" if n < 7 else f"P{n}") for n in range(12)]
    scores = write_scores(tmp_path / "s.csv", [(image, "clear", 0.1) for image, *_ in rows])
    assert "7 of 12 images are of one plate, large" in told(compared(write_labels(tmp_path / "l.csv", rows, "image,label,plate"), scores))
    even = [(image, label, f"P{n % 6}") for n, (image, label, _) in enumerate(rows)]
    assert "of one plate," not in told(compared(write_labels(tmp_path / "e.csv", even, "image,label,plate"), scores))


# ---- several files ----------------------------------------------------------------------------------------------


def many(tmp_path: Path, plates: int = 8) -> tuple[Path, Path, Path]:
    """Labels of plates whose images differ from plate to plate; a good and a bad program's scores."""
    rng = np.random.default_rng(5)
    truth = [
        (f"P{p}/{w}.jpg", ("crystal", "clear")[rng.random() < 0.2 + 0.08 * p], f"P{p}", f"A{w:02d}")
        for p in range(plates)
        for w in range(1, 9)
    ]

    def scored(skill: float) -> list[tuple[str, str, float | None]]:
        says = [label if rng.random() < skill else ("crystal", "clear")[label == "crystal"] for _, label, *_ in truth]
        names = {"crystal": "crystals_bad_form", "clear": "clear"}
        return [
            (row[0], names[said], float(rng.uniform(0.3, 1) if said == "crystal" else rng.uniform(0, 0.7)))
            for row, said in zip(truth, says, strict=True)
        ]

    labels = write_labels(tmp_path / "many.csv", truth, "image,label,plate,well")
    return labels, write_scores(tmp_path / "good.csv", scored(0.95)), write_scores(tmp_path / "bad.csv", scored(0.6))


def test_files_stand_side_by_side_with_their_difference_and_its_interval(tmp_path: Path) -> None:
    labels, good, bad = many(tmp_path)
    report = compared(labels, good, f"worse={bad}", bootstrap=200)
    first, second = report["files"]
    assert (first["name"], second["name"], first["difference"]) == ("good", "worse", None)
    mean, difference = second["figures"]["weighted_mean"], second["difference"]["weighted_mean"]
    assert mean["low"] <= mean["value"] <= mean["high"]
    assert difference["value"] == pytest.approx(mean["value"] - first["figures"]["weighted_mean"]["value"])
    assert difference["low"] < difference["high"] < 0
    assert second["resampled"] == "8 plates"
    assert "do not have the same labelled images" not in told(report)


def test_files_with_different_images_are_not_compared_unless_limited_to_common_ones(tmp_path: Path) -> None:
    labels, good, bad = many(tmp_path)
    bad.write_text("\n".join(bad.read_text().splitlines()[:-10]) + "\n")
    apart = compared(labels, good, bad)
    assert "do not have the same labelled images" in told(apart)
    assert "bad: labelled images without a score, which are in no figure: 10" in told(apart)
    assert apart["files"][1]["difference"] is None
    together = compared(labels, good, bad, common_only=True)
    assert "do not have the same" not in told(together)
    assert "good: images left out because another score file lacks them (--common): 10" in told(together)
    assert [sum(file["group_images"]) for file in together["files"]] == [54, 54]
    assert together["files"][1]["difference"] is not None


def test_one_seed_gives_one_report(tmp_path: Path) -> None:
    labels, good, _ = many(tmp_path)
    a, b, c = (compared(labels, good, bootstrap=20, seed=seed)["files"] for seed in (1, 1, 2))
    assert a == b != c


def test_images_are_drawn_where_plates_are_few_and_images_of_no_plate_stand_alone() -> None:
    assert units_of(["a", "b", "c", "d"] * 2).unit.tolist() == list(range(8))
    assert units_of(["a", "b", "c", "d", "e", "e", "", ""]).unit.tolist() == [0, 1, 2, 3, 4, 4, 5, 6]


# ---- people -----------------------------------------------------------------------------------------------------


def test_people_agree_with_each_other_and_with_the_program(tmp_path: Path, scores: Path) -> None:
    words = {"P1/A01.jpg": ("23", "23"), "P1/A02.jpg": ("22", "13"), "P1/A04.jpg": ("13", "12")}
    rows = [(image, word, f"person {n}") for image, said in words.items() for n, word in enumerate(said)]
    labels = write_labels(tmp_path / "people.csv", rows, "image,label,scorer")
    report = compared(labels, scores)
    people = report["agreement"]
    assert (people["images"], people["people"]) == (3, 2)
    assert people["groups"] == pytest.approx(2 / 3)
    assert people["classes"] == pytest.approx(1 / 3)
    assert people["by_group"]["crystal"] == pytest.approx(2 / 3)
    assert report["files"][0]["program_agreement"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert report["labels"]["tied"] == ["P1/A02.jpg"]
    assert report["files"][0]["figures"]["weighted_mean"] == {"value": 1.0, "low": None, "high": None}


# ---- the outputs ------------------------------------------------------------------------------------------------


class _Links(HTMLParser):
    """What a page would load, and which tags stay open."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.images = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        self.images += tag == "img"
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def out(tmp_path: Path, scores: Path, labels: Path) -> Path:
    """The three reports, of labels that put a hostile name beside the example's."""
    scores.write_text(scores.read_text() + f'"{HOSTILE}",scored,crystals_harvestable,23,crystal,0.9,0.9,,,,,<b>m</b>\n')
    labels.write_text(labels.read_text() + f'"{HOSTILE}",clear,,,\n')
    result = run(f"$x_{{[red]={scores}", "--labels", labels, "--out", tmp_path / "out", "--bootstrap", 20)
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert "Paper: SqueezeNet" in result.output
    assert "warning: fewer than 20 images of crystal (3)" in result.output
    return tmp_path / "out"


def test_the_outputs(out: Path) -> None:
    """One run, for plots take their time: the page is whole and needs nothing beside it; text stays text; numbers are numbers."""
    text = (out / "report.html").read_text(encoding="utf-8")
    page = _Links()
    page.feed(text)
    assert page.open == []
    assert page.images == 5
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in page.sources)
    assert text.count("measured on other data") == 7 + 3
    assert "<script" not in text
    assert "&lt;img src=y&gt;\\x1b[31m" in text
    assert "<b>m" not in text

    book = load_workbook(out / "report.xlsx")
    assert book.sheetnames[:2] == ["About", "Success"]
    assert len(book["Plots"]._images) == 5
    false = {str(row[0].value)[:6]: row[0].data_type for row in book["False crystals"].rows}
    assert false["=HYPER"] == "s"
    header, ours, *paper = book["Success"].values
    assert header[:5] == ("scores", "images", "Crystal %", "Crystal % (low)", "Crystal % (high)")
    assert ours[1:3] == (11, pytest.approx(200 / 3))
    assert (paper[0][2], paper[0][3]) == (76.88, None)
    assert list(book["Plates"].values)[1][:4] == ("P1", 4, 2, 3)

    assert json.loads((out / "report.json").read_text())["files"][0]["figures"]["success_crystal"]["value"] == pytest.approx(2 / 3)


def test_everything_that_took_no_part_is_listed(tmp_path: Path, scores: Path) -> None:
    rows = [("P1/A01.jpg", "23"), ("old/A02.jpg", "22"), ("A01.jpg", "1"), ("gone.jpg", "1"), ("P2/A06.jpg", "")]
    scores.write_text(scores.read_text() + "P1/A01.jpg,unsure,,,,,0.5,,,,,other model\n")
    labels = write_labels(tmp_path / "labels.csv", rows, "image,label")
    evaluation, _ = compare(read_labels(labels), [read_scores(scores, "m")], Wish(bootstrap=0))
    (table,) = left_section(evaluation).tables
    reasons = {row[0]: row[2] for row in table.rows}
    assert reasons["gone.jpg"] == "no score"
    assert reasons["P1/A03.jpg"] == "no label"
    assert reasons["old/A02.jpg"] == "several images have this name"
    assert reasons["P2/A06.jpg"] == "no label in its row"
    assert reasons["P1/A01.jpg"] == "compared; has several rows, the last one counts"
    for warning in ("scores of 2 models in one file", "rows that repeat an image", "without a label: 1", "have their file name: 1"):
        assert warning in "\n".join(evaluation.warnings)


def test_labels_of_one_group_only_leave_what_they_do_not_define_open(tmp_path: Path, scores: Path) -> None:
    labels = write_labels(tmp_path / "labels.csv", [("P2/A03.jpg", "clear")], "image,label")
    result = run(scores, "--labels", labels, "--out", tmp_path / "out", "--bootstrap", 10)
    assert result.exit_code == 0
    (file,) = json.loads((tmp_path / "out" / "report.json").read_text())["files"]
    assert file["figures"]["success_crystal"] == {"value": None, "low": None, "high": None}
    assert file["figures"]["roc_area"]["value"] is None
    assert (file["thresholds"], file["ranking"]["wells_for_share"]) == ([], None)


# ---- mistakes ---------------------------------------------------------------------------------------------------


def test_no_image_in_common_is_one_clear_line(tmp_path: Path, scores: Path) -> None:
    labels = write_labels(tmp_path / "labels.csv", [("x.jpg", "clear")], "image,label")
    with pytest.raises(UsageError, match=r"no image in common with .*'x\.jpg' there, 'P1/A01\.jpg' here"):
        compared(labels, scores)


@pytest.mark.parametrize("option", ["picture=file", "image", "image=", "image=a"])
def test_a_wrong_column_option(option: str) -> None:
    with pytest.raises(UsageError, match="--column"):
        read_columns((option, "image=b") if option == "image=a" else (option,))


def test_no_common_image_of_all_files(tmp_path: Path, labels: Path) -> None:
    halves = [write_scores(tmp_path / f"{name}.csv", [(EXAMPLE[at][0], "clear", 0.1)]) for at, name in enumerate("ab")]
    with pytest.raises(UsageError, match="no labelled image is in all"):
        compared(labels, *halves, common_only=True)


def test_a_place_that_can_not_be_written_is_tried_later(tmp_path: Path, scores: Path, labels: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(TryAgainLater, match="can not write"):
        run(scores, "--labels", labels, "--out", tmp_path / "out" / "below", "--bootstrap", 0)


def test_without_the_training_extra_one_line_names_it(tmp_path: Path, scores: Path, labels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    monkeypatch.delitem(sys.modules, "training.evaluation.report.workbook", raising=False)
    with pytest.raises(SettingsError, match=r"needs openpyxl: .*'\.\[training\]'"):
        run(scores, "--labels", labels, "--out", tmp_path / "out", "--bootstrap", 0)


def test_the_command_line_ends_with_the_line_and_the_exit_code(
    tmp_path: Path, scores: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_labels(tmp_path / "labels.csv", [("P1/A01.jpg", "kristall")], "image,label")
    monkeypatch.setattr(sys, "argv", ["crystal-search", "evaluate", str(scores), "--labels", str(labels), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stop:
        root.main()
    assert stop.value.code == 2
    line = capsys.readouterr().err.strip()
    assert "line 2: unknown label 'kristall'" in line
    assert "\n" not in line


# ---- the images that the project measures on --------------------------------------------------------------------


def test_the_labels_of_the_shared_images_are_read_with_column_options(tmp_path: Path) -> None:
    shared = Path(__file__).parents[2] / "shared" / "data" / "labels.csv"
    if not shared.exists():
        pytest.skip(f"{shared} is not on this machine")
    with shared.open(newline="", encoding="utf-8") as file:
        images = [row["file"] for row in csv.DictReader(file)]
    scores = write_scores(tmp_path / "scores.csv", [(f"data/{image}", "clear", 0.1) for image in images])
    columns = read_columns(("image=file", "source=label_source"))
    evaluation, _ = compare(read_labels(shared, columns), [read_scores(scores, "clear")], Wish(bootstrap=5))
    assert evaluation.labels.by_group == {"crystal": 12, "precipitate": 93, "other": 32, "clear": 112}
    assert evaluation.files[0].figures["success_clear"].value == 1.0
    assert evaluation.files[0].figures["roc_area"].value == 0.5
