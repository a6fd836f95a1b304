"""A grid whose volunteers answer at once: what it was given comes back as a result, whoever asks, until that is acknowledged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from generator_lab import TakingGrid
from scored_lab import results_of

from crystal_search.archives import open_work_unit, write_results
from crystal_search.grid import GaveUp, Refused, Returned


@dataclass
class AnsweringGrid(TakingGrid):
    """Every image is ``answer``: a class, or a status."""

    answer: str = "crystals_harvestable"
    acknowledged: list[str] = field(default_factory=list)

    def poll(self) -> list[Returned | Refused | GaveUp]:
        return [Returned(path.stem, self._answered(path)) for path in sorted(self.folder.glob("*.zip"))]

    def acknowledge(self, event: Returned | Refused | GaveUp) -> None:
        (self.folder / f"{event.work_unit}.zip").unlink(missing_ok=True)
        self.acknowledged.append(event.work_unit)

    def _answered(self, path: Path) -> Path:
        result = self.folder / f"{path.stem}.result"
        if not result.exists():
            with open_work_unit(path) as unit:
                write_results(result, results_of(path.stem, {image.id: self.answer for image in unit.manifest.images}), {})
        return result
