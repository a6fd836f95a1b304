"""Every result in the ledger, page by page: constant memory, and no transaction that lasts as long as the reader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from crystal_search.ledger import Ledger
from crystal_search.ledger.schema import artscores, batches, images, scorings
from crystal_search.plate import Drop, Inspection, InspectionImage, Well

PAGE = 10_000


@dataclass(frozen=True, slots=True)
class ScoreOfImage:
    """What one pass found in an image.

    ``class_name``, ``score`` and ``probability`` are None unless ``status`` is scored. ``scored_at`` is UTC.
    """

    image: InspectionImage
    status: str
    class_name: str | None
    score: str | None
    probability: float | None
    crystal_probability: float | None
    drop_box: str | None
    chops_json: str | None
    model: str
    batch: str
    scored_at: datetime

    @property
    def chops(self) -> list[tuple[str, float]]:
        """Class and probability of the best regions."""
        return [(chop["class_name"], chop["probability"]) for chop in json.loads(self.chops_json or "[]")]


#: In the order in which ``all_scores`` takes a row apart.
_COLUMNS = (
    images.c.id,
    images.c.inspection_id,
    images.c.image_name,
    images.c.barcode,
    images.c.plate_column,
    images.c.plate_row,
    images.c.subwell,
    images.c.inspection_number,
    images.c.inspected_at,
    artscores.c.status,
    artscores.c.class_name,
    artscores.c.score,
    artscores.c.probability,
    artscores.c.crystal_probability,
    artscores.c.drop_box,
    artscores.c.chops,
    scorings.c.model_name,
    batches.c.name,
    artscores.c.scored_at,
)


def all_scores(ledger: Ledger, barcode: str | None = None) -> Iterator[ScoreOfImage]:
    """Every score of every pass, oldest image first; ``barcode``: of that plate only."""
    query = (
        select(*_COLUMNS)
        .join_from(images, artscores)
        .join(scorings, scorings.c.id == images.c.scoring_id)
        .join(batches, batches.c.id == images.c.batch_id)
        .order_by(images.c.id)
        .limit(PAGE)
    )
    if barcode is not None:
        query = query.where(images.c.barcode == barcode)
    after = 0
    while True:
        with ledger.read() as connection:
            rows = connection.execute(query.where(images.c.id > after)).all()
        for after, inspection_id, name, plate, column, row, subwell, number, taken_at, *found in rows:  # noqa: B007 - the next page's
            drop = Drop(plate, Well(column, row), subwell)
            yield ScoreOfImage(InspectionImage(inspection_id, name, drop, Inspection(plate, number, taken_at)), *found)
        if len(rows) < PAGE:
            return
