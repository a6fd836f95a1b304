"""A folder of images for each class, as MARCO and most programs hand labelled images on: ``TOP/Crystals/a.jpg``."""

from __future__ import annotations

import hashlib
from pathlib import Path

from client_app.score import SUFFIXES
from crystal_search.errors import UsageError
from training.datasets.scored_image import CLASS_OF_GROUP, Found, ImageFile, ScoredImage, plate_and_well
from training.evaluation.judgement import EMPTY_WELL, judgement_of, words_of


def read_class_folders(top: Path) -> Found:
    """The images in the folders of ``top``, at any depth, each under the class, score, group or MARCO name that its folder is called.

    A folder of another name, and one of empty wells, is left out with one line. The plate is that of a CrystalTrak name; any other image
    counts as a plate of its own, since nothing tells which belong together. Raises ``UsageError`` where no folder names a class.
    """
    folders = sorted(path for path in top.iterdir() if path.is_dir() and not path.name.startswith("."))
    words = words_of(folder.name for folder in folders)
    images: list[ScoredImage] = []
    problems: list[str] = []
    for folder in folders:
        try:
            said = judgement_of(folder.name, words)
        except ValueError as error:
            problems.append(f"{folder}: {error}")
            continue
        if said.empty:
            problems.append(f"{folder}: {EMPTY_WELL}, which has no drop to cut chops from")
            continue
        for file in sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")):
            name = file.relative_to(top).as_posix()
            plate, well = plate_and_well(file.name)
            images.append(
                ScoredImage(
                    name=name,
                    image=ImageFile(file),
                    class_name=said.class_name or CLASS_OF_GROUP[said.group],
                    plate=plate or f"image {name}",
                    source=str(top),
                    well=well,
                    only_group=said.class_name is None,
                )
            )
    if not images:
        raise UsageError(f"{top}: no folder in it has a class's name and images; folders are called as Crystals, clear or 23")
    loose = sum(image.plate.startswith("image ") for image in images)
    note = f"{top}: {loose} images tell no plate: each counts as one, so one plate's images may be in two parts"
    listing = "\n".join(f"{image.name} {image.image.path.stat().st_size}" for image in images)
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return Found(str(top), tuple(images), tuple(problems), (note,) if loose else (), {f"{top} (names and sizes)": digest})
