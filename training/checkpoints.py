"""Checkpoints: everything that the next epoch depends on, in one file that is there whole or not at all."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from crystal_search.atomic import PARTIAL_SUFFIX, atomic_file
from crystal_search.errors import CrystalSearchError, UsageError
from training.average import Average

#: Checkpoints that take less than this many bytes in all are kept; of more, the last two and the best are.
ROOM = 2_000_000_000


class DamagedCheckpoint(CrystalSearchError):
    """A checkpoint that is not there or can not be read."""


def path_of(folder: Path, epoch: int) -> Path:
    """The checkpoint after ``epoch`` epochs."""
    return folder / f"epoch_{epoch:03d}.npz"


def weights_file(folder: Path, epoch: int) -> Path:
    """The same as earlier versions wrote it, in Keras's own form."""
    return folder / f"epoch_{epoch:03d}.weights.h5"


def save(path: Path, model: Any, average: Average | None) -> None:
    """Writes a compiled model's weights, its optimiser's state and their average. Raises ``TryAgainLater`` on a full disk."""
    from keras import ops

    arrays = {f"weight_{i:05d}": value for i, value in enumerate(model.get_weights())}
    arrays |= {f"optimizer_{i:05d}": np.asarray(ops.convert_to_numpy(v)) for i, v in enumerate(model.optimizer.variables)}
    if average:
        arrays |= {f"average_{i:05d}": value for i, value in enumerate(average.weights)}
        arrays["updates"] = np.array(average.updates)
    with atomic_file(path) as file:
        np.savez(file, **arrays)


def load(folder: Path, epoch: int, model: Any, average: Average | None) -> None:
    """Brings a compiled model, and the average where there is one, to where they were after ``epoch`` epochs.

    Raises ``DamagedCheckpoint`` and changes nothing where the file is missing or damaged, ``UsageError`` for another network's.
    """
    path, old = path_of(folder, epoch), weights_file(folder, epoch)
    model.optimizer.build(model.trainable_variables)  # its state has a place only then
    if not path.exists() and old.exists():
        _load_old(old, model)
        if average:
            average.reset(model.get_weights())
        return
    parts = _read(path)
    weights, state, means = (parts.get(kind, []) for kind in ("weight", "optimizer", "average"))
    variables = model.optimizer.variables
    fitting = _shapes(weights) == _shapes(model.get_weights()) and _shapes(state) == [tuple(v.shape) for v in variables]
    if not fitting:
        raise UsageError(f"{folder} holds the training of another network: take another --work folder")
    model.set_weights(weights)
    for variable, value in zip(variables, state, strict=True):
        variable.assign(value)
    if average:
        average.reset(means or weights, int(parts["updates"][0]) if means else 0)


def _read(path: Path) -> dict[str, list[Any]]:
    """The file's arrays by kind."""
    parts: dict[str, list[Any]] = {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            for name in sorted(stored.files):
                parts.setdefault(name.partition("_")[0], []).append(stored[name])
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else "is damaged"
        raise DamagedCheckpoint(f"{path} {why}") from error
    return parts


def _load_old(path: Path, model: Any) -> None:
    try:
        model.load_weights(path)
    except (OSError, KeyError) as error:
        raise DamagedCheckpoint(f"{path} is damaged") from error
    except ValueError as error:
        raise UsageError(f"{path.parent} holds the training of another network: take another --work folder") from error


def _shapes(arrays: Iterable[Any]) -> list[tuple[int, ...]]:
    return [tuple(array.shape) for array in arrays]


def sweep(folder: Path) -> None:
    """Deletes what a killed training left half written."""
    for leftover in folder.glob(f".*{PARTIAL_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def thin_out(folder: Path, last: int, best: int) -> None:
    """Deletes all checkpoints but the last two and the best where they take more than :data:`ROOM` bytes."""
    files = sorted(folder.glob("epoch_*.npz"))
    if sum(file.stat().st_size for file in files) <= ROOM:
        return
    kept = {path_of(folder, epoch) for epoch in (last, last - 1, best)}
    for file in files:
        if file not in kept:
            with suppress(OSError):
                file.unlink()
