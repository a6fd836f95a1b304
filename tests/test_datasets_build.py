"""A data set in a folder: what training finds there, what a kill or a full disk leaves, and how bad input is told."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from scored_lab import Lab, image_name
from small_disk import small_disk
from tiny_model import HEIGHT, WIDTH, encoded, picture, write_model

from client_app.model import load_model
from client_app.preprocess import normalise_chops
from crystal_search.classes import NAMES
from crystal_search.cli import crystal_search
from crystal_search.errors import CrystalSearchError, TryAgainLater, UsageError
from crystal_search.service import Stop, stopped_by_signals
from training.chops import Balanced
from training.datasets.build import PARTS, ShardReport, Wish, build
from training.datasets.cut import cut
from training.datasets.loading import load_dataset
from training.datasets.rules import Rules
from training.datasets.scored_image import ImageFile, ScoredImage
from training.datasets.table1 import count, warnings
from training.shards import load

#: The tiny model's drop has 128 x 96 px, its chops 32 + 8 px: 4 columns and 3 rows, of which 10 chops lie at the edge.
CHOPS, EDGE, SIDE = 12, 10, 40
#: Every contour counts.
LOOSE = Rules(crystal=1.0, crystal_uv=1.0, precipitate=1.0, other=1.0, rim=1.0)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny-1")


def save(path: Path, image: Image.Image) -> ImageFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(image))
    return ImageFile(path)


def scored(
    folder: Path, number: int, class_name: str, *patches: tuple[str, int, int], uv: Image.Image | None = None, **named: object
) -> ScoredImage:
    """Image ``number``, two to a plate."""
    image = save(folder / f"{number}.png", picture(*patches))
    mate = save(folder / f"{number}_uv.png", uv) if uv else None
    facts = {"plate": f"plate {number // 2}", "source": "test", "uv": mate} | named
    return ScoredImage(f"{number}.png", image, class_name, **facts)  # type: ignore[arg-type]


def clear_plates(folder: Path, count: int = 12) -> list[ScoredImage]:
    return [scored(folder, number, "clear") for number in range(count)]


def glowing(*places: tuple[int, int]) -> Image.Image:
    """A UV image with bright bodies of 16 x 16 px."""
    pixels = np.full((HEIGHT, WIDTH), 10, np.uint8)
    for x, y in places:
        pixels[y : y + 16, x : x + 16] = 220
    return Image.fromarray(pixels)


# ---- one image ----------------------------------------------------------------------------------------------------


def test_a_clear_drop_gives_its_chops_and_its_border_is_rim_where_it_has_contours(tmp_path: Path, model_folder: Path) -> None:
    model = load_model(model_folder)
    plain = cut(model, scored(tmp_path, 1, "clear"), LOOSE)
    assert (plain.in_drop, plain.drop, plain.pixels.shape) == (CHOPS, True, (CHOPS, SIDE, SIDE))
    assert [NAMES[label] for label in plain.labels] == ["clear"] * CHOPS
    # a dark patch over the drop's upper left quarter: its outline lies in chops of the edge and of the middle
    marked = cut(model, scored(tmp_path, 2, "clear", ("crystals_harvestable", 34, 18)), LOOSE)
    names = [NAMES[label] for label in marked.labels]
    assert names[0] == "rim"
    assert [names[i] for i in (5, 6)] == ["clear", "clear"]  # the two in the middle of the second row


def test_pixels_are_those_that_the_client_scores(tmp_path: Path, model_folder: Path) -> None:
    chops = cut(load_model(model_folder), scored(tmp_path, 1, "clear", ("precipitate", 80, 60)), LOOSE)
    luminance = normalise_chops(np.asarray(picture(("precipitate", 80, 60)), np.float32))
    first = luminance[48:88, 64:104]  # the drop's box starts at (64, 48)
    np.testing.assert_allclose(chops.pixels[0] * (1.6 / 255), first, atol=0.004)


def test_a_crystal_chop_enters_only_where_both_images_show_something(tmp_path: Path, model_folder: Path) -> None:
    # the drop's chops start at x 64, 93, 123, 152 and y 48, 76, 104; a crystal in the first chop, a glow in the first and the last
    image = picture()
    pixels = np.asarray(image).copy()
    pixels[58:74, 72:88] = 20
    file = save(tmp_path / "crystal.png", Image.fromarray(pixels))
    uv = save(tmp_path / "uv.png", glowing((72, 58), (170, 120)))
    model = load_model(model_folder)
    both = cut(model, ScoredImage("c", file, "crystals_harvestable", "P", "test", uv=uv), LOOSE)
    assert len(both.labels) == 1
    np.testing.assert_allclose(both.pixels[0][10:26, 8:24], 0.1 / 1.6 * 255, atol=1)  # 20 of 200, the crystal itself
    dark = save(tmp_path / "dark.png", glowing())
    assert len(cut(model, ScoredImage("c", file, "crystals_harvestable", "P", "test", uv=dark), LOOSE).labels) == 0
    heme = Rules(crystal=1.0, chromophores=("p",))
    assert len(cut(model, ScoredImage("c", file, "crystals_harvestable", "P", "test", uv=dark), heme).labels) == 1


# ---- the folder ---------------------------------------------------------------------------------------------------


def shards_of(out: Path) -> dict[str, str]:
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.glob("*/*.npz"))}


def chops_in(reports: Sequence[ShardReport]) -> int:
    return sum(sum(image.chops.values()) for report in reports for image in report.images)


def test_training_loads_the_shards_as_its_own(tmp_path: Path, model_folder: Path) -> None:
    images = clear_plates(tmp_path) + [scored(tmp_path, n, "precipitate", ("precipitate", 96, 64)) for n in range(12, 24)]
    reports = build(images, model_folder, tmp_path / "out", Wish(rules=LOOSE, images_per_shard=5), 1, Stop())
    data = {part: load(sorted((tmp_path / "out" / part).glob("*.npz"))) for part in PARTS}
    assert sum(len(arrays["pixels"]) for arrays in data.values()) == chops_in(reports)
    training = data["training"]
    assert (training["pixels"].dtype, training["labels"].dtype) == (np.uint8, np.uint8)
    assert training["pixels"].shape == (len(training["labels"]), SIDE, SIDE)
    pixels, truth = Balanced(training, SIDE - 8)(np.random.default_rng(1), 4)
    assert pixels.shape == (4, 32, 32, 1)
    assert truth.sum() == 4
    plates = [{image.plate for report in reports if report.part == part for image in report.images} for part in PARTS]
    assert not plates[0] & plates[1] | plates[0] & plates[2] | plates[1] & plates[2]
    assert all(plates)


class StopsAfter(Stop):
    """Asked to stop when it is looked at for the ``looks``-th time."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def is_set(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def test_a_build_that_was_stopped_goes_on_and_ends_as_one_that_was_not(tmp_path: Path, model_folder: Path) -> None:
    images = clear_plates(tmp_path)
    wish = Wish(images_per_shard=2)
    whole = build(images, model_folder, tmp_path / "whole", wish, 1, Stop())
    out = tmp_path / "out"
    for looks in (0, 3, 4):
        with pytest.raises(TryAgainLater, match="start the same command again"):
            build(images, model_folder, out, wish, 1, StopsAfter(looks))
    kept = shards_of(out)
    assert len(kept) == 3  # none, one and two more
    (out / "training" / ".000000000.npz.x.part").write_bytes(b"what a kill leaves")
    stamps = {name: (out / name).stat().st_mtime_ns for name in kept}
    assert build(images[::-1], model_folder, out, wish, 1, Stop()) == whole
    assert shards_of(out) == shards_of(tmp_path / "whole")
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == stamps
    assert not list(out.glob("*/.*"))


