"""Where a person and the ARTscore put an image into different groups: what to look at again, and what to train on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from crystal_search.archives import Status
from crystal_search.classes import BY_NAME, Group
from crystal_search.errors import UsageError
from crystal_search.ledger import open_existing_ledger
from crystal_search.ledger.schema import artscores, images
from training.datasets.scored_image import Found
from training.evaluation.judgement import EMPTY_WELL
from training.evaluation.labels import Labels
from training.evaluation.matching import match
from training.evaluation.scores import Score

COLUMNS = ("image", "label", "plate", "well", "artscore", "probability", "crystal_probability", "kind")


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One image: a person's ``label``, what the program said instead, and what kind of mistake it would be."""

    image: str
    label: str
    plate: str
    well: str
    artscore: str
    probability: float | None
    crystal_probability: float
    kind: str


def from_scores(labels: Labels, scores: dict[str, Score]) -> list[Disagreement]:
    """The disagreements of a labels file with a table of scores. Raises ``UsageError`` where they have no image in common."""
    pairs = match(labels.images, scores).pairs
    if not pairs:
        raise UsageError(f"the scores name none of the images in {labels.path}")
    found = []
    for name, scored_as in pairs.items():
        image, score = labels.images[name], scores[scored_as]
        said = image.consensus.judgement
        if not _agree(said.group, said.empty, score):
            found.append(_disagreement(image.image, said.word, said.group, image.plate, image.well, score))
    return ordered(found)


def from_ledger(people: Found, ledger_url: str) -> list[Disagreement]:
    """The disagreements of the people of XtalTrak with the ledger's newest ARTscores."""
    by_name = {Path(image.image.path).name: image for image in people.images}
    found: dict[str, Disagreement] = {}
    with open_existing_ledger(ledger_url) as ledger, ledger.read() as connection:
        columns = (
            images.c.image_name,
            artscores.c.status,
            artscores.c.class_name,
            artscores.c.probability,
            artscores.c.crystal_probability,
        )
        query = select(*columns).select_from(artscores.join(images)).order_by(artscores.c.scored_at, images.c.id)
        for name, status, class_name, probability, crystal in connection.execution_options(stream_results=True).execute(query):
            image = by_name.get(name)
            if image is None:
                continue
            score = Score(Status(status), class_name, probability, crystal or 0.0)
            group = BY_NAME[image.class_name].group
            found.pop(name, None)  # a newer ARTscore of the same image counts
            if not _agree(group, False, score):
                path = str(image.image.path)
                found[name] = _disagreement(path, image.class_name, group, image.plate, image.well, score)
    return ordered(found.values())


def _agree(group: Group, empty: bool, score: Score) -> bool:
    if empty:
        return score.status is Status.NO_DROP
    return score.class_name is not None and BY_NAME[score.class_name].group is group


def _disagreement(image: str, label: str, group: Group, plate: str, well: str, score: Score) -> Disagreement:
    said = score.class_name or str(score.status)
    called = score.class_name is not None and BY_NAME[score.class_name].group is Group.CRYSTAL
    kind = "missed crystal" if group is Group.CRYSTAL else "false crystal" if called else "other group"
    return Disagreement(image, label, plate, well, said, score.probability, score.crystal_probability, kind)


def ordered(found: Iterable[Disagreement]) -> list[Disagreement]:
    """False crystals first, the surest before the others; then missed ones, the likeliest last; then what is left."""
    rank = {"false crystal": 0, "missed crystal": 1, "other group": 2}

    def key(one: Disagreement) -> tuple[int, float, str]:
        crystal = one.crystal_probability
        return rank[one.kind], crystal if one.kind == "missed crystal" else -crystal, one.image

    return sorted(found, key=key)


def as_csv(found: Iterable[Disagreement]) -> bytes:
    """A labels file for `dataset build --labels`, which passes over the columns that it does not know; a person may correct ``label``."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in found:
        probability = "" if one.probability is None else f"{one.probability:.4f}"
        writer.writerow([one.image, one.label, one.plate, one.well, one.artscore, probability, f"{one.crystal_probability:.4f}", one.kind])
    return text.getvalue().encode("utf-8")


def of_no_use(found: Iterable[Disagreement]) -> int:
    """How many cannot be trained on: empty wells, which have no drop to cut chops from."""
    return sum(one.label == EMPTY_WELL for one in found)
