"""What a round of the work generator works with, and remembers for the next."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from crystal_search.grid import Grid
from crystal_search.ledger import Ledger
from crystal_search.service import Stop
from crystal_search.settings import Settings
from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.images import Key
from work_generator.files import Disk, ImageStore


@dataclass(frozen=True, slots=True)
class Generator:
    """What a round works with; ``now`` is in seconds, ``store`` the settings' folders unless given.

    From round to round remain ``positions``, the keys, by search, at which a look back was cut short, ``marks`` of refused images'
    files as they were when last read, ``did``, which counts what was done, ``said``, the pause that was logged, by priority,
    ``plates_seen``, when the image root was last found to have plates of XtalTrak, and ``gone_back``, the searches warned of that.
    """

    settings: Settings
    ledger: Ledger
    xtaltrak: XtalTrak
    grid: Grid
    stop: Stop = field(default_factory=Stop)
    positions: dict[str, Key] = field(default_factory=dict)
    now: Callable[[], float] = time.monotonic
    marks: dict[int, tuple[int, int]] = field(default_factory=dict)
    did: Counter[str] = field(default_factory=Counter)
    store: ImageStore | None = None
    said: dict[int, str] = field(default_factory=dict)
    plates_seen: dict[Path, float] = field(default_factory=dict)
    gone_back: set[str] = field(default_factory=set)

    @property
    def files(self) -> ImageStore:
        return self.store or Disk(self.settings.paths.images, self.settings.work_units)
