"""Training: the networks' geometry, checkpoints that survive a kill, and model folders that clients accept."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from heavy import heavy

from client_app.dense import dense_logits
from client_app.model import load_model
from crystal_search.classes import CRYSTAL_CLASSES, NAMES
from crystal_search.errors import UsageError
from training import chops, cli, drop, export, loop, networks, shards

keras = heavy("keras")

pytestmark = [
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tf2onnx"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:keras"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow"),
]


@pytest.fixture(scope="module")
def chop_model() -> keras.Model:
    """A chop network with random weights, its batch statistics too, so that folding them in wrongly would show."""
    keras.utils.set_random_seed(3)
    model = networks.chop_squeezenet()
    rng = np.random.default_rng(3)
    model.set_weights([w if w.ndim > 1 else rng.uniform(0.5, 1.5, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def folder(chop_model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights."""
    out = tmp_path_factory.mktemp("models") / "random-1"
    out.mkdir()
    rng = np.random.default_rng(4)
    export.export_onnx(chop_model, out / export.CHOPS_FILE, [rng.random((3, 160, 160, 1), np.float32)])
    export.export_onnx(networks.drop_unet(filters=2), out / export.DROP_FILE, [rng.random((1, 128, 128, 1), np.float32)])
    export.write_settings(out, {"drop": export.drop_settings(out, 128), "training": {"drop": {"seed": 1}}})
    export.write_settings(out, {"chops": export.chop_settings(out, 160), "training": {"chops": {"seed": 2}}})
    return out


def test_receptive_field_by_hand() -> None:
    # conv 3; pool +2*2 = 7; fires +2*4 twice = 23; pool +2*4 = 31; fires +2*8 twice = 63; pool +2*8 = 79; fires +2*16 twice = 143
    assert networks.field_and_stride() == (143, 16)


@pytest.mark.parametrize(("side", "cells"), [(143, 1), (158, 1), (159, 2), (160, 2), (175, 3)])
def test_class_map_has_a_cell_for_each_16_px(chop_model: keras.Model, side: int, cells: int) -> None:
    assert chop_model(np.zeros((2, side, side, 1), np.float32)).shape == (2, cells, cells, 13)


def test_a_cell_sees_its_own_143_px_and_nothing_else(chop_model: keras.Model) -> None:
    rng = np.random.default_rng(0)
    pixels, others = rng.random((2, 1, 175, 175, 1), np.float32)
    others[:, 16:159, 16:159] = pixels[:, 16:159, 16:159]
    one, two = chop_model.predict_on_batch(pixels), chop_model.predict_on_batch(others)
    assert one[0, 1, 1] == pytest.approx(two[0, 1, 1], abs=1e-5)
    assert np.abs(one[0, 0, 1] - two[0, 0, 1]).max() > 1e-3


def test_dense_pass_equals_chop_by_chop(chop_model: keras.Model, folder: Path) -> None:
    model = load_model(folder)
    pixels = np.random.default_rng(1).random((160 + 2 * 48, 160 + 3 * 48), np.float32)
    windows = np.stack([pixels[y : y + 160, x : x + 160] for y in (0, 48, 96) for x in (0, 48, 96, 144)])[..., np.newaxis]
    alone = chop_model.predict_on_batch(windows).mean(axis=(1, 2))
    assert np.abs(dense_logits(model.spec.chops, model.chops, pixels, 160, 48, np.ones((3, 4), np.bool_)) - alone).max() < 1e-4
    assert np.abs(model.chops(windows).mean(axis=(1, 2)) - alone).max() < 1e-4
    assert alone.std(axis=0).max() > 1e-2  # the windows do differ


def test_export_refuses_a_network_that_changed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match=r"chops\.onnx differs from Keras"):
        export.export_onnx(networks.drop_unet(filters=1, side=32), tmp_path / "chops.onnx", [np.zeros((1, 32, 32, 1), np.float32)])
    assert list(tmp_path.iterdir()) == []


def test_model_toml_names_files_classes_and_hashes(folder: Path) -> None:
    settings = tomllib.loads((folder / "model.toml").read_text())
    assert settings["classes"] == list(NAMES)
    for part in ("drop", "chops"):
        assert settings[part]["sha256"] == hashlib.sha256((folder / settings[part]["file"]).read_bytes()).hexdigest()
    assert settings["name"] == "random-1"
    assert settings["training"] == {"drop": {"seed": 1}, "chops": {"seed": 2}}
    assert load_model(folder).spec.chops.receptive_field == 143


def test_toml_survives_a_round_trip() -> None:
    settings = {
        "n": 1,
        "text": 'a "quoted" \\ µ',
        "list": [1.5, 2.0, float("inf")],
        "a key": 1,
        "yes": True,
        "table": {"a": 1, "inner": {"b": "c"}},
    }
    assert tomllib.loads(export.to_toml(settings)) == settings


def test_learning_rate_falls_in_steps() -> None:
    plan = loop.Plan(epochs=10, steps=1, batch=1, rate=1.0, seed=1)
    assert [loop.learning_rate(plan, epoch) for epoch in range(10)] == [1.0] * 5 + [0.3] * 3 + [0.1] + [0.02]


def _tiny() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    return model


def _draw(rng: np.random.Generator, size: int) -> loop.Batch:
    pixels = rng.random((size, 3), np.float32)
    return pixels, pixels[:, :2] * 2


