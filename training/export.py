"""From Keras to a model folder: two ONNX files, and ``model.toml`` that says how to use them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crystal_search.classes import NAMES
from training.networks import RECEPTIVE_FIELD, STRIDE

#: Largest difference between Keras and ONNX that counts as equal.
TOLERANCE = 1e-4
DROP_FILE, CHOPS_FILE, SETTINGS_FILE = "drop.onnx", "chops.onnx", "model.toml"
#: Working resolution: half of a Minstrel HT's 2560 px at 1.131 um/px.
UM_PER_PX, IMAGE_WIDTH = 2.262, 1280


def export_onnx(model: Any, path: Path, examples: Sequence[npt.NDArray[np.float32]]) -> float:
    """Writes a Keras model as ONNX and returns the largest difference between the two on the examples.

    Raises ``ValueError``, and writes nothing, when that is more than 1e-4.
    """
    import onnxruntime

    answers = [np.asarray(model.predict_on_batch(pixels)) for pixels in examples]
    partial = path.with_suffix(".part.onnx")
    model.export(str(partial), format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    differences = [
        float(np.abs(session.run(None, {name: pixels})[0] - answer).max()) for pixels, answer in zip(examples, answers, strict=True)
    ]
    if max(differences) > TOLERANCE:
        partial.unlink()
        raise ValueError(f"the exported {path.name} differs from Keras by {max(differences):.2g}, more than {TOLERANCE}")
    partial.replace(path)
    return max(differences)


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def versions() -> str:
    """The versions that made a model, such as ``"tensorflow 2.21.0, keras 3.15.1"``."""
    names = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def drop_settings(folder: Path, side: int) -> dict[str, Any]:
    """The table ``[drop]`` of ``model.toml`` for the folder's drop finder."""
    path = folder / DROP_FILE
    return {"file": path.name, "sha256": sha256(path), "side": side, "threshold": 0.5, "min_area": 0.004}


def chop_settings(folder: Path, window: int) -> dict[str, Any]:
    """The table ``[chops]`` of ``model.toml`` for the folder's classifier: dense exactness needs steps divisible by the stride."""
    path = folder / CHOPS_FILE
    return {
        "file": path.name,
        "sha256": sha256(path),
        "window": window,
        "stride": STRIDE,
        "receptive_field": RECEPTIVE_FIELD,
        "step": 32,
        "steps": [16, 32, 48, 64, 80],
        "dense_exact": True,
        "normalisation": "percentile-92",
    }


def write_settings(folder: Path, tables: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes ``model.toml``: what is there already, with the given tables replaced; ``training`` keeps its other keys."""
    path = folder / SETTINGS_FILE
    settings: dict[str, Any] = {
        "format": 1,
        "name": folder.name,
        "classes": list(NAMES),
        "threshold": 0.85,
        "um_per_px": UM_PER_PX,
        "image_width": IMAGE_WIDTH,
        "scales": [1.0],
        "drop_types": ["vapour diffusion"],
        "calibration": {"temperature": 1.0},
        "licences": {
            "weights": "Apache-2.0, as this project",
            "training_data": "drawn by training/synthetic of this project; no photograph was used",
        },
    }
    if path.exists():
        settings |= tomllib.loads(path.read_text(encoding="utf-8"))
    for name, table in tables.items():
        settings[name] = {**settings.get(name, {}), **table} if name == "training" else dict(table)
    partial = path.with_suffix(".part")
    partial.write_text(to_toml(settings), encoding="utf-8")
    partial.replace(path)


def to_toml(settings: Mapping[str, Any]) -> str:
    """TOML text of nested tables of strings, numbers, booleans and lists of them.

    >>> print(to_toml({"format": 1, "drop": {"file": "drop.onnx", "exact": True}}), end="")
    format = 1
    <BLANKLINE>
    [drop]
    file = "drop.onnx"
    exact = true
    """
    lines = [f"{name} = {_value(value)}" for name, value in settings.items() if not isinstance(value, Mapping)]
    for name, table in settings.items():
        if isinstance(table, Mapping):
            lines += _table(name, table)
    return "\n".join(lines) + "\n"


def _table(name: str, table: Mapping[str, Any]) -> list[str]:
    lines = ["", f"[{name}]"]
    lines += [f"{key} = {_value(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _table(f"{name}.{key}", value)
    return lines


def _value(value: Any) -> str:
    """A TOML value; JSON's strings, numbers, booleans and lists are TOML's, but for characters outside of ASCII left as they are."""
    return json.dumps(value, ensure_ascii=False)
