"""A finished data set as training wants it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crystal_search.errors import CrystalSearchError, UsageError
from training.chops import MARGIN
from training.datasets.build import DATASET_JSON, FORMAT
from training.shards import Arrays, load


@dataclass(frozen=True, slots=True)
class DataSet:
    """The chops of a data set in the form of ``training.shards.load``, and what its ``dataset.json`` says.

    ``sha256`` is that of ``dataset.json``, which holds the SHA-256 of every shard.
    """

    folder: Path
    name: str
    training: Arrays
    validation: Arrays
    sha256: str
    record: Mapping[str, Any]

    @property
    def drop_types(self) -> list[str]:
        """The types of drops on its plates (P34)."""
        return [str(name) for name in self.record.get("drop_types", [])]


def read_dataset(folder: Path, window: int) -> DataSet:
    """Training and validation chops of a data set; the test part stays for the evaluation.

    Raises ``UsageError`` with one line for a folder without a finished data set, a damaged record or shard, chops for another ``window``,
    and a part without chops.
    """
    try:
        content = (folder / DATASET_JSON).read_bytes()
        record = json.loads(content)
        form, side, hashes = record["format"], record["side"], dict(record["shards"])
    except OSError:
        raise UsageError(f"{folder} holds no finished data set: there is no {DATASET_JSON} in it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / DATASET_JSON} is damaged: start the build again") from error
    if form != FORMAT or side != window + MARGIN:
        raise UsageError(f"{folder} has chops of {side} px in format {form}, training wants {window + MARGIN} px in format {FORMAT}")
    parts = []
    for part in ("training", "validation"):
        arrays = _part(folder, part, hashes)
        if not len(arrays.get("labels", ())):
            raise UsageError(f"{folder} has no chops for {part}: more plates are needed")
        parts.append(arrays)
    return DataSet(folder, folder.resolve().name, parts[0], parts[1], hashlib.sha256(content).hexdigest(), record)


def read_test(data: DataSet) -> Arrays | None:
    """The chops of a data set's test plates; None where it has none. Raises ``UsageError`` for a damaged shard."""
    arrays = _part(data.folder, "test", dict(data.record["shards"]))
    return arrays if len(arrays.get("labels", ())) else None


def _part(folder: Path, part: str, hashes: Mapping[str, str]) -> Arrays:
    """The chops of one part, nothing where it has no shards."""
    shards = sorted(folder / name for name in hashes if name.startswith(f"{part}/"))
    for shard in shards:
        _check(shard, hashes[f"{part}/{shard.name}"])
    return _load(shards) if shards else {}


def load_dataset(folder: Path, window: int) -> tuple[Arrays, Arrays]:
    """Training and validation chops alone; see :func:`read_dataset`."""
    data = read_dataset(folder, window)
    return data.training, data.validation


def _load(shards: list[Path]) -> Arrays:
    try:
        return load(shards)
    except CrystalSearchError as error:
        raise UsageError(f"{error}: start the build again, which makes it anew") from error


def _check(shard: Path, sha256: str) -> None:
    """Raises ``UsageError`` where the shard is not the one that ``dataset.json`` tells of."""
    try:
        with shard.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{shard}: can not be read ({error.strerror}): start the build again, which makes it anew") from error
    if found != sha256:
        raise UsageError(f"{shard} is damaged: start the build again, which makes it anew")
