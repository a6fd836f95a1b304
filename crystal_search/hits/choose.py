"""Which hits are wanted, and what XtalTrak knows of their plates."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase

from crystal_search.hits.find import Hit
from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.people import PlateDetails, plate_details

_PLATES = 256


@dataclass(frozen=True, slots=True)
class Wanted:
    """What restricts the hits; ``plate``, ``project`` and ``family`` are globs. ``min_probability`` spares what people called a crystal."""

    since: date | None = None
    until: date | None = None
    plate: str | None = None
    project: str | None = None
    family: str | None = None
    min_probability: float = 0.0

    def is_wanted(self, hit: Hit) -> bool:
        """As far as can be told without the plate's details."""
        taken_at = hit.inspection.taken_at
        if (self.since or self.until) and taken_at is None:
            return False
        if taken_at is not None and (
            (self.since is not None and taken_at.date() < self.since) or (self.until is not None and taken_at.date() > self.until)
        ):
            return False
        if self.plate is not None and not fnmatchcase(hit.drop.barcode, self.plate):
            return False
        if hit.is_manual_crystal or hit.automatic is None:
            return True
        return (hit.automatic.crystal_probability or 0.0) >= self.min_probability

    def is_plate_wanted(self, details: PlateDetails) -> bool:
        """Whether the plate's project and families are wanted."""
        if self.project is not None and not fnmatchcase(details.project or "", self.project):
            return False
        return self.family is None or any(fnmatchcase(name, self.family) for name in details.families)


def chosen(xtaltrak: XtalTrak, hits: Iterable[Hit], wanted: Wanted, mapped: Collection[str]) -> Iterator[tuple[Hit, PlateDetails]]:
    """The wanted hits, each with its plate's details; those of the last plates are kept."""
    known: OrderedDict[str, PlateDetails] = OrderedDict()
    for hit in hits:
        if not wanted.is_wanted(hit):
            continue
        barcode = hit.drop.barcode
        details = known.get(barcode)
        if details is None:
            details = known[barcode] = plate_details(xtaltrak, barcode, mapped)
            if len(known) > _PLATES:
                known.popitem(last=False)
        if wanted.is_plate_wanted(details):
            yield hit, details
