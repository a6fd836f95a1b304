"""The ledger's scores as CSV, as JSON, or in the names of ISPyB; a line at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from crystal_search.classes import BY_NAME, Group
from crystal_search.ledger.all_scores import ScoreOfImage
from crystal_search.xtaltrak.images import database_time

COLUMNS = (
    "barcode",
    "well",
    "drop",
    "inspection",
    "inspected_at",
    "image",
    "status",
    "class",
    "score",
    "group",
    "probability",
    "crystal_probability",
    "drop_box",
    "model",
    "batch",
    "scored_at_utc",
)

#: What ISPyB's procedure ``insert_sample_image_auto_score`` takes, in its order.
ISPYB_COLUMNS = ("imageFullPath", "schemaName", "scoreClass", "probability")
#: The classes of ISPyB's automatic schemas MARCO and CHIMP, by our groups.
ISPYB_CLASSES = {Group.CLEAR: "clear", Group.CRYSTAL: "crystal", Group.PRECIPITATE: "precipitant", Group.OTHER: "other"}

#: Writes scores to an open file; returns how many images that were.
Writer = Callable[[TextIO, Iterable[ScoreOfImage]], int]


def values(found: ScoreOfImage) -> dict[str, Any]:
    """A score by ``COLUMNS``; what there is not is None."""
    image = found.image
    taken_at = image.inspection.taken_at
    return {
        "barcode": image.drop.barcode,
        "well": image.drop.well.label,
        "drop": image.drop.label[-1],
        "inspection": image.inspection.number,
        "inspected_at": None if taken_at is None else database_time(taken_at),
        "image": image.image_name,
        "status": found.status,
        "class": found.class_name,
        "score": found.score,
        "group": None if found.class_name is None else BY_NAME[found.class_name].group.value,
        "probability": found.probability,
        "crystal_probability": found.crystal_probability,
        "drop_box": found.drop_box,
        "model": found.model,
        "batch": found.batch,
        "scored_at_utc": database_time(found.scored_at),
    }


def write_csv(file: TextIO, scores: Iterable[ScoreOfImage]) -> int:
    """One row an image and pass, columns ``COLUMNS``."""
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    count = 0
    for found in scores:
        writer.writerow(values(found))
        count += 1
    return count


def write_json(file: TextIO, scores: Iterable[ScoreOfImage]) -> int:
    """One array, each object on a line of its own, so that it can be read whole or line by line."""
    count = 0
    file.write("[")
    for found in scores:
        box = found.drop_box
        content = values(found) | {"drop_box": None if box is None else [int(side) for side in box.split(",")]}
        file.write(("," if count else "") + "\n" + json.dumps(content))
        count += 1
    file.write("\n]\n")
    return count


def ispyb_writer(image_root: Path, schema: str) -> Writer:
    """Writes CSV with ``ISPYB_COLUMNS``: a row for each of the four classes; an image without a drop has none."""

    def write(file: TextIO, scores: Iterable[ScoreOfImage]) -> int:
        writer = csv.writer(file)
        writer.writerow(ISPYB_COLUMNS)
        count = 0
        for found in scores:
            path = _full_path(image_root, found)
            writer.writerows((path, schema, name, "" if p is None else repr(p)) for name, p in ispyb_classes(found))
            count += 1
        return count

    return write


def ispyb_classes(found: ScoreOfImage) -> Iterator[tuple[str, float | None]]:
    """ISPyB's classes of an image, each with the largest probability that is known of it.

    For crystal that is the crystal probability. For the others it is that of the score and of the best regions that came back;
    None where no region of that class was among them. They are of different regions and do not add up to one.
    """
    if found.crystal_probability is None:
        return
    known: dict[Group, float] = {}
    own = [] if found.class_name is None or found.probability is None else [(found.class_name, found.probability)]
    for name, probability in (*own, *found.chops):
        group = BY_NAME[name].group
        known[group] = max(probability, known.get(group, 0.0))
    known[Group.CRYSTAL] = found.crystal_probability
    for group, name in ISPYB_CLASSES.items():
        yield name, known.get(group)


def _full_path(image_root: Path, found: ScoreOfImage) -> Path:
    """Where the image lies; where a link leads that stands for an image elsewhere."""
    path = image_root / found.image.drop.barcode / str(found.image.inspection.number) / found.image.image_name
    try:
        return path.readlink()
    except OSError:
        return path
