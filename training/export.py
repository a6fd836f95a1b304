"""From Keras to a model folder: two ONNX files, and ``model.toml`` that says how to use them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import math
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from client_app.errors import one_line
from crystal_search.atomic import copy_atomically, write_atomically
from crystal_search.classes import NAMES
from crystal_search.errors import SettingsError
from training.backend import in_full_precision
from training.networks import RECEPTIVE_FIELD, STRIDE
from training.synthetic.chops import CENTRAL

#: Largest difference between Keras and ONNX that counts as equal.
TOLERANCE = 1e-4
DROP_FILE, CHOPS_FILE, SETTINGS_FILE = "drop.onnx", "chops.onnx", "model.toml"
#: Working resolution: half of a Minstrel HT's 2560 px at 1.131 um/px.
UM_PER_PX, IMAGE_WIDTH = 2.262, 1280
#: Steps of networks that are run chop by chop, and the one that is usual: P15's 50 px of 2452 are 26 px, which few computers can afford.
PADDED_STEPS, PADDED_STEP = (16, 24, 26, 32, 48, 50, 64, 80, 96, 112), 64
DRAWN_ONLY = "drawn by training/synthetic of this project; no photograph was used"


def export_onnx(model: Any, path: Path, examples: Sequence[npt.NDArray[np.float32]]) -> float:
    """Writes a Keras model as ONNX and returns the largest difference between the two on the examples.

    Raises ``ValueError``, and writes nothing, when that is more than 1e-4; ``SettingsError`` where the export needs TensorFlow and it is
    not there; ``TryAgainLater`` on a full disk.
    """
    import onnxruntime

    with in_full_precision():
        answers = [np.asarray(model.predict_on_batch(pixels)) for pixels in examples]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        logging.getLogger("tf2onnx").setLevel(logging.WARNING)
        if writes_itself(_backend(), model.input_shape):
            with warnings.catch_warnings(action="ignore"):  # torch warns of sizes that it takes as fixed, as they are
                model.export(str(file), format="onnx", verbose=False)
        else:
            _export_elsewhere(model, file)
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        differences = [
            float(np.abs(session.run(None, {name: pixels})[0] - answer).max()) for pixels, answer in zip(examples, answers, strict=True)
        ]
        if max(differences) > TOLERANCE:
            raise ValueError(f"the exported {path.name} differs from Keras by {max(differences):.2g}, more than {TOLERANCE}")
        copy_atomically(file, path)
    return max(differences)


def _backend() -> str:
    import keras

    return str(keras.backend.backend())


def writes_itself(backend: str, shape: Sequence[int | None]) -> bool:
    """Whether Keras can write a network that takes images of ``shape`` (N, height, width, channels) on this backend: on torch only where
    nothing but their number is open.

    >>> writes_itself("torch", (None, 224, 224, 1)), writes_itself("torch", (None, None, None, 1))
    (True, False)
    """
    return backend == "tensorflow" or (backend == "torch" and None not in shape[1:])


def _export_elsewhere(model: Any, file: Path) -> None:
    """The export in a process of its own on the TensorFlow backend."""
    weights = file.with_suffix(".keras")
    model.save(weights)
    command = [sys.executable, "-m", "training.to_onnx", str(weights), str(file)]
    done = subprocess.run(command, env=os.environ | {"KERAS_BACKEND": "tensorflow"}, capture_output=True, text=True, check=False)
    if done.returncode or not file.exists():
        last = (done.stderr.strip() or "it wrote nothing").splitlines()[-1]
        raise SettingsError(f"the export to ONNX failed on the TensorFlow backend, which it needs ({last}): mend that and add --resume")


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def versions() -> str:
    """The versions that made a model, such as ``"tensorflow 2.21.0, keras 3.15.1"``."""
    names = ("tensorflow", "torch", "jax", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")
    found = {name: _version(name) for name in names}
    return ", ".join(f"{name} {version}" for name, version in found.items() if version)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


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
        "margin": math.ceil((1 - CENTRAL) / 2 * window),
        "step": 32,
        "steps": [16, 32, 48, 64, 80],
        "dense_exact": True,
        "normalisation": "percentile-92",
    }


def padded_chop_settings(folder: Path, window: int) -> dict[str, Any]:
    """The same for a padded network, or one that sees the whole chop at once: a client runs it chop by chop, in any step."""
    steps = [step for step in PADDED_STEPS if step <= window]
    return chop_settings(folder, window) | {
        "stride": window,
        "receptive_field": window,
        "step": steps[-1] if window < PADDED_STEP else PADDED_STEP,
        "steps": steps,
        "dense_exact": False,
    }


def read_settings(folder: Path) -> dict[str, Any]:
    """What the folder's ``model.toml`` holds; nothing where there is none. Raises ``SettingsError`` for a damaged one."""
    path = folder / SETTINGS_FILE
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} can not be read ({one_line(error)})") from error


