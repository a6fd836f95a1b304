"""The dense pass gives every window the score that it has on its own: with the model that ships, on noise and on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from client_app import dense
from client_app.classify import calibrated, drop_logits, window_logits
from client_app.drop import find_drop
from client_app.model import Model, load_model
from client_app.model_folders import default_model_folder
from client_app.preprocess import FloatImage

IMAGES = Path(__file__).resolve().parent.parent / "demo" / "images"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(default_model_folder(), threads=2)


def assert_same(model: Model, pixels: FloatImage, step: int) -> None:
    """Probabilities of both ways agree within 1e-5, and there are as many windows as fit."""
    chops = model.spec.chops
    shape = [(side - chops.window) // step + 1 for side in pixels.shape]
    counts = np.random.default_rng(0).random(shape) < 0.7
    counts[-1, -1] = True
    plain = window_logits(model.chops, pixels, chops.window, step, counts)
    fast = dense.dense_logits(chops, model.chops, pixels, chops.window, step, counts)
    assert plain.shape == fast.shape == (counts.sum(), 13)
    there = calibrated(plain, model.spec.calibration)
    np.testing.assert_allclose(calibrated(fast, model.spec.calibration), there, atol=1e-5)


@settings(max_examples=25)
@given(data=st.data(), rows=st.integers(0, 4), columns=st.integers(0, 4), tile=st.sampled_from([1, 150, 250, 1024]))
def test_any_size_any_step_any_tile(model: Model, data: st.DataObject, rows: int, columns: int, tile: int) -> None:
    step = data.draw(st.sampled_from(model.spec.chops.steps))
    window = model.spec.chops.window
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    # Smooth shapes besides noise, so that classes other than one appear.
    coarse = rng.uniform(0.3, 1.3, ((window + rows * step) // 16 + 1, (window + columns * step) // 16 + 1)).astype(np.float32)
    pixels = np.kron(coarse, np.ones((16, 16), np.float32))[: window + rows * step, : window + columns * step]
    pixels = np.ascontiguousarray(pixels + rng.normal(0, 0.05, pixels.shape).astype(np.float32))
    before, dense.TILE = dense.TILE, tile
    try:
        assert_same(model, pixels, step)
    finally:
        dense.TILE = before


@pytest.mark.parametrize("name", ["97wo_01A_1.jpg", "gsk_precipitate_200.jpeg", "small_crystals_2.jpg"])
def test_real_images(model: Model, name: str) -> None:
    (path,) = IMAGES.rglob(name)
    with Image.open(path) as image:
        luminance = image.convert("L")
    drop = find_drop(model, luminance)
    assert drop is not None
    seen: list[FloatImage] = []

    def keep(network: object, pixels: FloatImage, window: int, step: int, counts: np.ndarray) -> np.ndarray:
        seen.append(pixels)
        return np.zeros((counts.sum(), 13), np.float32)

    drop_logits(model, luminance, drop, None, 32, keep)
    assert_same(model, seen[0], 32)
