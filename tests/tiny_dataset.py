"""A finished data set small enough for tests: chops whose brightness tells the class, in the form that `dataset build` writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crystal_search.classes import NAMES

SIDE = 232


def write_dataset(
    folder: Path,
    classes: Sequence[str] = ("crystals_harvestable", "clear"),
    chops: int = 6,
    drop_type: str = "in meso",
    side: int = SIDE,
    test: int = 0,
) -> Path:
    """``chops`` chops of each class for training, two for validation and ``test`` for test; the lower a class's priority, the brighter."""
    hashes = {}
    rng = np.random.default_rng(1)
    for part, count in (("training", chops), ("validation", 2), ("test", test)):
        if not count:
            continue
        labels = np.repeat([NAMES.index(name) for name in classes], count).astype(np.uint8)
        pixels = np.stack([rng.normal(60 + 8 * label, 4, (side, side)) for label in labels]).clip(0, 255).astype(np.uint8)
        shard = folder / part / "000000000.npz"
        shard.parent.mkdir(parents=True)
        np.savez(shard, painter=np.array("photographs, tiny-1"), pixels=pixels, labels=labels)
        hashes[f"{part}/{shard.name}"] = hashlib.sha256(shard.read_bytes()).hexdigest()
    record = {"format": 1, "side": side, "model": {"name": "tiny-1"}, "drop_types": [drop_type], "shards": hashes}
    (folder / "dataset.json").write_text(json.dumps(record))
    return folder
