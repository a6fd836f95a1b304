"""Examples drawn in background processes and kept in files, so that a training can be killed, resumed and repeated."""

from __future__ import annotations

import hashlib
import itertools
import logging
import multiprocessing
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from crystal_search.atomic import atomic_file
from crystal_search.errors import CrystalSearchError

_log = logging.getLogger("train")

Arrays = dict[str, npt.NDArray[Any]]
#: Draws the examples of some seeds: arrays of equal length.
Draw = Callable[[range], Arrays]


class DamagedShard(CrystalSearchError):
    """A file of examples that can not be read."""


#: Held-out examples have seeds from here on.
VALIDATION_SEED = 10_000_000


def painter_version() -> str:
    """First 12 digits of the SHA-256 of the sources that draw the wells: kept with the examples and in ``model.toml``."""
    digest = hashlib.sha256()
    for source in sorted((Path(__file__).parent / "synthetic").glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


#: What this process draws with, whatever happens to the files later.
_PAINTER = painter_version()


def _shard_path(folder: Path, first: int) -> Path:
    return folder / f"{first:09d}.npz"


def _draw_shard(draw: Draw, folder: Path, size: int, first: int) -> int:
    """Draws and saves one shard unless it is there whole already; returns how many examples it holds."""
    path = _shard_path(folder, first)
    if path.exists():
        try:
            return length(path)
        except DamagedShard as error:
            _log.warning("%s: it is drawn again", error)
    contents: dict[str, Any] = {"painter": np.array(_PAINTER), **draw(range(first, first + size))}
    with atomic_file(path) as stream:
        np.savez(stream, **contents)
    return length(path)


def length(path: Path) -> int:
    """Number of examples in a shard. Raises ``DamagedShard``."""
    return len(read(path)["pixels"])


def read(path: Path) -> Arrays:
    """The arrays of one shard. Raises ``DamagedShard`` with one line where it can not be read to its end."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as shard:
            arrays = {name: shard[name] for name in shard.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedShard(f"{path} is damaged") from error
    if "pixels" not in arrays:
        raise DamagedShard(f"{path} is damaged")
    return arrays


def draw_shards(draw: Draw, folder: Path, count: int, *, seed: int, size: int, workers: int, title: str) -> list[Path]:
    """The shards that hold at least ``count`` examples, drawing those that are missing with ``workers`` low-priority processes.

    A shard holds the examples of ``size`` seeds; shards start at ``seed``, ``seed + size`` and so on. ``draw`` must be picklable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    job = partial(_draw_shard, draw, folder, size)
    drawn: list[Path] = []
    total = 0
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=os.nice, initargs=(10,)) as pool, tqdm(total=count, desc=title, unit="ex", mininterval=5) as bar:
        for first in _batches(itertools.count(seed, size), workers):
            for start, number in zip(first, pool.map(job, first), strict=True):
                if total >= count:
                    break
                drawn.append(_shard_path(folder, start))
                total += number
                bar.update(number)
            if total >= count:
                return drawn
    raise AssertionError("unreachable")


def _batches(numbers: Iterable[int], size: int) -> Iterable[list[int]]:
    """Consecutive lists of ``size`` numbers."""
    iterator = iter(numbers)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def load(paths: list[Path]) -> Arrays:
    """The arrays of all shards, joined; ``painter`` lists the distinct versions of the sources that drew them.

    Raises ``DamagedShard`` with one line.
    """
    return join([read(path) for path in paths])


def join(parts: Sequence[Arrays]) -> Arrays:
    """Examples of several sources one after the other."""
    painters = {str(painter) for part in parts for painter in np.atleast_1d(part["painter"])}
    names = [name for name in parts[0] if name != "painter"]
    return {"painter": np.array(sorted(painters)), **{name: np.concatenate([part[name] for part in parts]) for name in names}}
