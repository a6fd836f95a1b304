"""A lab's MXNet record files as a data set that `train chops` takes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from client_app.preprocess import BRIGHTNESS_CEILING
from crystal_search import __version__
from crystal_search.atomic import atomic_file, write_atomically
from crystal_search.classes import NAMES
from crystal_search.errors import UsageError
from training.chops import MARGIN
from training.datasets.build import DATASET_JSON, FORMAT
from training.records.recordio import Record, read_records

#: Chops of one shard: some hundred MB in memory.
_SHARD = 2048


def read_image(record: Record, path: Path) -> npt.NDArray[np.uint8]:
    """The gray image of a record (height, width). Raises ``UsageError`` with one line."""
    packed = np.frombuffer(record.image, np.uint8)
    image = cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE) if packed.size else None
    if image is None:
        raise UsageError(f"{path}: record {record.number} holds no image that can be read")
    return np.asarray(image, dtype=np.uint8)


def to_dataset(parts: dict[str, Path], classes: Sequence[str], out: Path, window: int, white: float) -> dict[str, int]:
    """Writes record files, by part, as a data set for chops of ``window`` px into the new folder ``out``; returns the chops of each part.

    Label k means ``classes[k]``. Images are brought to the size of a training chop; ``white`` is the byte of brightness 1 in them. Raises
    ``UsageError`` with one line for a damaged file, one without records, a label without a class, and a folder that is not empty;
    ``out`` is then as it was, so that the same command may be given again.
    """
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty: name another folder with --out")
    try:
        return _write(parts, classes, out, window, white)
    except BaseException:
        for part in parts:
            shutil.rmtree(out / part, ignore_errors=True)
        raise


def _write(parts: dict[str, Path], classes: Sequence[str], out: Path, window: int, white: float) -> dict[str, int]:
    places = np.array([NAMES.index(name) for name in classes], np.uint8)
    hashes: dict[str, str] = {}
    counts: dict[str, int] = {}
    for part, path in parts.items():
        counts[part] = 0
        pixels: list[npt.NDArray[np.uint8]] = []
        labels: list[int] = []

        def close(part: str = part, pixels: list[npt.NDArray[np.uint8]] = pixels, labels: list[int] = labels) -> None:
            if not labels:
                return
            name = f"{part}/{counts[part]:09d}.npz"
            contents: dict[str, Any] = {"pixels": np.stack(pixels), "labels": places[labels]}
            with atomic_file(out / name) as file:
                np.savez(file, painter=np.array("record files of MXNet"), **contents)
            hashes[name] = hashlib.sha256((out / name).read_bytes()).hexdigest()
            counts[part] += len(labels)
            pixels.clear()
            labels.clear()

        for record in read_records(path):
            label = int(record.label)
            if label != record.label or not 0 <= label < len(classes):
                known = f"{len(classes)} classes are named (--classes)"
                raise UsageError(f"{path}: record {record.number} has the label {record.label:g}, {known}")
            pixels.append(_chop(read_image(record, path), window + MARGIN, white))
            labels.append(label)
            if len(labels) == _SHARD:
                close()
        close()
        if not counts[part]:
            raise UsageError(f"{path}: there is no record in it")
    record_json = {
        "format": FORMAT,
        "version": __version__,
        "model": {"name": "", "sha256": ""},
        "side": window + MARGIN,
        "window": window,
        "drop_types": ["vapour diffusion"],
        "sources": [{"source": path.name, "part": part, "sha256": _sha256(path)} for part, path in parts.items()],
        "shards": hashes,
    }
    write_atomically(out / DATASET_JSON, json.dumps(record_json, indent=1).encode())
    return counts


def _chop(image: npt.NDArray[np.uint8], side: int, white: float) -> npt.NDArray[np.uint8]:
    bright = np.minimum(image.astype(np.float32) / np.float32(white), BRIGHTNESS_CEILING) * np.float32(255 / BRIGHTNESS_CEILING)
    if bright.shape != (side, side):
        shrinks = max(bright.shape) > side
        bright = cv2.resize(bright, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(np.rint(bright), dtype=np.uint8)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
