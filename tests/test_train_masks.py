"""Masks that people drew for the drop finder: every form of PNG, plates, and what does not fit together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crystal_search.errors import UsageError
from training import drop
from training.masks import drop_pixels, find_pairs, read_masks

WIDTH, HEIGHT = 64, 48
#: Half of the picture: columns 16 to 47 of 64, all rows.
HALF = np.zeros((HEIGHT, WIDTH), bool)
HALF[:, 16:48] = True


def mask(mode: str) -> Image.Image:
    """:data:`HALF` as GIMP or another tool may write it."""
    gray = Image.fromarray(np.where(HALF, 255, 0).astype(np.uint8))
    if mode == "I;16":
        return Image.fromarray(np.where(HALF, 7, 0).astype(np.uint16))
    if mode == "P":  # number 0 is white here: the colours count
        numbered = Image.fromarray(np.where(HALF, 0, 1).astype(np.uint8), mode="L").convert("P")
        numbered.putdata(np.where(HALF, 0, 1).ravel().tolist())
        numbered.putpalette([255, 255, 255, 0, 0, 0])
        return numbered
    if mode == "painted on nothing":  # red where the drop is, transparent white elsewhere
        pixels = np.full((HEIGHT, WIDTH, 4), (255, 255, 255, 0), np.uint8)
        pixels[HALF] = (200, 0, 0, 255)
        return Image.fromarray(pixels)
    return gray.convert(mode)


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "LA", "P", "I;16", "painted on nothing"])
def test_all_but_black_and_transparent_is_the_drop(tmp_path: Path, mode: str) -> None:
    mask(mode).save(tmp_path / "mask.png")
    assert (drop_pixels(Image.open(tmp_path / "mask.png")) == HALF).all()


def put(folder: Path, name: str, picture: Image.Image | None = None, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    """An image, and its mask where one is given."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(name)).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(folder / "images" / f"{name}.jpg")
    if picture:
        picture.save(folder / "masks" / f"{name}.png")


def test_a_mask_becomes_what_the_network_learns(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path, name, mask("L"))
    masks = read_masks(tmp_path, 32)
    assert (len(masks.training["pixels"]), len(masks.validation["pixels"])) == (1, 1)
    assert masks.training["extents"].tolist() == [[24, 32]]  # 64 x 48 px at half the size; the rest is padding
    (small,) = masks.training["masks"]
    truth = drop.targets(small[np.newaxis])[0]
    wanted = np.zeros((32, 32), bool)
    wanted[:24, 8:24] = True
    assert (truth[..., 0] == wanted).all()
    assert (truth[..., 1] == -1).all()  # nobody said where the well is
    pixels, targets = drop.batch(masks.training, np.random.default_rng(1), 4)
    assert pixels.shape == (4, 32, 32, 1)
    assert (targets[..., 1] == -1).all()


def test_plates_stay_together_and_images_without_one_are_their_own(tmp_path: Path) -> None:
    for number in range(10):
        put(tmp_path, f"well{number}", mask("L"))
    rows = [f"well{number}.jpg,{'P1' if number < 5 else 'P2'}" for number in range(10)]
    (tmp_path / "labels.csv").write_text("\n".join(["image,plate", *rows]))
    masks = read_masks(tmp_path, 32)
    assert sorted(plates[0] for plates in masks.plates.values()) == ["P1", "P2"]
    assert len(masks.training["pixels"]) == 5
    (tmp_path / "labels.csv").unlink()
    alone = read_masks(tmp_path, 32)
    assert (len(alone.training["pixels"]), len(alone.validation["pixels"])) == (8, 2)
    assert alone.plates == read_masks(tmp_path, 32).plates
    assert alone.sha256 != masks.sha256  # another split is another training


def test_what_has_no_partner_is_one_line_each(tmp_path: Path) -> None:
    for name in ("good", "fine"):
        put(tmp_path, name, mask("L"))
    put(tmp_path, "lonely")
    put(tmp_path, "xcf")
    (tmp_path / "masks" / "xcf.xcf").write_bytes(b"gimp")
    put(tmp_path, "empty", Image.new("L", (WIDTH, HEIGHT)))
    put(tmp_path, "nothing")
    put(tmp_path, "said", Image.new("L", (WIDTH, HEIGHT)))
    put(tmp_path, "small", mask("L"), size=(WIDTH, HEIGHT + 1))
    mask("L").save(tmp_path / "masks" / "orphan.png")
    put(tmp_path, "cut", mask("L"))
    whole = (tmp_path / "masks" / "cut.png").read_bytes()
    (tmp_path / "masks" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "labels.csv").write_text("image,label\nnothing.jpg,empty_well\nsaid.jpg,crystal\nlost.jpg,clear\n")
    masks = read_masks(tmp_path, 32)
    assert len(masks.training["pixels"]) + len(masks.validation["pixels"]) == 4  # good, fine, empty, nothing
    assert list(masks.left_out) == [
        f"{tmp_path}/images/lonely.jpg has no mask masks/lonely.png",
        f"{tmp_path}/masks/xcf.xcf is no PNG: export the mask as PNG",
        f"{tmp_path}/masks/orphan.png has no image in images/",
        f"{tmp_path}/labels.csv: no such image lost.jpg",
        f"{tmp_path}/images/cut.jpg: its mask is no whole PNG",
        f"{tmp_path}/images/said.jpg: its mask is empty, but labels.csv calls it crystal",
        f"{tmp_path}/images/small.jpg: its mask has 64 x 48 px, the image 64 x 49",
    ]
    assert list(masks.notes) == [f"{tmp_path}/masks/empty.png is empty: taken as a well without a drop"]


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder images"):
        find_pairs(tmp_path)
    put(tmp_path, "a", mask("L"), size=(8, 8))
    with pytest.raises(UsageError, match=r"no image with a mask, .*the first problem: .*its mask has 64 x 48 px, the image 8 x 8"):
        read_masks(tmp_path, 32)
    put(tmp_path, "b", mask("L"))
    with pytest.raises(UsageError, match="one plate only, image b"):
        read_masks(tmp_path, 32)


def test_an_unknown_well_does_not_count_in_the_loss() -> None:
    truth = np.zeros((1, 4, 4, 2), np.float32)
    truth[..., 1] = -1
    one, two = np.full((2, 1, 4, 4, 2), 0.5, np.float32)
    two[..., 1] = 0.9
    losses = [float(drop.loss(truth, predicted)) for predicted in (one, two)]
    # drop: entropy ln 2 with the weight 2, half of the two channels, doubled; dice 1 - 20 / (8 + 20), weight 2, half
    assert losses == pytest.approx([2 * np.log(2) + 8 / 28] * 2, rel=1e-5)
