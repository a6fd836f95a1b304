"""`crystal-search train` as a lab calls it: its own images, a kill at any moment, weights to go on from, bad input."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from heavy import heavy
from PIL import Image
from tiny_dataset import SIDE, write_dataset

from client_app.model import load_model
from crystal_search.classes import NAMES
from crystal_search.cli import crystal_search
from crystal_search.errors import CrystalSearchError, SettingsError, UsageError
from training import backend, cli, drop, export, loop, shards

keras = heavy("keras")

pytestmark = [
    pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tf2onnx"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:keras"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow"),
]

EPOCHS = 6
#: One tiny training.
TINY = ("--chops", "0", "--epochs", str(EPOCHS), "--steps", "2", "--batch", "4", "--average", "0.9", "--last-rate", "1e-4")


def train(*arguments: object) -> Result:
    return CliRunner().invoke(crystal_search, ["train", *map(str, arguments)])


def told(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "model.toml").read_text())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the curves, and compiling a network as a whole, would take longer than the epochs."""
    quicker(monkeypatch)


def quicker(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(loop, "draw_curves", lambda *_: None)
    patch.setattr(backend, "compiles", lambda _: False)
    # Tracing a U-Net as a graph takes longer than the few steps of a test.
    patch.setattr(cli, "_compile_drop", lambda model, optimizer: model.compile(optimizer, drop.loss, run_eagerly=True))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, masks, and a model folder that was trained from both."""
    lab = tmp_path_factory.mktemp("lab")
    write_dataset(lab / "scored")
    write_masks(lab / "drawn")
    with pytest.MonkeyPatch.context() as patch:
        quicker(patch)
        done = train("chops", "--data", lab / "scored", "--work", lab / "runs", "--out", lab / "own-1", *TINY)
        assert done.exit_code == 0, done.output
        done = train("drop", *tiny_unet(lab / "drawn"), "--work", lab / "runs", "--out", lab / "own-1")
        assert done.exit_code == 0, done.output
    return lab


def tiny_unet(masks: Path) -> list[object]:
    return ["--images", 0, "--data", masks, "--filters", 1, "--side", 32, "--epochs", 2, "--steps", 2, "--batch", 2]


def write_masks(folder: Path) -> None:
    """Four gray wells with a bright square drop, and their masks."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(4):
        pixels = np.full((48, 64), 80, np.uint8)
        mask = np.zeros_like(pixels)
        for array, value in ((pixels, 200), (mask, 255)):
            array[10:40, 8 + 4 * number : 40 + 4 * number] = value
        Image.fromarray(pixels).save(folder / "images" / f"well{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"well{number}.png")


# ---- the model folder ---------------------------------------------------------------------------------------------


def test_a_model_of_the_labs_own_images_is_one_that_clients_take(lab: Path) -> None:
    model = load_model(lab / "own-1")
    assert (model.spec.name, model.spec.drop_types, model.spec.drop.side) == ("own-1", ("in meso",), 32)
    record = told(lab / "own-1")["training"]
    for network in ("drop", "chops"):
        kept = lab / "own-1" / record[network]["weights"]
        assert hashlib.sha256(kept.read_bytes()).hexdigest() == record[network]["weights_sha256"]
        assert not keras.models.load_model(kept, compile=False).compiled
    chops = record["chops"]
    data = chops["data_sets"]["1"]
    assert (data["name"], data["sha256"]) == ("scored", hashlib.sha256((lab / "scored" / "dataset.json").read_bytes()).hexdigest())
    assert data["training"] == {"crystals_harvestable": 6, "clear": 6}
    assert chops["classes_without_examples"] == [name for name in NAMES if name not in ("crystals_harvestable", "clear")]
    assert (chops["epochs"], chops["drawn"], chops["backend"], chops["average"]) == (EPOCHS, 0, "tensorflow", 0.9)
    rows = loop.read_figures(lab / "runs" / "chops" / "fit")
    assert chops["exported_epoch"] == loop.best_epoch(rows)
    assert chops["held_out_figures"]["held_out_loss"] == round(min(row["held_out_loss"] for row in rows), 4)
    assert record["drop"]["masks"] | {"sha256": ""} == {"folder": "drawn", "sha256": "", "training": 3, "validation": 1, "left_out": 0}
    assert record["drop"]["filters"] == 1


def test_two_trainings_with_one_seed_agree(lab: Path, tmp_path: Path) -> None:
    done = train("drop", *tiny_unet(lab / "drawn"), "--work", tmp_path, "--out", tmp_path / "m")
    assert done.exit_code == 0, done.output
    for one, two in zip(weights(lab / "runs/drop/fit", 2), weights(tmp_path / "drop/fit", 2), strict=True):
        assert (one == two).all()


def weights(fit: Path, epoch: int) -> list[np.ndarray]:
    with np.load(fit / f"epoch_{epoch:03d}.npz") as stored:
        return [stored[name] for name in sorted(stored.files)]


@pytest.mark.slow
def test_a_training_killed_at_random_ends_as_the_uninterrupted_one(lab: Path, tmp_path: Path) -> None:
    arguments = ["train", "chops", "--data", lab / "scored", "--work", tmp_path, "--out", tmp_path / "m", *TINY, "--resume"]
    command = [sys.executable, "-c", "from crystal_search.cli import main; main()", *map(str, arguments)]
    seed = time.time_ns()
    moments = random.Random(seed)
    for epochs in (1, 3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        give_up = time.monotonic() + 120
        while len(loop.read_figures(tmp_path / "chops/fit")) < epochs and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.02)
        time.sleep(moments.uniform(0.0, 0.6))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, f"seed {seed}"
    assert epochs <= len(loop.read_figures(tmp_path / "chops/fit")) <= EPOCHS
    done = train(*arguments[1:])
    assert done.exit_code == 0, done.output
    assert loop.read_figures(tmp_path / "chops/fit") == loop.read_figures(lab / "runs/chops/fit"), f"seed {seed}"
    for one, two in zip(weights(lab / "runs/chops/fit", EPOCHS), weights(tmp_path / "chops/fit", EPOCHS), strict=True):
        assert (one == two).all(), f"seed {seed}"


# ---- going on from a model ----------------------------------------------------------------------------------------


def test_fine_tuning_starts_from_a_model_folder_and_inherits_the_rest(lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn chops, here one well's, are mixed in; the export goes the way of other backends, through TensorFlow in a process of its own."""
    drawn = shards.load([lab / "scored" / "training" / "000000000.npz"])
    asked: list[int] = []

    def examples(run: cli.Run, draw: object, folder: Path, count: int, size: int) -> tuple[shards.Arrays, shards.Arrays]:
        asked.append(count)
        return drawn, drawn

    monkeypatch.setattr(cli.Run, "examples", examples)
    monkeypatch.setattr(export, "_backend", lambda: "torch")
    out = tmp_path / "own-2"
    options = ("--epochs", 1, "--steps", 1, "--batch", 4, "--precision", "mixed_bfloat16")
    done = train("chops", "--from", lab / "own-1", "--data", lab / "scored", "--work", tmp_path, "--out", out, *options)
    assert done.exit_code == 0, done.output
    assert asked == [cli.DRAWN_FROM]
    model = load_model(out)
    assert (model.spec.name, model.spec.drop, model.spec.drop_types) == ("own-2", load_model(lab / "own-1").spec.drop, ("in meso",))
    assert (out / "drop.keras").read_bytes() == (lab / "own-1" / "drop.keras").read_bytes()
    record = told(out)["training"]["chops"]
    assert (record["rate"], record["data_share"], record["precision"]) == (2e-4, 0.33, "mixed_bfloat16")
    assert record["from"]["model"] == "own-1"
    assert record["from"]["sha256"] == told(lab / "own-1")["training"]["chops"]["weights_sha256"]
    assert {"held_out_loss", "drawn_held_out_loss"} <= set(record["held_out_figures"])
    # the exported network starts where the other ended: one step at a small rate moves it a little
    pixels = np.full((1, 160, 160, 1), 0.6, np.float32)
    assert np.abs(model.chops(pixels) - load_model(lab / "own-1").chops(pixels)).max() < 1.0


def test_the_unet_goes_on_at_its_own_size_from_hdf5_too(lab: Path, tmp_path: Path) -> None:
    source = tmp_path / "hdf5"
    source.mkdir()
    shutil.copy(lab / "own-1" / "model.toml", source)
    keras.models.load_model(lab / "own-1" / "drop.keras", compile=False).save_weights(source / "drop.weights.h5")
    size = ("--images", 0, "--data", lab / "drawn", "--epochs", 1, "--steps", 1, "--batch", 2)
    done = train("drop", "--from", source, *size, "--work", tmp_path, "--out", tmp_path / "m")
    assert done.exit_code == 0, done.output
    assert (told(tmp_path / "m")["training"]["drop"]["filters"], told(tmp_path / "m")["drop"]["side"]) == (1, 32)
    assert told(tmp_path / "m")["training"]["drop"]["from"]["file"] == "drop.weights.h5"
    other = train("drop", "--from", lab / "own-1", "--filters", 2, *size, "--work", tmp_path, "--out", tmp_path / "m")
    assert isinstance(other.exception, UsageError)
    assert "drop.keras has 1" in str(other.exception)


# ---- bad input ----------------------------------------------------------------------------------------------------


def complaint(result: Result, kind: type[CrystalSearchError]) -> str:
    assert type(result.exception) is kind, result.output
    assert str(result.exception).count("\n") == 0
    return str(result.exception)


def test_wrong_calls_are_one_line(lab: Path, tmp_path: Path) -> None:
    where = ("--work", tmp_path, "--out", tmp_path / "m")
    assert "nothing to train on" in complaint(train("chops", "--chops", 0, *where), UsageError)
    assert "nothing to train on" in complaint(train("drop", "--images", 0, *where), UsageError)
    assert "not a multiple of 32" in complaint(train("drop", "--side", 100, *where), UsageError)
    assert "no folder images" in complaint(train("drop", "--data", tmp_path, *where), UsageError)
    assert "at most the first" in complaint(train("chops", "--rate", 1e-4, "--last-rate", 1e-3, *where), UsageError)
    assert "no finished data set" in complaint(train("chops", "--data", tmp_path, *where), UsageError)
    assert not (tmp_path / "m").exists()
    mixed = train("chops", "--data", lab / "scored", "--work", lab / "runs", "--out", tmp_path / "m", *TINY, "--seed", 2, "--resume")
    assert "another training (seed: 1 there, 2 here)" in complaint(mixed, UsageError)
    assert "add --resume" in complaint(
        train("chops", "--data", lab / "scored", "--work", lab / "runs", "--out", tmp_path / "m", *TINY), UsageError
    )


def test_weights_that_are_not_there_or_not_these_are_one_line(lab: Path, tmp_path: Path) -> None:
    where = ("--data", lab / "scored", "--work", tmp_path, "--out", tmp_path / "m", *TINY)
    bare = shutil.copytree(lab / "own-1", tmp_path / "bare", ignore=shutil.ignore_patterns("*.keras"))
    assert "keeps no Keras weights" in complaint(train("chops", "--from", bare, *where), SettingsError)
    changed = shutil.copytree(lab / "own-1", tmp_path / "changed")
    (changed / "chops.keras").write_bytes((changed / "chops.keras").read_bytes()[:1000])
    assert "does not match its SHA-256" in complaint(train("chops", "--from", changed, *where), SettingsError)
    (changed / "model.toml").unlink()
    assert "can not be read as a Keras model" in complaint(train("chops", "--from", changed, *where), SettingsError)
    same = train("chops", "--from", lab / "own-1", "--data", lab / "scored", "--work", tmp_path, "--out", lab / "own-1", *TINY)
    assert "is what --from starts from" in complaint(same, UsageError)
    assert "is another network" in complaint(train("chops", "--from", lab / "own-1" / "drop.keras", *where), SettingsError)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.toml").write_text("= nonsense")
    assert "can not be read" in complaint(train("chops", *where), SettingsError)  # before the training, not after it


def test_damaged_data_sets_are_one_line(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    where = ("--data", data, "--work", tmp_path, "--out", tmp_path / "m", *TINY)
    shard = data / "training" / "000000000.npz"
    shard.write_bytes(shard.read_bytes()[:5000])
    assert f"{shard} is damaged: start the build again" in complaint(train("chops", *where), UsageError)
    shard.unlink()
    assert f"{shard}: can not be read" in complaint(train("chops", *where), UsageError)
    (data / "dataset.json").write_text((data / "dataset.json").read_text()[:80])
    assert "dataset.json is damaged" in complaint(train("chops", *where), UsageError)


def test_a_drawn_shard_that_is_damaged_is_drawn_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "000000001.npz").write_bytes(b"half")
    assert shards._draw_shard(lambda seeds: {"pixels": np.zeros((len(seeds), 2))}, tmp_path, 3, 1) == 3
    assert caplog.messages == [f"{tmp_path}/000000001.npz is damaged: it is drawn again"]


def test_left_out_masks_end_with_exit_code_1_once_the_model_is_there(lab: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    masks = shutil.copytree(lab / "drawn", tmp_path / "drawn")
    Image.new("L", (10, 10)).save(masks / "masks" / "well1.png")
    done = train("drop", *tiny_unet(masks), "--work", tmp_path, "--out", tmp_path / "m")
    assert "1 images, masks or rows were left out" in complaint(done, CrystalSearchError)
    assert done.exception.exit_code == 1  # type: ignore[union-attr]
    assert f"left out {masks}/images/well1.png: its mask has 10 x 10 px, the image 64 x 48" in caplog.messages
    assert told(tmp_path / "m")["training"]["drop"]["masks"]["left_out"] == 1
    assert (tmp_path / "m" / "drop.onnx").exists()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("theano", "KERAS_BACKEND=theano: unknown backend, known are tensorflow, torch, jax"),
        ("jax", "KERAS_BACKEND=jax: jax is not installed: pip install jax, or leave KERAS_BACKEND out for TensorFlow"),
    ],
)
def test_a_backend_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, line: str) -> None:
    monkeypatch.setenv("KERAS_BACKEND", name)
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda _: None)
    assert complaint(train("chops", "--work", tmp_path, "--out", tmp_path / "m"), SettingsError) == line


def test_chops_of_the_data_set_have_the_side_that_training_wants() -> None:
    from training.chops import MARGIN, WINDOW

    assert SIDE == WINDOW + MARGIN
