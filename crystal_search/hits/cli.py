"""``crystal-search hits``."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TextIO

import click

from crystal_search.errors import UsageError
from crystal_search.exports.cli import text_output
from crystal_search.hits.choose import Wanted, chosen
from crystal_search.hits.find import Hit, find_hits
from crystal_search.ledger import open_existing_ledger
from crystal_search.ledger.crystals import AutomaticScore, crystals_by_key, score_of
from crystal_search.settings import Settings, load_settings
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.images import database_time
from crystal_search.xtaltrak.people import PlateDetails, people_scores

_log = logging.getLogger("hits")

COLUMNS = (
    "barcode",
    "well",
    "drop",
    "inspection",
    "inspected_at",
    "image",
    "manual_class",
    "manual_score",
    "manual_by",
    "manual_at",
    "automatic_class",
    "automatic_score",
    "automatic_probability",
    "crystal_probability",
    "model",
    "project",
    "samples",
    "families",
    "condition",
)

Found = tuple[Hit, PlateDetails]

#: What hits can be counted by: the values that one has.
_BY: dict[str, Callable[[Found], Iterable[str]]] = {
    "condition": lambda found: [found[1].conditions.get(found[0].drop.well, "")],
    "project": lambda found: [found[1].project or ""],
    "sample": lambda found: found[1].samples or [""],
    "family": lambda found: found[1].families or [""],
}
#: What has to be mapped for that.
_NEEDS = {"condition": "conditions", "project": "project", "sample": "samples", "family": "families"}

_day = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
@click.option("--since", type=_day, help="First day of inspection.")
@click.option("--until", type=_day, help="Last day of inspection.")
@click.option("--plate", help="Only barcodes that match: * and ? stand for any characters and any one.")
@click.option("--project", help="Only projects that match.")
@click.option("--family", help="Only plates with a protein of a family that matches.")
@click.option("--min-probability", type=click.FloatRange(0, 1), default=0.0, help="Least crystal probability where no person said crystal.")
@click.option("--count-by", type=click.Choice(list(_BY)), help="Not the hits, but how many images and drops each value has.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A file [default: standard output].")
def hits(
    settings_file: Path | None,
    since: datetime | None,
    until: datetime | None,
    plate: str | None,
    project: str | None,
    family: str | None,
    min_probability: float,
    count_by: str | None,
    out: Path | None,
) -> None:
    """List crystals that people or the network found, with both evaluations and the conditions, as CSV: docs/how-to/hits.md."""
    settings = load_settings(settings_file)
    wanted = Wanted(since and since.date(), until and until.date(), plate, project, family, min_probability)
    mapped = _mapped(settings)
    for option, value in (("project", project), ("family", family), (count_by or "", count_by)):
        if value is not None and _NEEDS[option] not in mapped:
            raise UsageError(f"{_NEEDS[option]} are not mapped: xtaltrak.details says what XtalTrak knows of plates (docs/how-to/hits.md)")
    with (
        open_existing_ledger(settings.ledger_url) as ledger,
        open_xtaltrak(settings.xtaltrak) as xtaltrak,
        text_output(out) as file,
    ):

        def look_up(inspection_id: int, image_name: str | None) -> AutomaticScore | None:
            with ledger.read() as connection:
                return score_of(connection, inspection_id, image_name)

        found = chosen(xtaltrak, find_hits(people_scores(xtaltrak), crystals_by_key(ledger), look_up), wanted, mapped)
        count = _write_counts(file, found, count_by) if count_by else _write_hits(file, found)
    _log.info("%d images with crystals", count)


def _mapped(settings: Settings) -> list[str]:
    if settings.xtaltrak.details is not None:
        return list(settings.xtaltrak.details)
    return ["project", "samples"] if settings.xtaltrak.dialect == "oracle" else ["project", "samples", "families", "conditions"]


def _write_hits(file: TextIO, found: Iterable[Found]) -> int:
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    count = 0
    for hit, details in found:
        writer.writerow(_row(hit, details))
        count += 1
    return count


def _row(hit: Hit, details: PlateDetails) -> tuple[object, ...]:
    manual, automatic, taken_at = hit.manual, hit.automatic, hit.inspection.taken_at
    said = ("", "", "", "")
    if manual is not None:
        name = manual.drop_class.name if manual.drop_class else "unknown"
        said = (name, manual.score or "", manual.scorer or "", manual.scored_at or "")
    computed: tuple[object, ...] = ("", "", None, None, "")
    if automatic is not None:
        computed = (
            automatic.class_name or automatic.status,
            automatic.score or "",
            automatic.probability,
            automatic.crystal_probability,
            automatic.model,
        )
    return (
        hit.drop.barcode,
        hit.drop.well.label,
        hit.drop.label[-1],
        hit.inspection.number,
        "" if taken_at is None else database_time(taken_at),
        hit.image_name or "",
        *said,
        *computed,
        details.project or "",
        "; ".join(details.samples),
        "; ".join(details.families),
        details.conditions.get(hit.drop.well, ""),
    )


def _write_counts(file: TextIO, found: Iterable[Found], by: str) -> int:
    """Most drops first. Remembers each drop with a crystal, some 100 bytes."""
    images: Counter[str] = Counter()
    drops: Counter[str] = Counter()
    seen: set[tuple[str, int]] = set()
    count = 0
    for hit, details in found:
        count += 1
        for value in _BY[by]((hit, details)):
            images[value] += 1
            if (key := (value, hash(hit.drop))) not in seen:
                seen.add(key)
                drops[value] += 1
    writer = csv.writer(file)
    writer.writerow((by, "drops", "images"))
    writer.writerows((value, drops[value], images[value]) for value in sorted(drops, key=lambda value: (-drops[value], value)))
    return count