def test_a_damaged_shard_is_made_again(tmp_path: Path, model_folder: Path) -> None:
    images = clear_plates(tmp_path, 6)
    build(images, model_folder, tmp_path / "out", Wish(), 1, Stop())
    before = shards_of(tmp_path / "out")
    shard = tmp_path / "out" / next(iter(before))
    shard.write_bytes(shard.read_bytes()[:-10])
    build(images, model_folder, tmp_path / "out", Wish(), 1, Stop())
    assert shards_of(tmp_path / "out") == before


def test_processes_of_their_own_make_the_same_shards(tmp_path: Path, model_folder: Path) -> None:
    images = clear_plates(tmp_path, 6)
    one = build(images, model_folder, tmp_path / "one", Wish(), 1, Stop())
    assert build(images, model_folder, tmp_path / "two", Wish(), 2, Stop()) == one
    assert shards_of(tmp_path / "one") == shards_of(tmp_path / "two")


def test_a_folder_of_another_data_set_is_refused(tmp_path: Path, model_folder: Path) -> None:
    images = clear_plates(tmp_path, 4)
    build(images, model_folder, tmp_path / "out", Wish(), 1, Stop())
    for others, wish in ((images[:3], Wish()), (images, Wish(seed=2)), (images, Wish(rules=LOOSE))):
        with pytest.raises(UsageError, match="other images or settings"):
            build(others, model_folder, tmp_path / "out", wish, 1, Stop())
    (tmp_path / "0.png").write_bytes(encoded(picture(("clear", 0, 0))))
    with pytest.raises(UsageError, match="other images or settings"):
        build(images, model_folder, tmp_path / "out", Wish(), 1, Stop())
    with pytest.raises(UsageError, match="is not empty and holds no data set"):
        build(images, model_folder, tmp_path, Wish(), 1, Stop())
    with pytest.raises(UsageError, match="no scored image is left"):
        build([], model_folder, tmp_path / "none", Wish(), 1, Stop())


