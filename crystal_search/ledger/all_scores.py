"""Every result in the ledger, page by page: constant memory, and no transaction that lasts as long as the reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from crystal_search.ledger import Ledger
from crystal_search.ledger.schema import artscores, batches, images, scorings, work_units
from crystal_search.plate import Drop, Inspection, InspectionImage, Well

PAGE = 10_000


@dataclass(frozen=True, slots=True)
class ScoreOfImage:
    """What one pass found in an image.

    ``class_name``, ``score`` and ``probability`` are None unless ``status`` is scored. ``chops`` are class and probability of the
    best regions. ``scored_at`` is UTC.
    """

    image: InspectionImage
    status: str
    class_name: str | None
    score: str | None
    probability: float | None
    crystal_probability: float | None
    drop_box: str | None
    chops: tuple[tuple[str, float], ...]
    model: str
    batch: str
    work_unit: str
    scored_at: datetime


def all_scores(ledger: Ledger, barcode: str | None = None) -> Iterator[ScoreOfImage]:
    """Every score of every pass, oldest image first; ``barcode``: of that plate only."""
    after = 0
    while True:
        query = (
            select(
                images,
                artscores,
                scorings.c.model_name,
                batches.c.name.label("batch"),
                work_units.c.name.label("work_unit"),
            )
            .join_from(images, artscores)
            .join(scorings, scorings.c.id == images.c.scoring_id)
            .join(batches, batches.c.id == images.c.batch_id)
            .join(work_units, work_units.c.id == images.c.work_unit_id)
            .where(images.c.id > after)
            .order_by(images.c.id)
            .limit(PAGE)
        )
        with ledger.read() as connection:
            rows = connection.execute(query if barcode is None else query.where(images.c.barcode == barcode)).all()
        for row in rows:
            drop = Drop(row.barcode, Well(row.plate_column, row.plate_row), row.subwell)
            inspection = Inspection(row.barcode, row.inspection_number, row.inspected_at)
            yield ScoreOfImage(
                image=InspectionImage(row.inspection_id, row.image_name, drop, inspection),
                status=row.status,
                class_name=row.class_name,
                score=row.score,
                probability=row.probability,
                crystal_probability=row.crystal_probability,
                drop_box=row.drop_box,
                chops=tuple((chop["class_name"], chop["probability"]) for chop in json.loads(row.chops or "[]")),
                model=row.model_name,
                batch=row.batch,
                work_unit=row.work_unit,
                scored_at=row.scored_at,
            )
        if len(rows) < PAGE:
            return
        after = rows[-1].id
