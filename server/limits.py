"""How large and how slow a work unit may be: the numbers of the templates, computed from real work units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from crystal_search.archives import MAX_IMAGES, MAX_RESULT_BYTES, MAX_WORK_UNIT_BYTES

MB = 1024 * 1024
HOUR = 3600

#: Operations a second of one core as BOINC's own benchmark (Whetstone) sees it; only the first jobs of a computer depend on it.
CORE_FLOPS = 3e9
#: A run is ended as hopeless after this many times its estimate. A GPU's estimate is up to a hundred times shorter than the
#: processor's, and a GPU that fails leaves its work to the processor.
HOPELESS = 1000
#: What the client may use (its ``--memory-mb``), by default enough for any image.
MEMORY_MB = 1280
#: A result's share of one image: the largest overlay that was seen had 143 kB.
RESULT_BYTES_AN_IMAGE = MB
RESULT_BYTES = 4 * MB
#: Errors in a row before a work unit is given up: three attempts, as in every grid of ours.
ATTEMPTS = 3


class Replication(StrEnum):
    """How many computers score a work unit."""

    ONE = "1"
    TWO = "2"
    ADAPTIVE = "adaptive"


@dataclass(frozen=True)
class Workload:
    """What a work unit is. ``seconds_per_image`` on one core of the slowest computer that shall take part."""

    images: int = MAX_IMAGES
    seconds_per_image: float = 5.0
    jobs_per_core: int = 2
    busy_share: float = 0.25
    replication: Replication = Replication.ONE

    @property
    def seconds(self) -> float:
        """The run time of a whole work unit on the slowest computer."""
        return self.images * self.seconds_per_image

    @property
    def delay_bound(self) -> int:
        """Seconds until a work unit is sent to another computer: twice as long as the slowest one needs for all it holds, a day at least.

        A computer holds ``jobs_per_core`` and computes in ``busy_share`` of the day. Whole hours.
        """
        needed = 2 * self.jobs_per_core * self.seconds / self.busy_share
        return math.ceil(max(needed, 24 * HOUR) / HOUR) * HOUR

    @property
    def daily_quota(self) -> int:
        """Work units that a core may fetch in a day: twice what a core ten times as fast as the slowest can do, BOINC's 500 at least."""
        return max(500, math.ceil(2 * 86_400 / (self.seconds / 10)))

    @property
    def result_bytes(self) -> int:
        """The largest result that is taken; no more than our archive format allows."""
        return min(MAX_RESULT_BYTES, RESULT_BYTES + self.images * RESULT_BYTES_AN_IMAGE)

    def numbers(self) -> dict[str, str]:
        """The values of both templates."""
        estimate = self.seconds * CORE_FLOPS
        copies = 2 if self.replication is Replication.TWO else 1
        return {
            "fpops_est": f"{estimate:.3g}",
            "fpops_bound": f"{estimate * HOPELESS:.3g}",
            "memory_bound": str(MEMORY_MB * MB),
            # the work unit, the result, the checkpoint with its overlays, and room for what the program unpacks
            "disk_bound": str(MAX_WORK_UNIT_BYTES + 2 * self.result_bytes + 512 * MB),
            "delay_bound": str(self.delay_bound),
            "min_quorum": str(copies),
            "target_nresults": str(copies),
            # BOINC gives up when there are more errors than this
            "max_error_results": str(ATTEMPTS * copies - 1),
            # a computer that is switched off for weeks is no error
            "max_total_results": "12",
            "max_success_results": "6",
            "result_bytes": str(self.result_bytes),
        }
