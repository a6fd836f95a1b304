"""``crystal-search quantise``: an int8 model is a model of its own that says how far it is from the one that it was made of."""

from __future__ import annotations

import tomllib
from pathlib import Path

import onnx
import pytest
from click.testing import CliRunner, Result
from tiny_model import encoded, picture, write_model

from client_app.model import load_model
from crystal_search.archives import ImageResult, Status
from crystal_search.errors import UsageError
from training.quantise import Agreement, quantise_command


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, patches in {"a": ["crystals_harvestable"], "b": ["precipitate"], "c": []}.items():
        (folder / f"{name}.png").write_bytes(encoded(picture(*((patch, 80, 60) for patch in patches))))
    (folder / "empty.png").write_bytes(encoded(picture(drop=False)))
    return folder


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(quantise_command, list(map(str, arguments)), standalone_mode=False)
    if result.exception:
        raise result.exception
    return result


def test_an_int8_model_is_a_model_of_its_own(tmp_path: Path, images: Path) -> None:
    model = write_model(tmp_path / "full")
    out = tmp_path / "small"
    said = call("--model", model, "--out", out, "--calibrate-on", images, "--compare-on", images).output
    assert "3 of 3 images in the same group" in said
    assert "1 without a drop or not readable are left out" in said
    full, small = load_model(model), load_model(out)
    assert small.reference.name == "small"
    assert small.reference.sha256 != full.reference.sha256
    assert small.spec.calibration == full.spec.calibration
    assert small.spec.threshold == full.spec.threshold
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(out / "chops.onnx").graph.node}
    record = tomllib.loads((out / "model.toml").read_text())["training"]["int8"]
    assert (record["of"], record["of_sha256"]) == (full.reference.name, full.reference.sha256)
    assert record["calibrated_on"] == "3 drops of images"
    assert (record["compared_images"], record["same_group"]) == (3, 3)
    assert 0 <= record["crystal_difference"] < 0.2


def test_float32_weights_stay_behind(tmp_path: Path, images: Path) -> None:
    model = write_model(tmp_path / "full")
    text = (
        (model / "model.toml")
        .read_text()
        .replace("[training]", '[training.chops]\nweights = "chops.keras"\nweights_sha256 = "0"\n[training]')
    )
    (model / "model.toml").write_text(text)
    (model / "chops.keras").write_bytes(b"float32")
    call("--model", model, "--out", tmp_path / "small", "--calibrate-on", images)
    assert not (tmp_path / "small" / "chops.keras").exists()
    assert tomllib.loads((tmp_path / "small" / "model.toml").read_text())["training"]["chops"] == {}


def test_agreement_by_hand() -> None:
    def result(name: str | None, crystal: float | None, status: Status = Status.SCORED) -> ImageResult:
        return ImageResult(id="0" * 32, status=status, class_name=name, crystal_probability=crystal)

    broken = result(None, None, Status.FAILED)
    ours = [
        result("crystals_bad_form", 0.9),
        result("clear", 0.1),
        result(None, None, Status.NO_DROP),
        result(None, 0.3, Status.UNSURE),
        broken,
    ]
    theirs = [result("crystals_harvestable", 0.8), result("precipitate", 0.1), result(None, None, Status.NO_DROP), ours[3], broken]
    agreement = Agreement.of(["a", "b", "c", "d", "e"], ours, theirs)
    assert (agreement.images, agreement.same_group, agreement.others, agreement.not_compared) == (3, 2, ("b",), 2)
    assert agreement.crystal_difference == pytest.approx(0.1)


def test_what_is_int8_already_is_refused(tmp_path: Path, images: Path) -> None:
    call("--model", write_model(tmp_path / "full"), "--out", tmp_path / "small", "--calibrate-on", images)
    with pytest.raises(UsageError, match="computes in int8 already"):
        call("--model", tmp_path / "small", "--out", tmp_path / "smaller", "--calibrate-on", images)
    assert not (tmp_path / "smaller").exists()


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path, images: Path) -> None:
    model = write_model(tmp_path / "full")
    before = (model / "model.toml").read_bytes()
    with pytest.raises(UsageError, match="is there already: name a new folder"):
        call("--model", model, "--out", model, "--calibrate-on", images)
    assert (model / "model.toml").read_bytes() == before


def test_nothing_to_calibrate_on(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(encoded(picture(drop=False)))
    model = write_model(tmp_path / "full")
    with pytest.raises(UsageError, match="no drop is found"):
        call("--model", model, "--out", tmp_path / "small", "--calibrate-on", tmp_path / "empty.png")
    assert not (tmp_path / "small").exists()
