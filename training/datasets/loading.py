"""A finished data set as training wants it."""

from __future__ import annotations

import json
from pathlib import Path

from crystal_search.errors import UsageError
from training.chops import MARGIN
from training.datasets.build import DATASET_JSON, FORMAT
from training.shards import Arrays, load


def load_dataset(folder: Path, window: int) -> tuple[Arrays, Arrays]:
    """Training and validation chops of a data set, in the form of ``training.shards.load``; the test part stays for the evaluation.

    Raises ``UsageError`` with one line for a folder without a finished data set, chops for another ``window``, and a part without chops.
    """
    try:
        record = json.loads((folder / DATASET_JSON).read_bytes())
        form, side = record["format"], record["side"]
    except OSError:
        raise UsageError(f"{folder} holds no finished data set: there is no {DATASET_JSON} in it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / DATASET_JSON} is damaged: start the build again") from error
    if form != FORMAT or side != window + MARGIN:
        raise UsageError(f"{folder} has chops of {side} px in format {form}, training wants {window + MARGIN} px in format {FORMAT}")
    parts = []
    for part in ("training", "validation"):
        shards = sorted(path for path in (folder / part).glob("*.npz") if f"{part}/{path.name}" in record["shards"])
        arrays = load(shards) if shards else {}
        if not len(arrays.get("labels", ())):
            raise UsageError(f"{folder} has no chops for {part}: more plates are needed")
        parts.append(arrays)
    return parts[0], parts[1]
