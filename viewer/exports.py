"""An inspection of a plate for other programs and for paper: CSV, JSON, labelled boxes, and one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping
from typing import Any

from crystal_search.classes import CLASSES
from viewer.evaluations import artscores_of
from viewer.lab import Lab
from viewer.person import Person
from viewer.pictures import BrokenImage, PictureCache, image_folder, picture
from viewer.plate_view import plate_view
from viewer.plates import Plate, drops_of

COLUMNS = (
    "barcode", "inspection", "drop", "column", "row", "subwell", "image", "artscore_status", "artscore_class", "artscore_score",
    "artscore_group", "artscore_probability", "crystal_probability", "model", "called_wrong_by", "person", "person_score", "person_class",
    "person_scored_at", "in_xtaltrak", "disagree",
)  # fmt: skip


def rows(view: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a drop, from what the plate page shows; the newest score of a person."""
    found = []
    for tile in view["drops"]:
        art: Mapping[str, Any] = tile["art"] or {}
        person: Mapping[str, Any] = tile["people"][-1] if tile["people"] else {}
        found.append(
            {
                "barcode": view["plate"]["barcode"],
                "inspection": view["inspection"],
                "drop": tile["label"],
                "column": tile["column"],
                "row": tile["row"],
                "subwell": tile["subwell"],
                "image": tile["image"],
                "artscore_status": art.get("state"),
                "artscore_class": art.get("class"),
                "artscore_score": art.get("score"),
                "artscore_group": art.get("group"),
                "artscore_probability": art.get("probability"),
                "crystal_probability": art.get("crystal"),
                "model": art.get("model"),
                "called_wrong_by": "; ".join(art.get("wrong", [])),
                "person": person.get("who"),
                "person_score": person.get("score"),
                "person_class": person.get("class"),
                "person_scored_at": person.get("at"),
                "in_xtaltrak": tile["inXtalTrak"],
                "disagree": tile["disagree"],
            }
        )
    return found


def as_csv(view: Mapping[str, Any]) -> str:
    """The rows as CSV. A cell that a spreadsheet would take for a formula gets an apostrophe before it."""
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    for row in rows(view):
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return written.getvalue()


def labelled_boxes(lab: Lab, person: Person, plate: Plate, number: int) -> dict[str, Any]:
    """The best chops as COCO's annotations: ground truth for a detector, once a person has looked at it (P32).

    Boxes are [x, y, width, height] in px of the original image; ``score`` is the class's probability, ``person_score`` what a person said
    of the drop. Categories are numbered by the paper's codes, rim 0, for COCO takes numbers only; ``xtaltrak_score`` is the site's.
    """
    view, _ = plate_view(lab, person, plate, number, False)
    said = {tile["id"]: tile["people"][-1]["score"] for tile in view["drops"] if tile["people"]}
    with lab.ledger.read() as connection:
        arts = artscores_of(connection, lab.codes, (drop.inspection_id for drop in drops_of(lab, plate.barcode, number)))
    codes = {row.name: 0 if row.name == "rim" else row.code for row in CLASSES}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for art in sorted(arts.values(), key=lambda art: art.inspection_id):
        if art.scored_at is None:
            continue
        images.append(
            {
                "id": art.image_id,
                "file_name": f"{plate.barcode}/{number}/{art.image_name}",
                "person_score": said.get(art.inspection_id),
                "artscore": art.score,
            }
        )
        for chop in art.chops:
            x0, y0, x1, y1 = chop["box"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": art.image_id,
                    "category_id": codes[chop["class_name"]],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": 0,
                    "score": chop["probability"],
                }
            )
    categories = [
        {"id": codes[row.name], "name": row.name, "supercategory": row.group.value, "xtaltrak_score": lab.codes.of(row.name)}
        for row in CLASSES
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def thumbnails_inline(lab: Lab, cache: PictureCache, view: Mapping[str, Any]) -> dict[int, str]:
    """A ``data:`` address for each drop's thumbnail, so that a report needs no other file; drops without an image are left out."""
    folder = image_folder(lab.settings.paths.images, view["plate"]["barcode"], view["inspection"])
    found = {}
    for tile in view["drops"]:
        if tile["missing"]:
            continue
        try:
            content = cache.thumbnail(picture(folder, tile["image"]))
        except (BrokenImage, OSError):
            continue
        found[tile["id"]] = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
    return found


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
