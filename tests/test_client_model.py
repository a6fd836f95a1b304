"""A model folder is believed only when every hash, class, step and shape is right."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tiny_model import chop_network, drop_network, write_model

from client_app.model import load_model
from crystal_search.classes import NAMES
from crystal_search.errors import SettingsError


def refuse(folder: Path, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as error:
        load_model(folder)
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 700
    assert "again" in line or "--model" in line, "the line says what to do"


def test_a_model_loads_and_is_known_by_its_toml(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path), threads=2)
    assert model.reference.name == "tiny-1"
    assert model.reference.sha256 == hashlib.sha256((tmp_path / "model.toml").read_bytes()).hexdigest()
    assert model.runtime.startswith("onnxruntime ")
    assert model.provider == "CPUExecutionProvider"


def test_both_networks_answer(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path))
    assert model.drop(np.zeros((2, 64, 64, 1), np.float32)).shape == (2, 64, 64, 2)
    assert model.chops(np.zeros((3, 48, 80, 1), np.float32)).shape == (3, 3, 5, 13)


def test_a_model_folder_from_before_there_was_a_bias_still_loads(tmp_path: Path) -> None:
    path = write_model(tmp_path) / "model.toml"
    path.write_text(path.read_text().replace("bias = []\n", ""))
    assert load_model(tmp_path).spec.calibration.bias == ()
    assert len(load_model(write_model(tmp_path, bias=str([0.5] * 13))).spec.calibration.bias) == 13


def test_a_whole_number_may_stand_for_a_decimal(tmp_path: Path) -> None:
    assert load_model(write_model(tmp_path, um_per_px="4", scales="[1, 2]")).spec.scales == (1.0, 2.0)


def test_the_step_is_the_models_own_unless_another_allowed_one_is_asked_for(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path))
    assert model.step(None) == 16
    assert model.step(32) == 32
    with pytest.raises(SettingsError, match="does not work in steps of 50 px: choose one of 16, 32"):
        model.step(50)


@pytest.mark.parametrize("file", ["drop.onnx", "chops.onnx"])
def test_a_network_with_another_hash_is_refused(tmp_path: Path, file: str) -> None:
    """One byte more leaves a perfectly readable network: nothing but the hash tells."""
    write_model(tmp_path)
    with (tmp_path / file).open("ab") as stream:
        stream.write(b"\x00")
    refuse(tmp_path, f"{file} does not match its SHA-256")


@pytest.mark.parametrize("file", ["drop.onnx", "chops.onnx", "model.toml"])
def test_a_missing_file_is_refused(tmp_path: Path, file: str) -> None:
    write_model(tmp_path)
    (tmp_path / file).unlink()
    refuse(tmp_path, "No such file")


def test_no_folder_at_all(tmp_path: Path) -> None:
    refuse(tmp_path / "none", "no model in .*none")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format", "2", "format"),
        ("classes", str([NAMES[1], NAMES[0], *NAMES[2:]]), "not this program's 13 classes in their order"),
        ("classes", str(list(NAMES[:12])), "not this program's 13 classes"),
        ("threshold", "1.2", "threshold"),
        ("threshold", "nan", "threshold"),
        ("um_per_px", "0", "um_per_px"),
        ("scales", "[]", "scales"),
        ("scales", "[0.0]", "scales"),
        ("step", "50", "step 50 is not one of its steps"),
        ("steps", "[16, 24]", "multiples of the stride"),
        ("steps", "[16, 48]", "larger than the window"),
        ("receptive_field", "33", "receptive field"),
        ("temperature", "0", "temperature"),
        ("temperature", "-1.0", "temperature"),
        ("temperature", "nan", "temperature"),
        ("bias", "[0.5]", "bias for 1 of 13 classes"),
        ("bias", str([0.0] * 12 + [101.0]), "bias"),
        ("bias", f"[{'0.0, ' * 12}nan]", "bias"),
        ("normalisation", '"min-max"', "normalisation"),
        ("drop_file", '"../drop.onnx"', "file"),
        ("drop_file", '"/etc/drop.onnx"', "file"),
        ("drop_sha256", '"short"', "sha256"),
        ("name", "1", "name"),
        ("name", '"a', "model.toml"),
        ("name", "1" * 5000, "model.toml"),
        ("scales", "[" * 3000 + "]" * 3000, "model.toml"),
    ],
)
def test_a_toml_that_is_wrong_is_refused(tmp_path: Path, key: str, value: str, words: str) -> None:
    refuse(write_model(tmp_path, **{key: value}), words)


def test_a_toml_that_is_no_text_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "model.toml").write_bytes(b"\xff\xfe\x00")
    refuse(tmp_path, "model.toml")


def test_a_step_that_is_no_multiple_is_fine_where_no_dense_pass_is_promised(tmp_path: Path) -> None:
    assert load_model(write_model(tmp_path, steps="[16, 25]", dense_exact="false")).step(25) == 25


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    refuse(write_model(tmp_path, chops=b"no network"), "not a network that this program can run")


def test_a_network_with_twelve_classes_is_refused(tmp_path: Path) -> None:
    refuse(write_model(tmp_path, chops=chop_network(classes=12)), "answers with shape")


def test_a_drop_network_for_another_size_is_refused(tmp_path: Path) -> None:
    refuse(write_model(tmp_path, drop=drop_network(side=32)), "drop.onnx")
