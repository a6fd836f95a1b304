"""ARTscores from the ledger and scores from XtalTrak, side by side: both evaluations of a drop stay (write-back rule 7)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select

from crystal_search.classes import BY_NAME, PRIORITY, DropClass, Group
from crystal_search.ledger.schema import ImageState, artscores, batches, images, scorings, work_units
from crystal_search.ledger.viewer_tables import viewer_marks
from crystal_search.score_codes import ScoreCodes
from viewer.lab import Lab

#: Both databases take so many values in one list.
_IDS = 900
_RESULT = (ImageState.SCORED, ImageState.UNSURE, ImageState.NO_DROP)


@dataclass(frozen=True, slots=True)
class ArtScore:
    """What the ledger has of one image. ``state`` is an ``ImageState``; only ``scored`` has a class, and a score in
    the site's code; boxes are px of the original image."""

    image_id: int
    scoring_id: int
    inspection_id: int
    image_name: str
    state: str
    reason: str | None
    class_name: str | None
    score: str | None
    probability: float | None
    crystal_probability: float | None
    drop_box: tuple[int, ...] | None
    chops_json: str | None
    model: str
    scored_at: datetime | None
    batch: str
    work_unit: str | None
    public_id: str | None

    @property
    def chops(self) -> tuple[Mapping[str, Any], ...]:
        """The best chops; read when asked for, since a plate's page needs none of them."""
        return tuple(json.loads(self.chops_json)) if self.chops_json else ()

    @property
    def rank(self) -> tuple[int, float]:
        """Larger counts more among the images of one drop: the class of highest priority, then the probability (P17)."""
        priority = PRIORITY.get(self.class_name or "", len(PRIORITY))
        return -priority, self.probability or self.crystal_probability or 0.0

    @property
    def group(self) -> str | None:
        return None if self.class_name is None else BY_NAME[self.class_name].group.value


@dataclass(frozen=True, slots=True)
class Score:
    """A row of XtalTrak's score table; ``meaning`` is None for a score that no class has, ``is_ours`` by our scorer's name."""

    score_id: int
    inspection_id: int
    image_name: str | None
    score: str | None
    scored_at: str | None
    scorer: str | None
    is_ours: bool
    meaning: DropClass | None

    @property
    def group(self) -> str | None:
        return None if self.meaning is None else self.meaning.group.value


def pieces(ids: Iterable[int]) -> Iterator[Sequence[int]]:
    """The ids in lists that a statement takes."""
    every = sorted(set(ids))
    for start in range(0, len(every), _IDS):
        yield every[start : start + _IDS]


def artscores_of(connection: Connection, codes: ScoreCodes, inspection_ids: Iterable[int]) -> dict[int, ArtScore]:
    """The ARTscore that counts of each inspection's drop; a drop that no image of was ever queued has none."""
    by_drop: dict[int, list[ArtScore]] = defaultdict(list)
    for score in all_artscores_of(connection, codes, inspection_ids):
        by_drop[score.inspection_id].append(score)
    return {key: max(scores, key=_counts_more) for key, scores in by_drop.items()}


def counting(scores: Sequence[ArtScore]) -> ArtScore | None:
    """The ARTscore that counts of a drop's: the newest scoring with a result, and of its images the one that ranks highest."""
    return max(scores, key=_counts_more, default=None)


def _counts_more(score: ArtScore) -> tuple[bool, int, tuple[int, float]]:
    return score.state in _RESULT, score.scoring_id, score.rank


def all_artscores_of(connection: Connection, codes: ScoreCodes, inspection_ids: Iterable[int]) -> list[ArtScore]:
    """Every scoring of every image of those inspections, newest scoring first.

    They are found by key: the ledger's images are unique by scoring, inspection and name.
    """
    every = list(connection.execute(select(scorings.c.id)).scalars())
    found: list[ArtScore] = []
    for ids in pieces(inspection_ids):
        rows = connection.execute(_select().where(images.c.scoring_id.in_(every), images.c.inspection_id.in_(ids)))
        found += [_artscore(row, codes) for row in rows]
    return sorted(found, key=lambda score: (-score.scoring_id, score.inspection_id, score.image_name))


