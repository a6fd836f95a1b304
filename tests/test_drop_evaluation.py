"""``crystal-search evaluate-drops``: overlaps worked out by hand, every failure named, foreign images left out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny_model import picture, write_model

from crystal_search.errors import UsageError
from crystal_search.geometry import Box
from training.drop_evaluation.cli import evaluate_drops
from training.drop_evaluation.measure import Found, box_iou, box_of, by_source, figures
from training.drop_evaluation.outlines import Outline, Polygon, load_outlines
from training.drop_evaluation.sheet import edge, worst_first

SQUARE: Polygon = ((0, 0), (10, 0), (10, 10), (0, 10))
#: The drop of ``tiny_model.picture``: (64, 48) to (192, 144).
DROP: Polygon = ((64, 48), (192, 48), (192, 144), (64, 144))
SHIFTED: Polygon = ((96, 48), (224, 48), (224, 144), (96, 144))


def outline(file: str, *polygons: Polygon, certain: bool = True, sha256: str = "0" * 64) -> Outline:
    return Outline(sha256, file, 256, 192, certain, polygons, "" if certain else "blurred")


def found(file: str, overlap: float | None, *polygons: Polygon, certain: bool = True) -> Found:
    box = None if overlap is None else Box(0, 0, 10, 10)
    value = float("nan") if not polygons else overlap or 0.0
    return Found(outline(file, *polygons, certain=certain), box, None, value, value)


# ---- figures, by hand -------------------------------------------------------------------------------------------


def test_overlap_of_boxes_by_hand() -> None:
    assert box_iou(Box(0, 0, 10, 10), Box(0, 0, 10, 20)) == 0.5
    assert box_iou(Box(0, 0, 10, 10), Box(5, 5, 15, 15)) == pytest.approx(25 / 175)
    assert box_iou(Box(0, 0, 10, 10), Box(10, 10, 20, 20)) == box_iou(Box(0, 0, 4, 4), Box(8, 0, 9, 4)) == 0


def test_the_box_of_several_outlines_holds_them_all() -> None:
    assert box_of(outline("a", SQUARE, ((50, 5), (60, 5), (55, 30)))) == Box(0, 0, 60, 30)


FOUND = [
    found("a/1.jpg", 0.9, SQUARE),
    found("a/2.jpg", 0.8, SQUARE, certain=False),
    found("b/3.jpg", 0.7, SQUARE),
    found("b/4.jpg", None, SQUARE),
    found("b/5.jpg", None),
    found("b/6.jpg", 1.0),
]


def test_a_missed_drop_counts_as_no_overlap_and_empty_wells_apart() -> None:
    every, certain, a, b = by_source(FOUND, bootstrap=0, seed=0)
    assert (every.name, every.drops, every.empty, every.no_drop) == ("all", 4, 2, 1)
    assert every.mask_iou.value == pytest.approx((0.9 + 0.8 + 0.7 + 0) / 4)
    assert every.good_masks == 0.5, "0.7 itself is not above 0.7"
    assert (certain.drops, certain.mask_iou.value) == (3, pytest.approx(1.6 / 3))
    assert (a.name, a.drops, a.empty, a.mask_iou.value) == ("a", 2, 0, pytest.approx(0.85))
    assert (b.name, b.drops, b.empty, b.mask_iou.value) == ("b", 2, 2, pytest.approx(0.35))


def test_the_interval_is_that_of_the_mean() -> None:
    """Of 400 values of deviation 0.1 the mean has the deviation 0.005, and 95 % of it lie within 1.96 of these."""
    values = np.random.default_rng(0).normal(0.8, 0.1, 400)
    interval = figures("all", [found("a/1.jpg", float(value), SQUARE) for value in values], bootstrap=2000, seed=1).mask_iou
    half = 1.96 * values.std() / 20
    assert (interval.low, interval.high) == (pytest.approx(values.mean() - half, abs=1e-3), pytest.approx(values.mean() + half, abs=1e-3))


def test_without_a_drop_there_is_no_overlap() -> None:
    assert np.isnan(figures("all", FOUND[4:], bootstrap=10, seed=0).mask_iou.value)


def test_failures_come_first_and_empty_wells_last() -> None:
    assert [one.outline.file[2] for one in worst_first(FOUND)] == ["4", "3", "6", "2", "1", "5"]


def test_the_edge_of_a_mask_by_hand() -> None:
    mask = np.zeros((5, 6), dtype=bool)
    mask[1:5, 1:5] = True
    expected = mask.copy()
    expected[2:4, 2:4] = False
    np.testing.assert_array_equal(edge(mask), expected)


# ---- the command ------------------------------------------------------------------------------------------------


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name, drop in (("lab/exact.png", True), ("lab/shifted.png", True), ("lab/close.png", True), ("other/empty.png", False)):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(drop=drop).save(path)
    return tmp_path / "images"


def write_outlines(path: Path, images: Path, *outlines: Outline) -> Path:
    def entry(one: Outline) -> dict[str, object]:
        file = images / one.file
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else one.sha256
        values = {name: getattr(one, name) for name in ("file", "width", "height", "certain", "polygons", "note")}
        return values | {"sha256": sha256}

    path.write_text(json.dumps({"format": 1, "images": [entry(one) for one in outlines]}))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate_drops, list(map(str, arguments)), catch_exceptions=False)


def test_a_model_is_compared_with_outlines(tmp_path: Path, images: Path) -> None:
    """The tiny model finds the drop exactly. An outline shifted by a quarter of its width shares 3/5 with it."""
    outlines = write_outlines(
        tmp_path / "o.json",
        images,
        outline("lab/exact.png", DROP),
        outline("lab/shifted.png", SHIFTED, certain=False),
        outline("other/empty.png"),
        outline("other/gone.png", DROP),
    )
    model = write_model(tmp_path / "model")
    result = run(model, "--outlines", outlines, "--images", images, "--out", tmp_path / "out", "--bootstrap", 0)
    assert "lab/shifted.png: IoU 0.60, box 0.60 (outline not certain: blurred)" in result.output
    assert "1 of 3 failed" in result.output
    assert "1 left out" in result.output
    assert "gone.png: can not be read" in result.stderr
    report = json.loads((tmp_path / "out" / "drops.json").read_text())
    every, certain, *_ = report["figures"]
    assert every["mask_iou"] == {"value": pytest.approx(0.8), "low": None, "high": None}
    assert every["box_iou"]["value"] == pytest.approx(0.8)
    assert (every["good_masks"], every["empty"], every["no_drop"]) == (0.5, 1, 1)
    assert (certain["drops"], certain["mask_iou"]["value"]) == (1, 1.0)
    with Image.open(tmp_path / "out" / "drops.png") as sheet:
        assert sheet.size == (6 * 320, 260)
        shown = np.asarray(sheet)
    assert (shown[:, :320] == (0, 158, 115)).all(axis=2).any(), "the person's line, on the worst image"
    assert (shown[:, :320] == (213, 94, 0)).all(axis=2).any(), "the model's"
    assert not (shown[:, 640:960] == (213, 94, 0)).all(axis=2).any(), "an empty well has neither"


def test_a_drop_in_an_empty_well_and_a_missed_drop_fail(tmp_path: Path, images: Path) -> None:
    outlines = write_outlines(tmp_path / "o.json", images, outline("lab/exact.png"), outline("other/empty.png", DROP))
    told = run(write_model(tmp_path / "model"), "--outlines", outlines, "--images", images).output
    assert "lab/exact.png: empty, but a drop" in told
    assert "other/empty.png: no drop found" in told
    assert "2 of 2 failed" in told


def test_another_image_under_the_name_is_left_out(tmp_path: Path, images: Path) -> None:
    outlines = write_outlines(tmp_path / "o.json", images, outline("lab/exact.png", DROP), outline("lab/close.png", DROP))
    picture(("precipitate", 80, 60)).save(images / "lab/close.png")
    result = run(write_model(tmp_path / "model"), "--outlines", outlines, "--images", images)
    assert "close.png: this is not the image that was drawn on" in result.stderr
    assert "0 of 1 failed" in result.output


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("not json", "no drop outlines"),
        ({"format": 2, "images": []}, "format 2"),
        ({"format": 1, "images": [{"file": "a.png"}]}, "no drop outlines"),
        ({"format": 1, "images": [vars(replace(outline("a.png"), polygons=(SQUARE[:2],)))]}, "fewer than three corners"),
        ({"format": 1, "images": [vars(replace(outline("a.png"), width=0))]}, "no size"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, change: object, words: str) -> None:
    path = tmp_path / "o.json"
    path.write_text(change if isinstance(change, str) else json.dumps(change))
    with pytest.raises(UsageError, match=words):
        load_outlines(path)


def test_the_wrong_folder_ends_with_one_line(tmp_path: Path, images: Path) -> None:
    outlines = write_outlines(tmp_path / "o.json", images, outline("lab/exact.png", DROP))
    with pytest.raises(UsageError, match="none of the 1 images"):
        run(write_model(tmp_path / "model"), "--outlines", outlines, "--images", tmp_path)