def test_a_bad_image_fails_alone(tmp_path: Path, model_folder: Path) -> None:
    images = clear_plates(tmp_path, 8)
    (tmp_path / "0.png").write_bytes(b"\x89PNG and no more")
    images[1] = scored(tmp_path, 1, "clear", uv=Image.new("L", (WIDTH, HEIGHT - 2)))
    images[2] = scored(tmp_path, 2, "clear", uv=glowing())
    (tmp_path / "2_uv.png").unlink()
    images[3] = ScoredImage("3.png", save(tmp_path / "3.png", picture(drop=False)), "clear", "plate 1", "test")
    images[4] = scored(tmp_path, 4, "clear", um_per_px=900.0)
    reports = build(images, model_folder, tmp_path / "out", Wish(), 1, Stop())
    fate = {image.name: image for report in reports for image in report.images}
    assert "can not be decoded" in fate["0.png"].problem or "not a JPEG" in fate["0.png"].problem
    assert fate["1.png"].problem == f"its UV mate has {WIDTH} x {HEIGHT - 2} px, the image {WIDTH} x {HEIGHT}"
    assert "UV mate of 2.png can not be read (No such file" in fate["2.png"].problem
    assert (fate["3.png"].problem, fate["3.png"].no_drop) == ("", True)
    assert "scale" in fate["4.png"].problem
    assert chops_in(reports) == 3 * CHOPS
    assert not any("\n" in image.problem for image in fate.values())


def test_a_full_disk_is_one_line_and_the_build_goes_on_when_there_is_space(tmp_path: Path, model_folder: Path) -> None:
    images = clear_plates(tmp_path, 6)
    with small_disk(tmp_path / "disk") as disk:
        out = disk.path / "out"
        with pytest.raises(TryAgainLater):
            build(images, model_folder, out, Wish(), 1, StopsAfter(0))
        disk.fill()
        with pytest.raises(TryAgainLater, match=r"disk full|No space"):
            build(images, model_folder, out, Wish(), 1, Stop())
        disk.free()
        assert chops_in(build(images, model_folder, out, Wish(), 1, Stop())) == 6 * CHOPS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_to_stop_and_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stopped_by_signals() as stop:
        os.kill(os.getpid(), number)
        assert stop.is_set()
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


# ---- counts -------------------------------------------------------------------------------------------------------


def test_the_counts_are_those_of_the_images_and_what_lacks_is_said(tmp_path: Path, model_folder: Path) -> None:
    images = [*clear_plates(tmp_path, 4), scored(tmp_path, 4, "crystals_harvestable"), scored(tmp_path, 5, "clear", uv=glowing())]
    reports = build(images, model_folder, tmp_path / "out", Wish(), 1, Stop())
    rows = {row.class_name: row for row in count(reports)}
    assert (rows["clear"].images, rows["clear"].uv_pairs, sum(rows["clear"].chops.values())) == (5, 1, 5 * CHOPS)
    assert (rows["crystals_harvestable"].images, rows["crystals_harvestable"].used) == (1, 0)
    lines = warnings(list(rows.values()), reports)
    assert lines[0].startswith("no images of crystals_bad_form, ")
    assert "crystals_harvestable: 1 images and not one chop, for want of UV mates" in lines[1]


# ---- the command --------------------------------------------------------------------------------------------------


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(crystal_search, ["dataset", *map(str, arguments)])


