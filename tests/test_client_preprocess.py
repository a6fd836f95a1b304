"""What the chop network sees: brightness by the histogram is that of all pixels, and scores do not depend on a JPEG's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_model import encoded, picture, write_model

from client_app.classify import drop_logits
from client_app.drop import Drop
from client_app.image import Wish, score_image
from client_app.model import FloatArray, load_model
from client_app.preprocess import brightness, gray_image, normalise_chops, over_brightness
from crystal_search.geometry import Box


@given(st.lists(st.integers(0, 255), min_size=1, max_size=200))
def test_brightness_is_the_92nd_percentile_as_numpy_has_it(values: list[int]) -> None:
    pixels = np.array([values], dtype=np.uint8)
    assert brightness(Image.fromarray(pixels)) == pytest.approx(max(np.percentile(pixels, 92), 1.0))


def test_a_crop_is_normalised_by_the_whole_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    whole = normalise_chops(pixels.astype(np.float32))
    crop = over_brightness(pixels[10:30, 20:50], brightness(Image.fromarray(pixels)))
    np.testing.assert_array_equal(crop, whole[10:30, 20:50])


def test_a_whole_factor_is_the_mean_of_blocks() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    half = np.asarray(gray_image(Image.fromarray(pixels), (40, 30)), np.float64)
    np.testing.assert_allclose(half, pixels.reshape(30, 2, 40, 2).mean(axis=(1, 3)), atol=0.5)


def test_the_network_gets_what_the_plain_way_gives_it(tmp_path: Path) -> None:
    model, image = load_model(write_model(tmp_path)), picture(("precipitate", 80, 60))
    seen: list[FloatArray] = []

    def look(_: object, pixels: FloatArray, window: int, step: int, counts: np.ndarray) -> FloatArray:
        seen.append(pixels)
        return np.zeros((counts.sum(), 13), np.float32)

    drop_logits(model, image, Drop(Box(64, 48, 192, 144), np.ones((1, 1), np.bool_)), None, 16, look)
    np.testing.assert_array_equal(seen[0], normalise_chops(np.asarray(image, np.float32))[48:144, 64:192])


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_large_jpeg_gives_the_same_as_its_png(tmp_path: Path, factor: int) -> None:
    """The boxes are those of the file in both, although the JPEG is decoded at a fraction of its size."""
    model = load_model(write_model(tmp_path))
    image = picture(("crystals_harvestable", 96, 64), size=(256 * factor, 192 * factor))
    wish = Wish(16, 0.85, 5, frozenset())
    jpeg, png = (
        score_image(model, wish, "0" * 32, lambda content=content: content, 4.0 / factor)[0]
        for content in (encoded(image, "JPEG", quality=95), encoded(image))
    )
    assert (jpeg.status, jpeg.class_name) == (png.status, png.class_name) == ("scored", "crystals_harvestable")
    assert jpeg.drop_box is not None
    assert png.drop_box == (64 * factor, 48 * factor, 192 * factor, 144 * factor)
    assert np.abs(np.subtract(jpeg.drop_box, png.drop_box)).max() <= 4 * factor, "a px of the drop's mask is 4 px of the working image"
    assert jpeg.crystal_probability == pytest.approx(png.crystal_probability, abs=0.02)