def inherit(folder: Path, source: Path) -> None:
    """Makes ``folder``, which has no ``model.toml`` yet, a copy of the model folder ``source``, Keras weights included.

    What only ``source`` had to say for itself stays behind: README.md and the like. Raises ``TryAgainLater`` on a full disk.
    """
    settings = read_settings(source)
    if not settings or (folder / SETTINGS_FILE).exists():
        return
    training = settings.get("training", {})
    for part in ("drop", "chops"):
        for name in (settings.get(part, {}).get("file"), training.get(part, {}).get("weights")):
            if name and (source / name).is_file():
                copy_atomically(source / name, folder / Path(name).name)
    write_atomically(folder / SETTINGS_FILE, to_toml(settings | {"name": folder.resolve().name}).encode())


def take_drop(folder: Path, source: Path) -> None:
    """Gives ``folder`` the drop finder of the model folder ``source``. Raises ``SettingsError`` where that has none, ``TryAgainLater`` on a
    full disk."""
    told = read_settings(source)
    if not told.get("drop") or not (source / told["drop"].get("file", "")).is_file():
        raise SettingsError(f"{source} has no drop finder: name a model folder")
    copy_atomically(source / told["drop"]["file"], folder / DROP_FILE)
    record = told.get("training", {}).get("drop", {})
    kept = source / str(record.get("weights", ""))
    if record.get("weights") and kept.is_file():
        copy_atomically(kept, folder / kept.name)
    write_settings(folder, {"drop": {**told["drop"], "file": DROP_FILE}, "training": {"drop": record}})


def write_settings(folder: Path, tables: Mapping[str, Any]) -> None:
    """Writes ``model.toml``: what is there already, with the given tables and values replaced; ``training`` keeps its other keys.

    The name is the folder's. Raises ``TryAgainLater`` on a full disk.
    """
    path = folder / SETTINGS_FILE
    settings: dict[str, Any] = {
        "format": 1,
        "name": folder.resolve().name,
        "classes": list(NAMES),
        "threshold": 0.85,
        "um_per_px": UM_PER_PX,
        "image_width": IMAGE_WIDTH,
        "scales": [1.0],
        "drop_types": ["vapour diffusion"],
        "calibration": {"temperature": 1.0},
        "licences": {
            "weights": "Apache-2.0, as this project",
            "training_data": DRAWN_ONLY,
        },
    }
    settings |= read_settings(folder) | {"name": folder.resolve().name}
    for name, table in tables.items():
        settings[name] = {**settings.get(name, {}), **table} if name in ("training", "licences") else table
    write_atomically(path, to_toml(settings).encode())


def to_toml(settings: Mapping[str, Any]) -> str:
    """TOML text of nested tables of strings, numbers, booleans and lists of them.

    >>> print(to_toml({"format": 1, "drop": {"file": "drop.onnx", "exact": True}}), end="")
    format = 1
    <BLANKLINE>
    [drop]
    file = "drop.onnx"
    exact = true
    """
    lines = [f"{_key(name)} = {_value(value)}" for name, value in settings.items() if not isinstance(value, Mapping)]
    for name, table in settings.items():
        if isinstance(table, Mapping):
            lines += _table(_key(name), table)
    return "\n".join(lines) + "\n"


def _table(name: str, table: Mapping[str, Any]) -> list[str]:
    lines = ["", f"[{name}]"]
    lines += [f"{_key(key)} = {_value(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _table(f"{name}.{_key(key)}", value)
    return lines


def _key(name: str) -> str:
    """A bare key, or a quoted one where it needs quotes."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    """A TOML value; JSON's strings, numbers, booleans and lists are TOML's, but for characters outside of ASCII left as they are.

    What is no number is written otherwise: TOML's ``nan`` and ``inf`` are small.
    """
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value, ensure_ascii=False)
