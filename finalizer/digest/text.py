"""What a digest says: a CSV with every crystal, and a text with the plates and the likeliest ones."""

from __future__ import annotations

import csv
import heapq
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from crystal_search.classes import BY_NAME
from crystal_search.settings import Digest
from crystal_search.xtaltrak.images import database_time
from finalizer.digest.found import FoundCrystal

COLUMNS = (
    "barcode",
    "well",
    "drop",
    "inspection",
    "inspected_at",
    "class",
    "probability",
    "crystal_probability",
    "image",
    "overlay",
    "link",
)
_PLATES = 50


@dataclass(frozen=True, slots=True)
class Summary:
    """How many crystals, on which plates (by number of crystals), and the likeliest of them."""

    count: int
    plates: tuple[tuple[str, int], ...]
    likeliest: tuple[FoundCrystal, ...]


def write_csv(file: BinaryIO, found: Iterable[FoundCrystal], results: Path, settings: Digest) -> Summary:
    """Write every crystal as it comes, and return what they are in short. Memory does not grow with them."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    count = 0
    plates: Counter[str] = Counter()
    likeliest: list[tuple[float, int, FoundCrystal]] = []
    for crystal in found:
        writer.writerow(_row(crystal, results, settings))
        plates[crystal.drop.barcode] += 1
        heapq.heappush(likeliest, (crystal.crystal_probability, -count, crystal))
        if len(likeliest) > settings.lines:
            heapq.heappop(likeliest)
        count += 1
    text.detach()
    by_count = sorted(plates.items(), key=lambda item: (-item[1], item[0]))
    return Summary(count, tuple(by_count), tuple(crystal for _, _, crystal in sorted(likeliest, reverse=True)))


def _row(crystal: FoundCrystal, results: Path, settings: Digest) -> tuple[object, ...]:
    return (
        crystal.drop.barcode,
        crystal.drop.well.label,
        crystal.drop.label[-1],
        crystal.inspection,
        "" if crystal.inspected_at is None else database_time(crystal.inspected_at),
        crystal.class_name,
        repr(crystal.probability),
        repr(crystal.crystal_probability),
        crystal.image_name,
        overlay(crystal, results),
        link(crystal, settings),
    )


def overlay(crystal: FoundCrystal, results: Path) -> str:
    """Where the picture with the best regions lies: the result's ZIP, a colon, the file in it."""
    return f"{results / crystal.batch / crystal.work_unit}.zip:{crystal.overlay}"


def link(crystal: FoundCrystal, settings: Digest) -> str:
    """The address of the drop in the lab's viewer, if the settings say how it is made."""
    return settings.link.format(
        barcode=crystal.drop.barcode,
        well=crystal.drop.well.label,
        subwell=crystal.drop.subwell,
        inspection=crystal.inspection,
        image=crystal.image_name,
    )


def subject(summary: Summary) -> str:
    """The mail's subject."""
    crystals = "1 new crystal" if summary.count == 1 else f"{summary.count} new crystals"
    plates = "1 plate" if len(summary.plates) == 1 else f"{len(summary.plates)} plates"
    return f"Crystal Search: {crystals} on {plates}"


def text_of(summary: Summary, results: Path, settings: Digest, csv_file: Path | None) -> str:
    """The mail's text, lines that end with a newline each."""
    lines = [subject(summary), "", "Plates:"]
    lines += [f"  {barcode}: {count}" for barcode, count in summary.plates[:_PLATES]]
    if len(summary.plates) > _PLATES:
        lines.append(f"  and {len(summary.plates) - _PLATES} more")
    lines += ["", "The likeliest crystals first (crystal probability, class):"]
    for crystal in summary.likeliest:
        title = BY_NAME[crystal.class_name].title
        where = f"{crystal.drop.barcode} {crystal.drop.label}, inspection {crystal.inspection}"
        lines.append(f"  {crystal.crystal_probability:.2f}  {where}: {title} ({crystal.probability:.2f})")
        lines.append(f"        {link(crystal, settings) or overlay(crystal, results)}")
    if summary.count > len(summary.likeliest):
        lines.append(f"  and {summary.count - len(summary.likeliest)} more")
    if csv_file is not None:
        lines += ["", f"All of them: {csv_file}"]
    lines += ["", "These are automatic scores (ARTscores); what people have said stands beside them in XtalTrak."]
    return "\n".join(lines) + "\n"
