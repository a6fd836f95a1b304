"""`score --export`: boxes for object detectors, read back by libraries of others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from globox import AnnotationSet
from PIL import Image
from pycocotools.coco import COCO
from tiny_model import encoded, picture, write_model

from client_app.artscore import Chop
from client_app.classify import Windows
from client_app.decode import Photo
from client_app.labels import Form, Labels, Look, check_names
from client_app.model import load_model
from client_app.regions import crystal_regions
from client_app.score import find_images
from crystal_search.archives import Status
from crystal_search.classes import CLASSES, NAMES
from crystal_search.cli import crystal_search
from crystal_search.errors import UsageError
from crystal_search.geometry import Box

CRYSTAL, PRECIPITATE = "crystals_harvestable", "precipitate"


def score(*arguments: object) -> Result:
    return CliRunner().invoke(crystal_search, ["score", *map(str, arguments)])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clear drop with two crystals far apart, one with precipitate, and an empty well, scored and exported in every form."""
    top = tmp_path_factory.mktemp("export")
    (top / "images" / "plate").mkdir(parents=True)
    wells = {
        "plate/crystals.png": picture((CRYSTAL, 70, 56), size=(512, 384)),
        "precipitate.png": picture((PRECIPITATE, 96, 64)),
        "empty.png": picture(drop=False),
    }
    for name, image in wells.items():
        (top / "images" / name).write_bytes(encoded(image))
    forms = ("--export", "coco", "--export", "yolo", "--export", "chops")
    done = score(top / "images", "--model", write_model(top / "tiny"), "--out", top / "out", "--workers", 1, *forms)
    assert done.exit_code == 0, done.output
    return top


def test_coco_has_the_crystal_where_it_was_drawn(exported: Path) -> None:
    found = COCO(str(exported / "out" / "labels" / "coco.json"))
    assert [found.cats[number + 1]["name"] for number in range(13)] == list(NAMES)
    assert {image["file_name"] for image in found.imgs.values()} == {"plate/crystals.png", "precipitate.png", "empty.png"}
    (image,) = (image for image in found.imgs.values() if image["file_name"] == "plate/crystals.png")
    assert (image["width"], image["height"]) == (512, 384)
    (region,) = (a for a in found.loadAnns(found.getAnnIds(image["id"])) if a["kind"] == "region")
    assert found.cats[region["category_id"]]["name"] == CRYSTAL
    x, y, width, height = region["bbox"]
    # The patch was drawn at (140, 112) with 128 px; a window of 64 px in steps of 32 finds its edge within a window.
    assert 140 - 64 <= x <= 140 + 32
    assert 112 - 64 <= y <= 112 + 32
    assert x + width == pytest.approx(140 + 128, abs=64)
    assert y + height == pytest.approx(112 + 128, abs=64)
    assert region["area"] == width * height


def test_an_empty_well_is_an_image_without_boxes(exported: Path) -> None:
    found = COCO(str(exported / "out" / "labels" / "coco.json"))
    (empty,) = (image for image in found.imgs.values() if image["file_name"] == "empty.png")
    assert found.getAnnIds(empty["id"]) == []


def test_yolo_and_coco_say_the_same(exported: Path) -> None:
    labels = exported / "out" / "labels"
    coco = AnnotationSet.from_coco(labels / "coco.json")
    flat = exported / "flat"
    flat.mkdir()
    for name in ("precipitate", "empty"):  # globox wants images and labels each in one folder
        (flat / f"{name}.png").write_bytes((exported / "images" / f"{name}.png").read_bytes())
        (flat / f"{name}.txt").write_bytes((labels / "yolo" / "labels" / f"{name}.txt").read_bytes())
    yolo = AnnotationSet.from_yolo_v5(flat, image_folder=flat, image_extension=".png")
    names = (labels / "yolo" / "classes.txt").read_text().split()
    boxes = yolo["precipitate.png"].boxes
    assert boxes
    assert PRECIPITATE in {names[int(box.label)] for box in boxes}

    def corners(boxes: list) -> np.ndarray:
        return np.array(sorted((box.xmin, box.ymin, box.xmax, box.ymax) for box in boxes))

    assert corners(boxes) == pytest.approx(corners(coco["precipitate.png"].boxes), abs=0.01)
    assert yolo["empty.png"].boxes == []


def test_chops_lie_in_class_folders_with_256_px(exported: Path) -> None:
    folders = exported / "out" / "labels" / "chops"
    files = list(folders.rglob("*.png"))
    assert {file.parent.name for file in files} <= set(NAMES)
    (chop, *_) = (folders / PRECIPITATE).glob("precipitate.png_*.png")
    with Image.open(chop) as image:
        assert image.size == (256, 256)
        assert np.asarray(image.convert("L")).mean() == pytest.approx(80, abs=25)  # precipitate is 0.4 of the drop's 200
    assert list((folders / CRYSTAL).glob("plate__crystals.png_*.png"))


