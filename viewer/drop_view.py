"""What the drop page shows: one drop with its course in time, the best chops, and both evaluations with who, when and which model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from PIL import Image

from crystal_search.archives import ArchiveError, ImageResult, read_image_result
from crystal_search.classes import BY_NAME, CLASSES
from crystal_search.errors import CrystalSearchError, TryAgainLater
from crystal_search.score_codes import ScoreCodes
from viewer.errors import NotFound
from viewer.evaluations import ArtScore, Score, all_artscores_of, archive_of, counting, disagree, marks_of, scores_on_drop
from viewer.lab import Lab
from viewer.person import Person
from viewer.pictures import image_folder, picture
from viewer.plate_view import art_json, score_json, seen_by, shown_image
from viewer.plates import DropImages, Plate, course_of, days_between, is_uv, profile_of


def drop_view(lab: Lab, person: Person, inspection_id: int, blind: bool) -> dict[str, Any]:
    """The drop as the browser gets it. Raises ``NotFound``."""
    plate, course = course_of(lab, person, inspection_id)
    scores = scores_on_drop(lab, inspection_id)
    with lab.ledger.read() as connection:
        every = all_artscores_of(connection, lab.codes, (drop.inspection_id for drop in course))
        marks = marks_of(connection, (art.image_id for art in every))
        seen = seen_by(connection, person, [drop.inspection_id for drop in course])
    arts: dict[int, list[ArtScore]] = defaultdict(list)
    for art in every:
        arts[art.inspection_id].append(art)
    people: dict[int, list[Score]] = defaultdict(list)
    for score in scores:
        if not score.is_ours:
            people[score.inspection_id].append(score)
    first = plate.set_up or next((drop.taken_at for drop in course if drop.taken_at), None)
    now = next(drop for drop in course if drop.inspection_id == inspection_id)
    steps: list[dict[str, Any]] = []
    for drop in course:
        best = counting(arts[drop.inspection_id])
        hidden = blind and not any(score.scorer == person.name for score in people[drop.inspection_id])
        steps.append(
            {
                "id": drop.inspection_id,
                "number": drop.number,
                "takenAt": drop.taken_at,
                "days": days_between(first, drop.taken_at),
                "image": shown_image(drop, best),
                "hidden": hidden,
                "art": None if hidden or best is None else art_json(best),
                "people": [] if hidden else [score_json(score, person) for score in people[drop.inspection_id]],
                "seen": drop.inspection_id in seen,
            }
        )
    best = counting(arts[inspection_id])
    step = next(step for step in steps if step["id"] == inspection_id)
    newest = people[inspection_id][-1] if people[inspection_id] else None
    return {
        "id": inspection_id,
        "label": now.drop.label,
        "plate": {"barcode": plate.barcode, "name": plate.name, "project": plate.project},
        "inspection": now.number,
        "takenAt": now.taken_at,
        "days": step["days"],
        "image": step["image"],
        "images": [_image(lab, plate, now, name, arts[inspection_id], step["hidden"]) for name in now.images],
        "hidden": step["hidden"],
        "art": None if step["art"] is None else step["art"] | {"wrong": marks.get(step["art"]["imageId"], [])},
        "others": [] if step["hidden"] else [art_json(art) for art in arts[inspection_id] if art is not best],
        "people": step["people"],
        "disagree": not step["hidden"] and disagree(best, newest),
        "inXtalTrak": any(score.is_ours and score.inspection_id == inspection_id for score in scores),
        "latestScoreId": max((score.score_id for score in scores), default=0),
        "course": steps,
    }


def _image(lab: Lab, plate: Plate, drop: DropImages, name: str, arts: Sequence[ArtScore], hidden: bool) -> dict[str, Any]:
    """One image with its scale, its size, the drop's outline, its best chops and classes, and what is wrong with its file, in one line."""
    art = counting([art for art in arts if art.image_name == name])
    profile = profile_of(name)
    found: dict[str, Any] = {
        "name": name,
        "profile": profile,
        "uv": is_uv(lab, name),
        "umPerPx": lab.settings.xtaltrak.um_per_px.get(profile or ""),
        "width": None,
        "height": None,
        "problem": None,
        "version": "",
        "overlay": not hidden and art is not None and art.work_unit is not None,
        "chops": [],
        "dropBox": None,
        "outline": [],
        "classes": [],
        "everyClass": False,
    }
    try:
        file = picture(image_folder(lab.settings.paths.images, plate.barcode, drop.number), name)
        found["version"] = file.key
        with Image.open(file.path) as opened:
            found["width"], found["height"] = opened.size
        if art is not None and art.scored_at is not None and file.stamp[0] / 1e9 > art.scored_at.replace(tzinfo=UTC).timestamp():
            changed = datetime.fromtimestamp(file.stamp[0] / 1e9).isoformat(sep=" ", timespec="minutes")
            found["problem"] = f"The file was changed ({changed}) after it was scored: the ARTscore may be of another picture."
    except NotFound as error:
        found["problem"] = str(error)
    except (OSError, SyntaxError, ValueError, CrystalSearchError):
        found["problem"] = f"{name}: the file is no readable image; copy it again from the imager"
    if art is not None and not hidden:
        result = _result(lab, art)
        found["dropBox"] = art.drop_box
        found["outline"] = result.outline if result else []
        found["chops"] = [
            {
                "box": chop["box"],
                "class": chop["class_name"],
                "title": BY_NAME[chop["class_name"]].title,
                "group": BY_NAME[chop["class_name"]].group.value,
                "probability": chop["probability"],
            }
            for chop in art.chops
            if chop.get("class_name") in BY_NAME
        ]
        every = result.class_probabilities if result else {}
        found["classes"] = class_bars(every or _in_best_regions(art), lab.codes)
        found["everyClass"] = bool(every)
    return found


def _result(lab: Lab, art: ArtScore) -> ImageResult | None:
    """What the client said; None where the archive has been deleted since (retention), was not kept, or can not be read just now."""
    archive = archive_of(lab, art)
    if archive is None or art.public_id is None:
        return None
    try:
        return read_image_result(archive, art.public_id)
    except (ArchiveError, TryAgainLater):
        return None


def _in_best_regions(art: ArtScore) -> dict[str, float]:
    """The largest probability of each class among the score and the best chops, which the ledger keeps for ever."""
    best: dict[str, float] = {}
    for chop in art.chops:
        if chop.get("class_name") in BY_NAME:
            best[chop["class_name"]] = max(best.get(chop["class_name"], 0.0), float(chop["probability"]))
    if art.class_name and art.probability is not None:
        best[art.class_name] = max(best.get(art.class_name, 0.0), art.probability)
    return best


def class_bars(probabilities: Mapping[str, float], codes: ScoreCodes) -> list[dict[str, Any]]:
    """The classes that have a probability, in the table's order, each with its code in the site's vocabulary."""
    return [
        {
            "class": row.name,
            "title": row.title,
            "group": row.group.value,
            "score": codes.of(row.name),
            "probability": probabilities[row.name],
        }
        for row in CLASSES
        if row.name in probabilities
    ]
