"""``--self-test``: a computer that does not get what it should is told so, in one line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tiny_model import write_model

from client_app.main import client
from client_app.self_test import BOX_TOLERANCE_PX, EXPECTED, PICTURE, PROBABILITY_TOLERANCE, Expected, difference, unsound, write_expected
from crystal_search.archives import ImageResult, Status

SHIPPED = Path(__file__).resolve().parent.parent / "models" / "synthetic-2"

RESULT = ImageResult(
    id="0" * 32,
    status=Status.SCORED,
    drop_box=(100, 200, 700, 600),
    class_name="crystals_harvestable",
    score="23",
    probability=0.9,
    crystal_probability=0.95,
)
WANTED = Expected(
    model_sha256="0" * 64,
    picture_sha256="0" * 64,
    status=Status.SCORED,
    class_name="crystals_harvestable",
    crystal_probability=0.95,
    drop_box=(100, 200, 700, 600),
)


def passed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert client(["--self-test", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert re.fullmatch(r"self-test passed: [^\n]+\n", captured.out)
    return captured.out


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert client(["--self-test", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"crystal-search-client: self-test failed: [^\n]+\n", captured.err)
    return captured.err


def test_the_shipped_model_gets_what_is_expected(capsys: pytest.CaptureFixture[str]) -> None:
    """When this fails after a change of the model: python -m client_app.self_test models/synthetic-2."""
    assert "compared with nothing" not in passed(capsys)
    assert PICTURE.stat().st_size <= 60_000


def test_a_model_of_ones_own_is_tested_for_a_sound_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "model")
    assert "compared with nothing" in passed(capsys, "--model", str(model), "--nthreads", "2")
    write_expected(model)
    assert "compared with nothing" not in passed(capsys, "--model", str(model))


def test_nothing_is_left_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    passed(capsys)
    assert list(tmp_path.iterdir()) == []


def test_no_identifier_is_left_in_the_home(tmp_path: Path) -> None:
    """onnxruntime would leave one there, and send reports."""
    command = (sys.executable, "-m", "client_app", "--self-test")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))} | {"HOME": str(tmp_path)}
    done = subprocess.run(command, env=environment, cwd=Path(__file__).resolve().parent.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_a_computer_that_computes_otherwise_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Path(shutil.copytree(SHIPPED, tmp_path / "model", ignore=shutil.ignore_patterns("*.keras")))
    expected = msgspec.json.decode((model / EXPECTED).read_bytes(), type=Expected)
    other = msgspec.structs.replace(expected, crystal_probability=round(expected.crystal_probability - 0.1, 4))
    (model / EXPECTED).write_bytes(msgspec.json.encode(other))
    assert f"instead of {other.crystal_probability}" in failed(capsys, "--model", str(model))


def test_what_was_expected_of_another_model_is_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "model")
    shutil.copy(SHIPPED / EXPECTED, model)
    assert "python -m client_app.self_test" in failed(capsys, "--model", str(model))
    (model / EXPECTED).write_bytes(b"{}")
    assert "can not be read" in failed(capsys, "--model", str(model))


def test_a_model_without_a_drop_or_without_numbers_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Path(shutil.copytree(SHIPPED, tmp_path / "model", ignore=shutil.ignore_patterns("*.keras")))
    (model / "chops.onnx").write_bytes(b"damaged")
    assert "does not match its SHA-256" in failed(capsys, "--model", str(model))
    assert "no model in" in failed(capsys, "--model", str(tmp_path))
    assert unsound(ImageResult(id="0" * 32, status=Status.NO_DROP))
    assert unsound(ImageResult(id="0" * 32, status=Status.FAILED, reason="why"))
    assert unsound(RESULT) is None


def test_what_differs_is_named() -> None:
    def against(**changes: object) -> str | None:
        return difference(msgspec.structs.replace(RESULT, **changes), WANTED)

    assert against() is None
    assert against(crystal_probability=0.95 - 0.9 * PROBABILITY_TOLERANCE) is None
    assert "crystal probability" in (against(crystal_probability=0.95 + 1.1 * PROBABILITY_TOLERANCE) or "")
    assert against(drop_box=(100 + BOX_TOLERANCE_PX, 200, 700, 600)) is None
    assert "drop" in (against(drop_box=(100, 200, 700, 601 + BOX_TOLERANCE_PX)) or "")
    assert against(status=Status.UNSURE, class_name=None) == "unsure instead of crystals_harvestable"
    assert against(class_name="clear") == "clear instead of crystals_harvestable"