def test_no_place_has_two_labels(tmp_path: Path) -> None:
    """A region speaks for its place: a chop that says otherwise there is left out, a crystal's is a picture and no second box."""
    region = Chop(Box(100, 100, 200, 200), CRYSTAL, 0.9)
    inside, beside = Chop(Box(110, 110, 170, 170), "other", 0.95), Chop(Box(180, 180, 240, 240), "clear", 0.9)
    crystal = Chop(Box(90, 90, 150, 150), CRYSTAL, 0.9)
    labels = Labels(tmp_path, [Form.COCO, Form.CHOPS])
    labels.add("a.png", Look(Photo(Image.new("L", (400, 300)), 400, 300), Status.SCORED, [crystal, inside, beside], [region]))
    assert labels.finish(["a.png"]) == 1
    found = json.loads((tmp_path / "labels" / "coco.json").read_bytes())["annotations"]
    assert [(one["kind"], one["bbox"]) for one in found] == [("region", [100, 100, 100, 100]), ("chop", [180, 180, 60, 60])]
    assert {file.parent.name for file in (tmp_path / "labels" / "chops").rglob("*.png")} == {CRYSTAL, "clear"}


def test_a_run_that_was_stopped_exports_what_it_had_scored_before(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    told = (exported / "images", "--model", exported / "tiny", "--out", out, "--workers", 1, "--export", "coco")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("client_app.score._csv", die)  # every image is scored, nothing is finished
        assert score(*told).exit_code != 0
    assert not (out / "labels" / "coco.json").exists()
    (out / "labels" / "parts" / "empty.png.json").unlink()  # killed before this one's labels
    assert isinstance(score(*told, "--export", "chops").exception, UsageError)  # its first images would have no chops
    done = score(*told)
    assert done.exit_code == 0, done.output
    assert (out / "labels" / "coco.json").read_bytes() == (exported / "out" / "labels" / "coco.json").read_bytes()
    assert [file.name for file in (out / "labels").iterdir()] == ["coco.json"]


def test_labels_that_are_there_stay(exported: Path) -> None:
    """Somebody may have corrected them; and chops of another threshold in the class folders would teach what no longer holds."""
    labels = exported / "out" / "labels"
    before = {file: file.read_bytes() for file in labels.rglob("*") if file.is_file()}
    scores = (exported / "out" / "scores.csv").read_bytes()
    done = score(exported / "images", "--model", exported / "tiny", "--out", exported / "out", "--threshold", 0.9, "--export", "chops")
    assert isinstance(done.exception, UsageError)
    assert f"{labels} holds labels of another run" in str(done.exception)
    assert {file: file.read_bytes() for file in labels.rglob("*") if file.is_file()} == before
    assert (exported / "out" / "scores.csv").read_bytes() == scores


def test_chops_of_an_earlier_run_are_no_images(exported: Path) -> None:
    assert list((exported / "out" / "labels").rglob("*.png"))
    assert not [name for name in find_images([exported]) if name.startswith("out/")]


def test_two_images_that_differ_in_their_suffix_only_are_refused_for_yolo() -> None:
    with pytest.raises(UsageError, match="suffix"):
        check_names(["a.jpg", "a.png"], [Form.YOLO])
    check_names(["a.jpg", "a.png"], [Form.COCO])


def windows(*boxes: tuple[tuple[int, int, int, int], str, float]) -> Windows:
    probabilities = np.full((len(boxes), len(CLASSES)), 0.0)
    for row, (_, name, probability) in enumerate(boxes):
        probabilities[row, NAMES.index(name)] = probability
        probabilities[row, NAMES.index("clear")] += 1 - probability
    return Windows([Box(*box) for box, _, _ in boxes], probabilities)


def test_windows_that_touch_are_one_region(tmp_path: Path) -> None:
    chops = load_model(write_model(tmp_path / "tiny", margin="8")).spec.chops  # of 32 px: a middle of 16 px
    found = crystal_regions(
        windows(
            ((0, 0, 32, 32), CRYSTAL, 0.9),  # middle 8..24
            ((16, 0, 48, 32), "crystals_bad_form", 0.95),  # 24..40: touches
            ((100, 100, 132, 132), CRYSTAL, 0.7),  # far away
            ((33, 0, 65, 32), CRYSTAL, 0.4),  # below the threshold
        ),
        chops,
        0.5,
    )
    assert found == [
        Chop(Box(8, 8, 40, 24), "crystals_bad_form", pytest.approx(0.95)),
        Chop(Box(108, 108, 124, 124), CRYSTAL, pytest.approx(0.7)),
    ]


def test_the_sum_of_the_crystal_classes_counts(tmp_path: Path) -> None:
    chops = load_model(write_model(tmp_path / "tiny")).spec.chops
    one = windows(((0, 0, 32, 32), CRYSTAL, 0.3))
    one.probabilities[0, NAMES.index("crystals_bad_form")] = 0.3
    assert [region.probability for region in crystal_regions(one, chops, 0.5)] == [pytest.approx(0.6)]
    assert crystal_regions(one, chops, 0.6) == []
