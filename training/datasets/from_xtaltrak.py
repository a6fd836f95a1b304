"""People's scores in XtalTrak as a data set: our own scorer's rows never, a row without a scorer is a person's (P28)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from crystal_search.crystaltrak_names import MalformedNameError, parse_image_name
from crystal_search.plate import Drop, Well
from crystal_search.score_codes import ScoreCodes
from crystal_search.settings import Settings
from crystal_search.xtaltrak import XtalTrak
from training.datasets.scored_image import Found, ImageFile, ScoredImage
from training.evaluation.judgement import Judgement, consensus

#: Profiles (field 14 of the file name) that count as UV images. No public source names them: set yours with --uv-profile.
UV_PROFILES = ("UV",)
#: Inspections of a drop that are read from XtalTrak at a time.
PAGE = 2000


class _Row(NamedTuple):
    """A row of ``scored_images.sql``: an image of a scored inspection beside one person's score of that inspection."""

    inspection_id: int
    barcode: str
    number: int
    column: int
    row: int
    subwell: int
    image_name: str
    score_id: int
    score: str | None
    scored_at: Any
    scorer: str | None
    scored_image: str | None


def read_xtaltrak(xtaltrak: XtalTrak, settings: Settings, uv_profiles: Sequence[str] = UV_PROFILES, page: int = PAGE) -> Found:
    """Every visible image that people scored, with its UV mate of the same drop and inspection.

    A score that names no image is on all visible images of its inspection. Of one person the last score counts, of several people
    the majority (as in an evaluation). Proteins are the names of the samples on a plate and of its project. A row with a score
    that is no class, a malformed name and an image that is not on the disk are left out with one line each. Raises
    ``TryAgainLater`` when XtalTrak is away.
    """
    proteins = _proteins(xtaltrak)
    images: list[ScoredImage] = []
    problems: list[str] = []
    on_uv = 0
    after = -1
    while True:
        parameters = {"after_inspection": after, "page_inspections": page, "scorer": xtaltrak.scorer}
        rows = [_Row(*row) for row in xtaltrak.query("scored_images", parameters)]
        if not rows:
            break
        after = rows[-1].inspection_id
        for _, group in groupby(rows, key=lambda row: row.inspection_id):
            found, wrong, uv_scores = _inspection(list(group), settings, uv_profiles, proteins)
            images += found
            problems += wrong
            on_uv += uv_scores
    notes = [f"XtalTrak: {on_uv} scores of UV images are left out: they say nothing of the visible one"] if on_uv else []
    said = "\n".join(f"{image.name} {image.class_name}" for image in images)
    hashes = {"images and classes": hashlib.sha256(said.encode()).hexdigest()}
    return Found(f"XtalTrak {settings.xtaltrak.database}", tuple(images), tuple(problems), tuple(notes), hashes)


def _proteins(xtaltrak: XtalTrak) -> dict[str, tuple[str, ...]]:
    """Names of samples and project by barcode."""
    names: dict[str, set[str]] = {}
    for barcode, *found in xtaltrak.query("plate_proteins"):
        names.setdefault(str(barcode), set()).update(str(name) for name in found if name)
    return {barcode: tuple(sorted(of_plate)) for barcode, of_plate in names.items()}


def _inspection(
    rows: list[_Row], settings: Settings, uv_profiles: Sequence[str], proteins: dict[str, tuple[str, ...]]
) -> tuple[list[ScoredImage], list[str], int]:
    """Images, problems and the number of scores on UV images of one inspection of a drop."""
    problems: dict[str, None] = {}  # in order, each once
    profiles: dict[str, str] = {}
    for row in rows:
        try:
            profiles.setdefault(row.image_name, parse_image_name(row.image_name).profile)
        except MalformedNameError as error:
            problems[f"XtalTrak INSPECTID {row.inspection_id}: {error}"] = None
    uv_names = sorted(name for name, profile in profiles.items() if profile in uv_profiles)
    first = rows[0]
    where = f"XtalTrak INSPECTID {first.inspection_id}"
    try:
        drop = Drop(first.barcode, Well(first.column, first.row), first.subwell)
    except (ValueError, TypeError) as error:
        return [], [*problems, f"{where}: {error}"], 0
    folder = settings.paths.images / first.barcode / str(first.number)
    images = []
    for name, profile in profiles.items():
        if name in uv_names:
            continue
        of_image = [row for row in rows if row.image_name == name and row.scored_image in (None, name)]
        judgements, wrong = _judgements(of_image, settings.xtaltrak.score_codes)
        problems |= dict.fromkeys(f"{where}: {line}" for line in wrong)
        if not judgements:
            continue
        if not (folder / name).is_file():
            problems[f"{where}: no such file {folder / name}"] = None
            continue
        images.append(
            ScoredImage(
                name=f"{first.inspection_id}/{name}",
                image=ImageFile(folder / name),
                class_name=str(consensus(judgements).judgement.class_name),
                plate=first.barcode,
                source="XtalTrak",
                well=drop.label,
                inspection=first.number,
                uv=_mate(folder, uv_names),
                proteins=proteins.get(first.barcode, ()),
                um_per_px=settings.xtaltrak.um_per_px.get(profile),
            )
        )
    return images, list(problems), len({row.score_id for row in rows if row.scored_image in uv_names})


def _mate(folder: Path, uv_names: Sequence[str]) -> ImageFile | None:
    """The first UV image that is on the disk."""
    return next((ImageFile(folder / name) for name in uv_names if (folder / name).is_file()), None)


def _judgements(rows: list[_Row], codes: ScoreCodes) -> tuple[list[Judgement], list[str]]:
    """What each person said last, and one line for each score that is no class. Rows without a scorer are one person each."""
    last: dict[Any, tuple[tuple[str, int], Judgement]] = {}
    problems: list[str] = []
    for row in rows:
        try:
            meant = codes.class_of(row.score)
        except ValueError as error:
            problems.append(f"SCOREID {row.score_id}: {error}")
            continue
        person = row.scorer if row.scorer is not None else row.score_id
        at = (str(row.scored_at or ""), row.score_id)
        if person not in last or last[person][0] < at:
            last[person] = at, Judgement(meant.group, meant.name)
    return [judgement for _, judgement in last.values()], problems
