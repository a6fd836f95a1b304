"""Networks of one image size on Keras's torch backend: trained and exported without TensorFlow (``make test-torch``).

``TORCH_PYTHON`` names a Python that has the project's libraries and torch.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tiny_dataset import write_dataset

from client_app.model import load_model
from training.export import writes_itself

ROOT = Path(__file__).parent.parent


def test_what_keras_can_write_on_which_backend() -> None:
    whole, any_size = (None, 128, 128, 1), (None, None, None, 1)
    assert [writes_itself(backend, whole) for backend in ("tensorflow", "torch", "jax")] == [True, True, False]
    assert [writes_itself(backend, any_size) for backend in ("tensorflow", "torch", "jax")] == [True, False, False]


@pytest.mark.torch
@pytest.mark.parametrize(("network", "classes"), [("squeezenet-1.0", "13"), ("alexnet", "5"), ("resnet-50", "marco"), ("vggnet-16", "13")])
def test_the_papers_networks_are_written_on_torch(network: str, classes: str, tmp_path: Path) -> None:
    data, out = write_dataset(tmp_path / "data", side=72), tmp_path / f"lab-{network}"
    told = ["train", "chops", "--network", network, "--classes", classes, "--window", 64, "--chops", 0, "--data", data, "--out", out]
    told += ["--epochs", 1, "--steps", 1, "--batch", 2, "--work", tmp_path / "runs", "--drop-from", ROOT / "models" / "synthetic-2"]
    command = [os.environ["TORCH_PYTHON"], "-m", "crystal_search", *map(str, told)]
    done = subprocess.run(command, env=os.environ | {"KERAS_BACKEND": "torch"}, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert load_model(out).spec.chops.window == 64
    network_file = onnxruntime.InferenceSession(str(out / "chops.onnx"), providers=["CPUExecutionProvider"])
    answer = network_file.run(None, {network_file.get_inputs()[0].name: np.ones((3, 64, 64, 1), np.float32)})[0]
    assert answer.shape == (3, 1, 1, 13)
    assert 'backend = "torch"' in (out / "model.toml").read_text()
    assert onnx_producer(out / "chops.onnx") == "pytorch"  # and not tf2onnx


def onnx_producer(file: Path) -> str:
    """The program that wrote an ONNX file."""
    import onnx

    return str(onnx.load(str(file), load_external_data=False).producer_name)
