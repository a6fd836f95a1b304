"""Keras weights kept in a model folder beside the ONNX files, without the optimiser: what a later training starts from."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from client_app.errors import one_line
from crystal_search.atomic import copy_atomically
from crystal_search.errors import SettingsError
from training.export import SETTINGS_FILE, read_settings, sha256

#: Forms of weights, the one that is written first: Keras's own, and HDF5 (P7) with or without the network's structure.
SUFFIXES = (".keras", ".weights.h5", ".h5")


@dataclass(frozen=True, slots=True)
class Start:
    """Where a training starts. ``weights`` and ``side`` (of the input in px, None where any fits) are None for HDF5 files of weights
    alone; ``settings`` is the folder's ``model.toml``, empty for a file that lies in none."""

    file: Path
    sha256: str
    settings: Mapping[str, Any]
    weights: Sequence[npt.NDArray[np.float32]] | None
    side: int | None

    @property
    def name(self) -> str:
        """Of the model that a training started from."""
        return str(self.settings.get("name", self.file.name))

    @property
    def folder(self) -> Path | None:
        """The model folder, None where there is none."""
        return self.file.parent if self.settings else None


def keep(model: Any, path: Path) -> None:
    """Writes a Keras model, not compiled, to ``path``. Raises ``TryAgainLater`` on a full disk."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        copy_atomically(file, path)


def read_start(source: Path, network: str) -> Start:
    """The weights of ``network`` (drop or chops) in a model folder, or in a file. Needs Keras.

    Raises ``SettingsError`` with one line where there are none, they are damaged, or are not those that ``model.toml`` tells of.
    """
    file = source if source.is_file() else _find(source, network)
    settings = read_settings(file.parent)
    digest = sha256(file)
    told = settings.get("training", {}).get(network, {})
    if told.get("weights") == file.name and told.get("weights_sha256", digest) != digest:
        raise SettingsError(f"{file} does not match its SHA-256 in {SETTINGS_FILE}: the file is damaged or was changed")
    if not file.name.endswith(SUFFIXES):
        raise SettingsError(f"{file} holds no weights of Keras: known are {', '.join(SUFFIXES)}")
    if file.name.endswith(".weights.h5"):
        return Start(file, digest, settings, None, None)
    import keras

    try:
        model = keras.models.load_model(file, compile=False)
        return Start(file, digest, settings, model.get_weights(), model.input_shape[1])
    except Exception as error:  # a damaged file makes Keras and h5py raise almost anything
        if file.suffix == ".h5" and "model config" in str(error).lower():
            return Start(file, digest, settings, None, None)
        raise SettingsError(f"{file} can not be read as a Keras model ({one_line(error)})") from error


def put(start: Start, model: Any) -> None:
    """Gives ``model`` the weights. Raises ``SettingsError`` with one line where they are another network's."""
    if start.weights is not None:
        if [weight.shape for weight in start.weights] != [weight.shape for weight in model.get_weights()]:
            raise SettingsError(f"{start.file} is another network than {model.name}, which this program trains")
        model.set_weights(list(start.weights))
        return
    try:
        model.load_weights(start.file)
    except Exception as error:  # as above
        raise SettingsError(f"{start.file} holds no weights of {model.name} ({one_line(error)})") from error


def _find(folder: Path, network: str) -> Path:
    for suffix in SUFFIXES:
        if (folder / f"{network}{suffix}").is_file():
            return folder / f"{network}{suffix}"
    if not folder.is_dir():
        raise SettingsError(f"{folder}: no such model folder")
    raise SettingsError(f"{folder} keeps no Keras weights ({network}.keras): its model can be used, but no training can start from it")