def test_a_killed_training_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    plan = loop.Plan(epochs=3, steps=4, batch=8, rate=1e-2, seed=5)
    whole = _tiny()
    rows = loop.fit(whole, _draw, lambda _: {"figure": 0.5}, tmp_path / "whole", plan)

    batches = 0

    def killed(rng: np.random.Generator, size: int) -> loop.Batch:
        nonlocal batches
        batches += 1
        if batches == 11:
            raise KeyboardInterrupt
        return _draw(rng, size)

    with pytest.raises(KeyboardInterrupt):
        loop.fit(_tiny(), killed, lambda _: {"figure": 0.5}, tmp_path / "killed", plan)
    assert len(loop.read_figures(tmp_path / "killed")) == 2

    with pytest.raises(UsageError, match="--resume"):
        loop.fit(_tiny(), _draw, lambda _: {"figure": 0.5}, tmp_path / "killed", plan)

    resumed = _tiny()
    resumed_rows = loop.fit(resumed, _draw, lambda _: {"figure": 0.5}, tmp_path / "killed", plan, resume=True)
    assert [row["epoch"] for row in resumed_rows] == [1, 2, 3]
    assert resumed_rows[-1]["loss"] == pytest.approx(rows[-1]["loss"], rel=1e-5)
    for one, two in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        assert one == pytest.approx(two, abs=1e-6)

    earlier = _tiny()
    fewer = loop.Plan(epochs=1, steps=4, batch=8, rate=1e-2, seed=5)
    assert len(loop.fit(earlier, _draw, lambda _: {"figure": 0.5}, tmp_path / "killed", fewer, resume=True)) == 1
    assert not np.allclose(earlier.get_weights()[0], resumed.get_weights()[0])
    assert (tmp_path / "killed" / "curves.png").stat().st_size > 1000


def test_shards_are_drawn_once_and_extended(tmp_path: Path) -> None:
    first = shards.draw_shards(chops.drawer(40), tmp_path, 1, seed=1, size=1, workers=1, title="test")
    assert [path.name for path in first] == ["000000001.npz"]
    written = first[0].stat().st_mtime_ns
    wanted = shards.length(first[0]) + 1
    more = shards.draw_shards(chops.drawer(40), tmp_path, wanted, seed=1, size=1, workers=1, title="test")
    assert first[0].stat().st_mtime_ns == written
    assert len(more) > 1
    data = shards.load(more)
    assert len(data["labels"]) == len(data["pixels"]) >= wanted
    assert data["pixels"].shape[1:] == (40 + chops.MARGIN, 40 + chops.MARGIN)
    assert data["painter"].tolist() == [shards.painter_version()]


def test_batches_show_rare_classes_as_often_as_said() -> None:
    assert sum(chops.SHARES.values()) == pytest.approx(1.0)
    assert set(chops.SHARES) == set(NAMES)
    labels = np.array([0] * 500 + [10] * 2, np.uint8)
    balanced = chops.Balanced({"pixels": np.full((502, 40, 40), 100, np.uint8), "labels": labels}, window=32)
    pixels, classes = balanced(np.random.default_rng(0), 400)
    assert pixels.shape == (400, 32, 32, 1)
    assert pixels.dtype == np.float32
    wanted = chops.SHARES["clear"] / (chops.SHARES["clear"] + chops.SHARES["crystals_harvestable"])
    assert classes[:, 10].mean() == pytest.approx(wanted, abs=0.08)


def test_shadows_darken_softly_and_a_little() -> None:
    lit = np.full((80, 80), 0.9, np.float32)
    shaded = chops.shade(lit, np.random.default_rng(1))
    assert shaded.max() <= 0.9 + 1e-6
    assert 0.5 < shaded.min() < 0.9
    assert np.abs(np.diff(shaded, axis=0)).max() < 0.05


def test_figures_by_hand() -> None:
    crystal, clear = NAMES.index(CRYSTAL_CLASSES[0]), NAMES.index("clear")
    values = np.zeros((4, 13), np.float32)
    values[0, crystal] = values[1, clear] = values[2, crystal] = 20.0  # sure; the fourth says nothing
    found = chops.figures(values, np.array([crystal, crystal, clear, clear], np.uint8))
    assert found["accuracy"] == 0.25
    assert found["crystals_found"] == 0.5
    assert found["crystals_false"] == 0.5


def test_temperature_undoes_a_factor() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(0, 2, (4000, 13))
    labels = np.array([rng.choice(13, p=p) for p in chops.softmax(values)], np.uint8)
    assert chops.temperature((values * 2.5).astype(np.float32), labels) == pytest.approx(2.5, rel=0.1)


def test_augmented_views_keep_mask_and_picture_together() -> None:
    rng = np.random.default_rng(0)
    pixels = np.zeros((48, 64), np.float32)
    pixels[10:30, 20:40] = -5.0
    mask = (pixels < 0).astype(np.uint8)
    for _ in range(20):
        view, moved = drop.augment(pixels, mask, rng, 64)
        assert view.shape == moved.shape == (64, 64)
        dark = view < (view.min() + view.max()) / 2
        assert (dark & moved.astype(bool)).sum() / (dark | moved.astype(bool)).sum() > 0.8


def test_a_second_training_in_a_folder_needs_resume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "drop" / "fit").mkdir(parents=True)
    (tmp_path / "drop" / "fit" / "curves.csv").write_text("epoch,loss\n1,0.5\n")
    data = {"pixels": np.zeros((2, 128, 128), np.float16), "painter": np.array(["x"])}
    monkeypatch.setattr(cli.Run, "examples", lambda *_: (data, data))
    result = CliRunner().invoke(cli.train, ["drop", "--out", str(tmp_path / "m"), "--work", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).count("\n") == 0
    assert "--resume" in str(result.exception)
