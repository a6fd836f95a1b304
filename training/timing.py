"""How long each epoch of a training took, in a file beside its figures: time is no part of what a resumed training has to repeat."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from crystal_search.atomic import write_atomically

FILE = "seconds.json"


def epoch_seconds(folder: Path) -> dict[int, float]:
    """Seconds by epoch, from 1; empty where none were noted or the file is damaged, since nothing depends on them."""
    with suppress(OSError, ValueError, AttributeError):
        return {int(epoch): float(seconds) for epoch, seconds in json.loads((folder / FILE).read_bytes()).items()}
    return {}


def note(folder: Path, epoch: int, seconds: float) -> None:
    """Notes what an epoch took, its validation included. Raises ``TryAgainLater`` on a full disk."""
    known = epoch_seconds(folder) | {epoch: round(seconds, 2)}
    write_atomically(folder / FILE, json.dumps(known).encode())