def artscore_of_image(connection: Connection, codes: ScoreCodes, image_id: int) -> ArtScore | None:
    """The ARTscore of one image by the ledger's id."""
    row = connection.execute(_select().where(images.c.id == image_id)).one_or_none()
    return None if row is None else _artscore(row, codes)


def archive_of(lab: Lab, art: ArtScore) -> Path | None:
    """Where the result that an ARTscore came in lies, as long as it is kept; None for an image without one."""
    return None if art.work_unit is None else lab.settings.results / art.batch / f"{art.work_unit}.zip"


def marks_of(connection: Connection, image_ids: Iterable[int]) -> dict[int, list[str]]:
    """Who called which ARTscore wrong."""
    marked: dict[int, list[str]] = defaultdict(list)
    for ids in pieces(image_ids):
        rows = connection.execute(
            select(viewer_marks.c.image_id, viewer_marks.c.person)
            .where(viewer_marks.c.image_id.in_(ids), viewer_marks.c.withdrawn_at.is_(None))
            .order_by(viewer_marks.c.marked_at)
        )
        for image_id, person in rows:
            marked[image_id].append(person)
    return marked


def scores_on_plate(lab: Lab, barcode: str) -> list[Score]:
    """Every score on a plate, on all its inspections, the newest last."""
    rows = lab.query("viewer_plate_scores", {"barcode": barcode})
    return sorted((_score(lab, row[:6]) for row in rows), key=_newest)


def scores_on_drop(lab: Lab, inspection_id: int) -> list[Score]:
    """Every score on a drop, on all its inspections, the newest last."""
    rows = lab.query("score_drops", {"first": inspection_id, "last": inspection_id})
    return sorted((_score(lab, row[1:]) for row in rows), key=_newest)


def disagree(art: ArtScore | None, person: Score | None) -> bool:
    """Whether a person and the ARTscore put a drop into different groups; no disagreement where one of them has none."""
    return art is not None and person is not None and None not in (art.group, person.group) and art.group != person.group


def is_crystal(group: str | None) -> bool:
    return group == Group.CRYSTAL.value


def _newest(score: Score) -> tuple[str, int]:
    return score.scored_at or "", score.score_id


def _score(lab: Lab, row: tuple[Any, ...]) -> Score:
    score_id, inspection_id, *texts = row
    image_name, score, scored_at, scorer = (None if text is None else str(text) for text in texts)
    section = lab.settings.xtaltrak
    try:
        meaning = lab.codes.class_of(score)
    except ValueError:
        meaning = None
    return Score(int(score_id), int(inspection_id), image_name, score, scored_at, scorer, scorer == section.scorer, meaning)


def _select() -> Any:
    return (
        select(
            images,
            artscores.c.class_name,
            artscores.c.probability,
            artscores.c.crystal_probability,
            artscores.c.drop_box,
            artscores.c.chops,
            artscores.c.scored_at,
            scorings.c.model_name,
            batches.c.name.label("batch"),
            work_units.c.name.label("work_unit"),
        )
        .join_from(images, scorings, scorings.c.id == images.c.scoring_id)
        .join(batches, batches.c.id == images.c.batch_id)
        .outerjoin(work_units, work_units.c.id == images.c.work_unit_id)
        .outerjoin(artscores, artscores.c.image_id == images.c.id)
    )


def _artscore(row: Row[Any], codes: ScoreCodes) -> ArtScore:
    return ArtScore(
        image_id=row.id,
        scoring_id=row.scoring_id,
        inspection_id=row.inspection_id,
        image_name=row.image_name,
        state=row.state,
        reason=row.reason,
        class_name=row.class_name,
        score=None if row.class_name is None else codes.of(row.class_name),
        probability=row.probability,
        crystal_probability=row.crystal_probability,
        drop_box=None if row.drop_box is None else tuple(int(part) for part in row.drop_box.split(",")),
        chops_json=row.chops,
        model=row.model_name,
        scored_at=row.scored_at,
        batch=row.batch,
        work_unit=row.work_unit,
        public_id=row.public_id and row.public_id.hex(),
    )
