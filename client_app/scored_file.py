"""``scored.json`` beside ``scores.csv``: how the scores were made and what they cost."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import msgspec

SCORED_JSON = "scored.json"


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """``images`` were scored by the last call, in so many ``seconds`` and ``processor_seconds``; rows that an earlier call had finished are
    none of them."""

    model: str
    model_sha256: str
    threshold: float
    step: int
    images: int
    seconds: float
    processor_seconds: float


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Runs from its making on."""

    clock: float = field(default_factory=time.perf_counter)
    processor: float = field(default_factory=time.process_time)

    def read(self) -> tuple[float, float]:
        """Seconds by the clock, and those that this process's threads computed."""
        return round(time.perf_counter() - self.clock, 3), round(time.process_time() - self.processor, 3)
