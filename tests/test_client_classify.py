"""Windows over a drop: which there are, what each one sees, and that its probabilities are those worked out by hand."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_model import DROP, FAR, SHARPNESS, TARGETS, picture, write_model

from client_app import classify as module
from client_app.classify import MAX_WORKING_PIXELS, calibrated, classify, on_drop, region
from client_app.drop import Drop
from client_app.errors import ImageError
from client_app.model import CalibrationSpec, Model, load_model
from crystal_search.classes import NAMES
from crystal_search.geometry import Box, WindowGrid, window_grid

BOX = Box(64, 48, 192, 144)


def whole(box: Box) -> Drop:
    """A drop that fills its box: every window counts."""
    return Drop(box, np.ones((1, 1), np.bool_))


DROPLET = whole(BOX)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_model(tmp_path_factory.mktemp("model")))


def by_hand(image: Image.Image, box: Box) -> np.ndarray:
    """The 13 probabilities of one window that lies in the image, from its mean brightness alone."""
    pixels = np.asarray(image, dtype=np.float64)
    brightness = np.minimum(pixels / np.percentile(pixels, 92), 1.6)[box.y0 : box.y1, box.x0 : box.x1].mean()
    targets = np.array([TARGETS.get(name, FAR) for name in NAMES])
    return np.asarray(scipy.special.softmax(-SHARPNESS * (brightness - targets) ** 2))


def test_every_window_of_the_grid_is_classified_as_worked_out_by_hand(model: Model) -> None:
    image = picture(("crystals_harvestable", 80, 64), ("precipitate", 128, 80))
    windows = classify(model, image, DROPLET, None, 16)
    assert windows.boxes == list(window_grid(BOX, 256, 192, 32, 16).windows())
    assert len(windows.boxes) == 7 * 5
    expected = np.array([by_hand(image, box) for box in windows.boxes])
    np.testing.assert_allclose(windows.probabilities, expected, atol=1e-3)


def test_more_windows_than_one_batch_stay_in_order(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(("crystals_harvestable", 80, 64))
    whole = classify(model, image, DROPLET, None, 16)
    monkeypatch.setattr(module, "BATCH", 64)
    np.testing.assert_allclose(classify(model, image, DROPLET, None, 16).probabilities, whole.probabilities, atol=1e-6)


def test_never_more_than_a_batch_is_in_memory(model: Model) -> None:
    sizes: list[int] = []
    network = model.chops

    def spy(pixels: np.ndarray) -> np.ndarray:
        sizes.append(len(pixels))
        return network(pixels)

    padded = msgspec.structs.replace(model.spec, chops=msgspec.structs.replace(model.spec.chops, dense_exact=False))
    counting = Model(padded, "0" * 64, model.drop, spy)  # type: ignore[arg-type]
    plain = classify(counting, picture(), DROPLET, None, 16)
    assert sizes == [8, 8, 8, 8, 3]
    np.testing.assert_allclose(classify(model, picture(), DROPLET, None, 16).probabilities, plain.probabilities, atol=1e-6)


def test_the_step_is_obeyed(model: Model) -> None:
    assert len(classify(model, picture(), DROPLET, None, 32).boxes) == 4 * 3


def test_an_image_of_unknown_scale_is_brought_to_the_models_width(model: Model) -> None:
    """A picture three times as large gives the same windows, three times as large."""
    small = classify(model, picture(("precipitate", 96, 64)), DROPLET, None, 16)
    large = classify(model, picture(("precipitate", 96, 64), size=(768, 576)), whole(Box(192, 144, 576, 432)), None, 16)
    assert [tuple(3 * edge for edge in box.as_tuple()) for box in small.boxes] == [box.as_tuple() for box in large.boxes]
    certain = small.probabilities.max(axis=1) > 0.999  # between two classes the blurred edges count
    assert {NAMES[column] for column in small.probabilities[certain].argmax(axis=1)} == {"precipitate", "phase_separation", "clear"}
    np.testing.assert_allclose(large.probabilities[certain], small.probabilities[certain], atol=0.05)


def test_an_image_of_known_scale_is_brought_to_the_models_scale(model: Model) -> None:
    """The model works at 4 um/px: at 8 um/px a window of 32 px is 16 px of the original, and a drop of 256 x 192 px has 15 x 11."""
    windows = classify(model, picture(), DROPLET, 8.0, 16)
    assert len(windows.boxes) == 15 * 11
    assert {(box.width, box.height) for box in windows.boxes} == {(16, 16)}


def test_two_scales_give_windows_of_two_sizes(tmp_path: Path) -> None:
    windows = classify(load_model(write_model(tmp_path, scales="[1.0, 2.0]")), picture(), DROPLET, None, 16)
    assert [box.width for box in windows.boxes] == [32] * (7 * 5) + [16] * (15 * 11)
    assert windows.probabilities.shape == (7 * 5 + 15 * 11, 13)


def test_a_scale_is_a_factor_of_the_models_resolution_for_images_of_known_scale_too(tmp_path: Path) -> None:
    """An image at 8 um/px, the model at 4 um/px times 0.5: nothing is resampled."""
    windows = classify(load_model(write_model(tmp_path, scales="[0.5]")), picture(), DROPLET, 8.0, 16)
    assert windows.boxes == list(window_grid(BOX, 256, 192, 32, 16).windows())


def test_a_drop_smaller_than_a_window_grows_into_the_image(model: Model) -> None:
    windows = classify(model, picture(), whole(Box(100, 100, 110, 110)), None, 16)
    assert windows.boxes == [Box(89, 89, 121, 121)]


def test_an_image_smaller_than_a_window_repeats_its_edge(model: Model) -> None:
    """A wide strip: 256 px at the working width, 8 px high. Boxes are cut to the image."""
    image = Image.fromarray(np.full((8, 256), DROP, dtype=np.uint8))
    windows = classify(model, image, whole(Box(0, 0, 256, 8)), None, 16)
    assert windows.boxes[0] == Box(0, 0, 32, 8)
    assert all(NAMES[row.argmax()] == "clear" for row in windows.probabilities)


def test_windows_reach_beyond_the_drop_so_that_its_edge_is_in_the_middle_of_some(tmp_path: Path) -> None:
    """8 px more to each side: 128 x 96 px become 144 x 112, which is 32 + 7 x 16 and 32 + 5 x 16."""
    windows = classify(load_model(write_model(tmp_path, margin="8")), picture(), DROPLET, None, 16)
    assert windows.boxes == list(WindowGrid(56, 40, 8, 6, 32, 16).windows())


def test_windows_without_the_drop_in_their_middle_do_not_count(tmp_path: Path) -> None:
    """The drop is the left half of its box. Middles of 16 px lie at 64, 80, ... 176: the first four begin in the left half."""
    mask = np.zeros((12, 16), np.bool_)  # a px of it is 16 px of the picture
    mask[3:9, 4:8] = True
    model = load_model(write_model(tmp_path, margin="8"))
    windows = classify(model, picture(("precipitate", 64, 48)), Drop(BOX, mask), None, 16)
    every = classify(model, picture(("precipitate", 64, 48)), DROPLET, None, 16)
    assert windows.boxes == [box for box in every.boxes if box.x0 + 8 < 128]
    kept = [number for number, box in enumerate(every.boxes) if box.x0 + 8 < 128]
    np.testing.assert_array_equal(windows.probabilities, every.probabilities[kept])


def test_a_hole_in_the_drop_is_looked_at() -> None:
    """A crystal may be missing from the mask, in the middle of the drop and at its edge."""
    mask = np.ones((12, 16), np.bool_)
    mask[3:9, 4:12] = False  # a hole
    mask[5:7, 12:] = False  # with a way out to the right
    assert on_drop(window_grid(Box(0, 0, 256, 192), 256, 192, 32, 16), mask, 256, 192, 8).all()


def test_a_drop_that_no_window_shows_is_looked_at_as_a_whole() -> None:
    assert on_drop(WindowGrid(0, 0, 2, 3, 32, 16), np.zeros((4, 4), np.bool_), 256, 192, 0).all()


def test_edge_replication_is_that_of_numpy() -> None:
    pixels = np.arange(12, dtype=np.float32).reshape(3, 4)
    grid = WindowGrid(left=-2, top=-1, columns=1, rows=1, window=8, step=1)
    np.testing.assert_array_equal(region(pixels, grid), np.pad(pixels, ((1, 4), (2, 2)), mode="edge"))


def test_the_temperature_flattens_every_window(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path, temperature="40.0"))
    windows = classify(model, picture(), DROPLET, None, 32)
    clear, phase = (windows.probabilities[0, NAMES.index(name)] for name in ("clear", "phase_separation"))
    assert clear / phase == pytest.approx(np.exp(SHARPNESS * 0.3**2 / 40.0), rel=1e-3)


def test_a_network_that_answers_nonsense_fails_the_image(model: Model) -> None:
    def broken(pixels: np.ndarray) -> np.ndarray:
        answer = model.chops(pixels)
        answer[0, 0, 0, 5] = np.nan
        return answer

    with pytest.raises(ImageError, match="not a number"):
        classify(Model(model.spec, "0" * 64, model.drop, broken), picture(), DROPLET, None, 16)  # type: ignore[arg-type]


@pytest.mark.parametrize("um_per_px", [1000.0, 200.0])
def test_a_scale_that_would_fill_the_memory_fails_the_image(model: Model, um_per_px: float) -> None:
    assert 256 * 192 * (um_per_px / 4) ** 2 > MAX_WORKING_PIXELS
    with pytest.raises(ImageError, match="at the model's resolution"):
        classify(model, picture(), DROPLET, um_per_px, 16)


def test_a_needle_of_an_image_that_would_fill_the_memory_fails(model: Model) -> None:
    with pytest.raises(ImageError, match="its shape"):
        classify(model, Image.new("L", (1, 60_000)), whole(Box(0, 0, 1, 1)), None, 16)


def test_a_bias_moves_every_window_towards_its_class(tmp_path: Path) -> None:
    bias = [0.0] * 13
    bias[NAMES.index("phase_separation")] = 1.5
    models = [load_model(write_model(tmp_path / str(len(b)), temperature="40.0", bias=str(b))) for b in ([], bias)]
    plain, moved = (classify(model, picture(), DROPLET, None, 32).probabilities[0] for model in models)
    clear, phase = NAMES.index("clear"), NAMES.index("phase_separation")
    assert moved[phase] / moved[clear] == pytest.approx(plain[phase] / plain[clear] * np.exp(1.5))
    assert moved.sum() == pytest.approx(1)


@given(
    st.lists(st.lists(st.floats(-500, 500, width=32), min_size=13, max_size=13), min_size=1, max_size=5),
    st.floats(0.1, 10.0),
    st.one_of(st.just([]), st.lists(st.floats(-100, 100), min_size=13, max_size=13)),
)
def test_calibrated_probabilities_are_scipys_softmax(rows: list[list[float]], temperature: float, bias: list[float]) -> None:
    logits = np.array(rows, dtype=np.float32)
    expected = scipy.special.softmax(logits.astype(np.float64) / temperature + np.array(bias or 0.0), axis=1)
    np.testing.assert_allclose(calibrated(logits, CalibrationSpec(temperature=temperature, bias=tuple(bias))), expected, atol=1e-12)
