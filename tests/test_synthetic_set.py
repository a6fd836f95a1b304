"""``crystal-search synthetic``: a folder that the data set and the evaluation read, the same whoever draws it and however often."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_disk import small_disk

from crystal_search import cli
from crystal_search.classes import CRYSTAL_CLASSES
from crystal_search.errors import TryAgainLater, UsageError
from crystal_search.service import Stop
from training.datasets.from_folder import read_folder
from training.evaluation.judgement import Words
from training.evaluation.labels import read_labels
from training.synthetic import DROP_CLASSES, IMAGERS, UNSEEN_IMAGERS, draw_well
from training.synthetic_set import BOXES_JSON, LABELS_CSV, MASKS, TRUTH, Order, claim, course, draw_files, draw_set, label_of, plan

ORDER = Order(wells=20, seed=5, inspections=2, uv=True, masks=True, width=128, wells_per_plate=8)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "set"
    draw_set(out, ORDER, 2, Stop())
    return out


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def test_the_labels_are_read_by_data_set_and_evaluation(drawn: Path) -> None:
    labels = read_labels(drawn / LABELS_CSV)
    assert labels.words is Words.CLASSES
    assert len(labels.images) == 40
    assert {image.plate for image in labels.images.values()} == {f"SYNTHETIC-training-5-{number:03d}" for number in (1, 2, 3)}
    empty = {name for name, image in labels.images.items() if image.consensus.judgement.empty}
    assert empty
    found = read_folder(drawn / LABELS_CSV)
    assert {image.name for image in found.images} == set(labels.images) - empty
    assert len(found.problems) == len(empty), "one line for each empty well and nothing else"
    assert all(image.uv and image.inspection in (1, 2) and image.proteins for image in found.images)
    scales = {image.plate: {other.um_per_px for other in found.images if other.plate == image.plate} for image in found.images}
    assert all(len(of_plate) == 1 for of_plate in scales.values()), "a plate has one imager"


def test_every_picture_has_mate_mask_and_boxes_of_its_own(drawn: Path) -> None:
    boxes = json.loads((drawn / BOXES_JSON).read_bytes())
    assert {category["name"] for category in boxes["categories"]} == set(CRYSTAL_CLASSES)
    in_image = Counter(annotation["image_id"] for annotation in boxes["annotations"])
    labels = read_labels(drawn / LABELS_CSV)
    assert len(boxes["images"]) == 40
    for entry in boxes["images"]:
        stem = Path(entry["file_name"]).stem
        with Image.open(drawn / entry["file_name"]) as picture, Image.open(drawn / "uv" / f"{stem}.jpg") as mate:
            assert picture.size == mate.size == (entry["width"], entry["height"])
            assert (picture.format, picture.mode, mate.mode) == ("JPEG", "RGB", "L")
        with Image.open(drawn / MASKS / f"{stem}.png") as picture:
            mask = np.asarray(picture)
        assert mask.shape == (entry["height"], entry["width"])
        said = labels.images[entry["file_name"]].consensus.judgement
        assert set(np.unique(mask)) == ({0} if said.empty else {0, 255})
        assert bool(in_image[entry["id"]]) == (said.class_name in CRYSTAL_CLASSES)
    sizes = {entry["id"]: (entry["width"], entry["height"]) for entry in boxes["images"]}
    for annotation in boxes["annotations"]:
        x, y, width, height = annotation["bbox"]
        assert 0 <= x < x + width <= sizes[annotation["image_id"]][0]
        assert 0 <= y < y + height <= sizes[annotation["image_id"]][1]


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    stop = Stop()
    stop.set()
    with pytest.raises(TryAgainLater, match="stopped"):
        draw_set(out, ORDER, 1, stop)
    assert not (out / LABELS_CSV).exists()
    wells = plan(ORDER)
    for well in wells[:15]:
        draw_files(out, ORDER, well)
    kept = out / "images" / f"{wells[3].stem(1)}.jpg"
    before = kept.stat().st_mtime_ns
    (out / "uv" / f"{wells[5].stem(2)}.jpg").unlink()
    (out / "images" / ".killed.jpg.part").write_bytes(b"half")
    draw_set(out, ORDER, 1, Stop())
    assert kept.stat().st_mtime_ns == before
    assert contents(out) == contents(drawn)


def test_a_larger_set_begins_with_the_smaller_and_another_seed_is_another_set() -> None:
    small, large, other = (plan(Order(wells, seed=seed)) for wells, seed in ((30, 1), (60, 1), (30, 2)))
    assert large[:30] == small
    assert not {well.seed for well in small} & {well.seed for well in other}
    assert not {well.plate for well in small} & {well.plate for well in other}
    assert len({(well.plate, well.well) for well in large}) == 60
    assert min(well.seed for well in large) > 10**12, "far from every seed of a training"


def test_a_block_of_wells_holds_every_class() -> None:
    for start in (0, 15):
        classes = Counter(well.classes[-1] for well in plan(Order(wells=30, seed=3))[start : start + 15])
        assert classes == {name: 2 if name in (None, "clear") else 1 for name in (*DROP_CLASSES, None)}


@pytest.mark.parametrize(("settings", "imagers"), [("training", IMAGERS), ("unseen", UNSEEN_IMAGERS)])
def test_settings_choose_among_their_own_imagers(settings: str, imagers: tuple[str, ...]) -> None:
    wells = plan(Order(wells=80, settings=settings, wells_per_plate=10))
    assert {well.imager for well in wells} == set(imagers)
    assert len({(well.plate, well.imager, well.plate_seed, well.chromophore) for well in wells}) == 8


def test_courses_end_as_they_shall_and_null_experiments_dry_out() -> None:
    firsts: set[Any] = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        classes, dryness = course(rng, "crystals_harvestable", 4)
        assert classes[-1] == "crystals_harvestable"
        assert list(dryness) == sorted(dryness)
        assert dryness[-1] < 0.2
        firsts.add(classes[0])
        classes, dryness = course(rng, "null_experiment", 4)
        if classes[0] != "null_experiment":  # else it never was a good drop, and need not dry
            assert [dried >= 0.35 for dried in dryness] == [name == "null_experiment" for name in classes]
        assert course(rng, None, 3) == ((None, None, None), (0.0, 0.0, 0.0))
    assert firsts == {"clear", "precipitate_good", "crystals_harvestable"}
    assert any(max(course(np.random.default_rng(seed), "null_experiment", 4)[1]) > 0.6 for seed in range(10))


def test_labels_say_what_can_be_seen() -> None:
    crystal = draw_well(3, "crystals_harvestable", width=96)
    assert label_of(crystal) == "crystals_harvestable"
    nothing = np.zeros_like(crystal.object_mask)
    assert label_of(type(crystal)(**{**vars(crystal), "object_mask": nothing})) == "clear"
    assert label_of(draw_well(3, None, width=96)) == "empty_well"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    from training.synthetic_set import synthetic

    monkeypatch.setattr(cli._Commands, "get_command", lambda *_: synthetic)
    monkeypatch.setattr(sys, "argv", ["crystal-search", "synthetic", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert isinstance(stop.value.code, int)
    return stop.value.code


def test_the_command_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, drawn: Path
) -> None:
    out = tmp_path / "set"
    small = ["--wells", "2", "--width", "96", "--settings", "unseen"]
    assert run(monkeypatch, "--out", str(out), *small) == 0
    assert capsys.readouterr().out == f"2 pictures of 2 wells on 1 plates, {crystals(out)} with crystals: {out / LABELS_CSV}\n"
    assert sorted(path.name for path in out.iterdir()) == ["boxes.json", "images", "labels.csv", "set.json", "truth"]
    assert run(monkeypatch, "--out", str(out), *small, "--uv") == 2
    assert f"{out} holds a synthetic set with another uv" in capsys.readouterr().err
    other = tmp_path / "photographs"
    other.mkdir()
    (other / "mine.jpg").write_bytes(b"")
    assert run(monkeypatch, "--out", str(other), *small) == 2
    assert f"{other} is not empty and holds no synthetic set" in capsys.readouterr().err
    assert [path.name for path in other.iterdir()] == ["mine.jpg"]
    assert run(monkeypatch, "--out", str(other), "--wells", "0") == 2


def crystals(out: Path) -> int:
    return sum(json.loads(path.read_bytes())["label"] in CRYSTAL_CLASSES for path in (out / TRUTH).iterdir())


def test_other_painters_or_a_damaged_note_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(tmp_path, ORDER)
    claim(tmp_path, ORDER)
    monkeypatch.setattr("training.synthetic_set.painter_version", lambda: "newer")
    with pytest.raises(UsageError, match="another painter"):
        claim(tmp_path, ORDER)
    (tmp_path / "set.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        claim(tmp_path, ORDER)


def test_a_full_disk_is_told_and_leaves_no_half_file(tmp_path: Path) -> None:
    well = plan(ORDER)[0]
    with small_disk(tmp_path / "disk") as disk:
        out = disk.path / "set"
        claim(out, ORDER)
        disk.fill()
        with pytest.raises(TryAgainLater, match="disk full"):
            draw_files(out, ORDER, well)
        with pytest.raises(TryAgainLater):
            draw_set(out, ORDER, 1, Stop())
        disk.free()
        assert not list(out.rglob("*.part"))
        draw_files(out, ORDER, well)
        assert len(list((out / TRUTH).iterdir())) == 2