def test_the_command_makes_a_data_set_and_says_what_of(tmp_path: Path, model_folder: Path) -> None:
    rows = ["image,label,plate,drop_type"]
    for number in range(6):
        save(tmp_path / f"{number}.png", picture(("precipitate", 96, 64)))
        rows.append(f"{number}.png,{'13' if number % 2 else '01'},P{number},{'' if number < 4 else 'in meso'}")
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(rows) + "\n")
    out = tmp_path / "out"
    wanted = ("build", "--labels", labels, "--model", model_folder, "--out", out)
    loose = ("--threshold", "precipitate=1", "--drop-type", "vapour diffusion", "--seed", "3")
    done = call(*wanted, *loose)
    assert done.exit_code == 0, done.output
    record = json.loads((out / "dataset.json").read_text())
    assert (record["seed"], record["side"], record["rules"]["precipitate"]) == (3, SIDE, 1.0)
    assert record["drop_types"] == ["vapour diffusion"]
    assert sorted(plate for plates in record["plates"].values() for plate in plates) == ["P0", "P1", "P2", "P3"]
    assert record["sources"][0]["sha256"] == {str(labels): hashlib.sha256(labels.read_bytes()).hexdigest()}
    assert record["shards"] == shards_of(out)
    shown = call("show", out)
    assert shown.exit_code == 0
    assert "Precipitate bad" in shown.output
    assert "324651" in shown.output
    training, validation = load_dataset(out, SIDE - 8)
    assert len(training["labels"]) + len(validation["labels"]) == sum(
        number for row in record["counts"] for part, number in row["chops"].items() if part != "test"
    )
    with pytest.raises(UsageError, match="chops of 40 px in format 1, training wants 168 px"):
        load_dataset(out, 160)
    labels.write_text(labels.read_text() + "lost.png,23,P9,\n")
    again = call(*wanted, *loose)  # the same images: nothing is made anew, but a row was left out
    assert isinstance(again.exception, CrystalSearchError)
    assert "1 rows, records or images were left out" in str(again.exception)


def test_the_command_cuts_what_people_scored_in_xtaltrak(tmp_path: Path, model_folder: Path) -> None:
    lab = Lab(tmp_path / "lab").create()
    pixels = np.asarray(picture()).copy()
    pixels[58:74, 72:88] = 20  # a crystal in the first chop
    for barcode in ("CI000001", "CI000002", "CI000003"):
        lab.inspect(("A01a", 1), barcode=barcode)
        name = image_name("A01a", 1, barcode)
        ((inspection,),) = lab.execute("SELECT INSPECTID FROM I_IMAGES WHERE IMAGENAME = ?", name)
        lab.execute("INSERT INTO I_IMAGES VALUES (?, ?)", inspection, name.replace("_HF_", "_U1_"))
        lab.execute("INSERT INTO I_SCORES VALUES (?, ?, '23', NULL, ?, 'Berta')", inspection, inspection, name)
        folder = lab.settings.paths.images / barcode / "1"
        save(folder / name, Image.fromarray(pixels))
        save(folder / name.replace("_HF_", "_U1_"), glowing((72, 58)) if barcode != "CI000003" else glowing())
    toml = tmp_path / "lab" / "crystal-search.toml"
    toml.write_text("[xtaltrak]\num_per_px = {HF = 4.0}\n")  # the tiny model's own scale
    arguments = ("--xtaltrak", "--settings", toml, "--uv-profile", "U1", "--model", model_folder, "--threshold", "crystal=1")
    done = call("build", "--out", tmp_path / "out", *arguments)
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "out" / "dataset.json").read_text())
    (crystals,) = (row for row in record["counts"] if row["class_name"] == "crystals_harvestable")
    assert (crystals["images"], crystals["uv_pairs"], crystals["used"], sum(crystals["chops"].values())) == (3, 3, 2, 2)  # one is salt


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "no source named"),
        (("--labels", "lost.csv"), "can not be read"),
        (("--labels", "x.csv", "--threshold", "rims=4"), "--threshold 'rims=4'"),
        (("--labels", "x.csv", "--share", "training", "0", "--share", "validation", "0", "--share", "test", "0"), "share 0"),
        (("--xtaltrak", "--settings", "lost.toml"), "no such settings file"),
    ],
)
def test_a_wrong_call_is_one_line(tmp_path: Path, arguments: tuple[str, ...], line: str) -> None:
    result = call("build", "--out", tmp_path / "out", *arguments)
    assert isinstance(result.exception, CrystalSearchError)
    assert line in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_an_unfinished_folder_has_no_counts_to_show(tmp_path: Path) -> None:
    assert "no finished data set" in str(call("show", tmp_path).exception)
    with pytest.raises(UsageError, match="no finished data set"):
        load_dataset(tmp_path, 160)
    (tmp_path / "dataset.json").write_text('{"format": 1}')
    with pytest.raises(UsageError, match="is damaged"):
        load_dataset(tmp_path, 160)
