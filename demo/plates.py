"""The demo's two plates: 15 real images with an open licence, and synthetic wells over several inspections."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path

from PIL import Image

from crystal_search.atomic import write_atomically
from crystal_search.classes import BY_NAME
from crystal_search.plate import Well
from training.synthetic import draw_time_course

REAL_PLATE = "REAL0001"
SYNTHETIC_PLATE = "SYNTH001"
_FIRST_DAY = date(2026, 11, 2)
_DAYS_BETWEEN = 7
_SEED = 20_261_102
_IMAGER = "minstrel_ht_octagon"  # a plate is imaged by one imager

#: Profiles of the demo's images; Rock Imager's scale is known (`um_per_px` of the demo's settings), the others' is not.
_ROCK_IMAGER, _UNKNOWN, _SYNTHETIC = "RI", "00", "SY"

#: What becomes of the synthetic drops: one entry a well, the class at each inspection; None is a well without a drop.
_COURSES: tuple[tuple[str | None, ...], ...] = (
    ("clear", "crystals_harvestable", "crystals_harvestable"),
    ("clear", "clear", "clear"),
    ("precipitate_good", "crystals_bad_form", "crystals_bad_form"),
    ("clear", "precipitate", "precipitate"),
    ("phase_separation", "phase_separation", "crystals_harvestable"),
    (None, None, None),
    ("clear", "crystals_overnucleated", "crystals_overnucleated"),
    ("precipitate", "precipitate_bad", "precipitate_bad"),
    ("clear", "clear_with_other_features", "clear_with_other_features"),
    ("precipitate_good", "precipitate_good", "precipitate"),
    ("clear", "spherulites", "spherulites"),
    ("other", "other", "null_experiment"),
)
MOST_INSPECTIONS = 3


@dataclass(frozen=True, slots=True)
class SyntheticDrop:
    """One well of the synthetic plate: where it lies and what happens to it."""

    well: Well
    seed: int
    classes: tuple[str | None, ...]


#: What is known of the real images: by their data set (MARCO), by their file name, or by a look of a non-expert.
_KNOWN = {"97wo": "crystal", "small": "crystal", "A01": "crystal", "A02": "crystal"} | {
    f"gsk_{group}": group.removesuffix("s") for group in ("crystals", "clear", "precipitate", "other")
}


def image_name(imager: str, barcode: str, inspection: int, day: date, well: Well, profile: str) -> str:
    """A CrystalTrak file name for a demo image of subwell 1."""
    return (
        f"DEMO_01_{imager}_DEMO_Test1_Clon1_{barcode[:2]}_0000{barcode}_{inspection:03d}_{day:%y%m%d}"
        f"_{well.column:02d}_{well.row:02d}_01_{profile}_99_030_001_RDI.jpg"
    )


def real_wells(source: Path) -> dict[Well, Path]:
    """Where each of the openly licensed images lies on plate REAL0001."""
    return {Well(1 + index % 5, 1 + index // 5): image for index, image in enumerate(sorted(source.glob("*.jp*g")))}


def place_real_images(source: Path, image_root: Path) -> int:
    """Lay the openly licensed images out as plate REAL0001, inspection 1; how many there are."""
    images = real_wells(source)
    for well, image in images.items():
        profile = _ROCK_IMAGER if image.name.startswith("97wo_") else _UNKNOWN
        target = image_root / REAL_PLATE / "1" / image_name("001", REAL_PLATE, 1, _FIRST_DAY, well, profile)
        if not target.exists():
            write_atomically(target, image.read_bytes())
    return len(images)


def synthetic_drops(wells: int) -> list[SyntheticDrop]:
    """The wells of the synthetic plate with their courses: a quarter plate of 4 rows x 6 columns first, then what makes it 8 x 12."""
    quarter = [(column, row) for column in range(1, 7) for row in range(1, 5)]
    places = quarter + [place for place in ((column, row) for column in range(1, 13) for row in range(1, 9)) if place not in quarter]
    return [
        SyntheticDrop(Well(column, row), _SEED + index, _COURSES[index % len(_COURSES)])
        for index, (column, row) in enumerate(places[:wells])
    ]


def truth(source: Path, wells: int, inspections: int) -> dict[tuple[str, int, Well], str]:
    """The group that each drop is known to be in, or ``empty``, by plate, inspection and well; drops that nobody judged are left out."""
    known = {}
    for well, image in real_wells(source).items():
        for start, group in _KNOWN.items():
            if image.name.startswith(f"{start}_"):
                known[REAL_PLATE, 1, well] = group
    for drop in synthetic_drops(wells):
        for number, class_name in enumerate(drop.classes[:inspections], 1):
            known[SYNTHETIC_PLATE, number, drop.well] = BY_NAME[class_name].group.value if class_name else "empty"
    return known


def _ignore_interrupt() -> None:
    """Ctrl-C is the parent's matter; it ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _draw(task: tuple[SyntheticDrop, Path, int]) -> None:
    drop, image_root, inspections = task
    targets = [
        image_root
        / SYNTHETIC_PLATE
        / str(number)
        / image_name("002", SYNTHETIC_PLATE, number, inspection_day(number), drop.well, _SYNTHETIC)
        for number in range(1, inspections + 1)
    ]
    if all(target.exists() for target in targets):
        return
    for target, picture in zip(targets, draw_time_course(drop.seed, drop.classes, imager=_IMAGER), strict=False):
        buffer = BytesIO()
        Image.fromarray(picture.image).save(buffer, "JPEG", quality=90)
        write_atomically(target, buffer.getvalue())


def inspection_day(number: int) -> date:
    """The day of inspection ``number`` (from 1)."""
    return _FIRST_DAY + timedelta(days=_DAYS_BETWEEN * (number - 1))


def draw_synthetic_plate(image_root: Path, wells: int, inspections: int, progress: Callable[[int], object]) -> None:
    """Draw what is not there yet; ``progress(1)`` is called after each well. The same pixels every time."""
    tasks = [(drop, image_root, inspections) for drop in synthetic_drops(wells)]
    with multiprocessing.get_context("spawn").Pool(min(os.cpu_count() or 1, 8), _ignore_interrupt) as pool:
        for _ in pool.imap_unordered(_draw, tasks):
            progress(1)
