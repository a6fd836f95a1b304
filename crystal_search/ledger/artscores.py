"""Every ARTscore of a batch as it leaves the ledger for XtalTrak's own tables, and where its picture lies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection, Row, select

from crystal_search.archives import ChopResult
from crystal_search.ledger.batches import Batch
from crystal_search.ledger.schema import artscores, images, scorings, work_units
from crystal_search.score_codes import ScoreCodes
from crystal_search.xtaltrak.artscores import Artscore, Box, Region
from crystal_search.xtaltrak.images import database_time


@dataclass(frozen=True, slots=True)
class KeptScore:
    """An ARTscore; its picture is in the result of ``work_unit`` under ``public_id`` (32 hex digits), its image where the plate lies."""

    artscore: Artscore
    barcode: str
    inspection_number: int
    work_unit: str
    public_id: str


def kept_scores(connection: Connection, batch: Batch, codes: ScoreCodes) -> list[KeptScore]:
    """The ARTscores of a batch, also those that are ``unsure`` or ``no_drop``, in the ledger's order, with the site's codes."""
    rows = connection.execute(
        select(images, artscores, scorings.c.model_name, scorings.c.model_sha256, work_units.c.name.label("work_unit"))
        .join_from(images, artscores)
        .join(scorings, scorings.c.id == images.c.scoring_id)
        .join(work_units, work_units.c.id == images.c.work_unit_id)
        .where(images.c.batch_id == batch.id)
        .order_by(images.c.id)
    )
    return [_kept(row, codes) for row in rows]


def _kept(row: Row[tuple[object, ...]], codes: ScoreCodes) -> KeptScore:
    taken_at: datetime | None = row.inspected_at
    found = Artscore(
        inspection_id=row.inspection_id,
        image_name=row.image_name,
        taken_at=None if taken_at is None else database_time(taken_at),
        status=row.status,
        score=None if row.class_name is None else codes.of(row.class_name),
        class_name=row.class_name,
        probability=row.probability,
        crystal_probability=row.crystal_probability,
        model=row.model_name,
        model_sha256=row.model_sha256,
        drop_box=None if row.drop_box is None else _box(row.drop_box),
        regions=tuple(
            Region(chop.box, chop.class_name, chop.probability) for chop in msgspec.json.decode(row.chops or "[]", type=list[ChopResult])
        ),
    )
    return KeptScore(found, row.barcode, row.inspection_number, row.work_unit, row.public_id.hex())


def _box(text: str) -> Box:
    x0, y0, x1, y1 = (int(number) for number in text.split(","))
    return x0, y0, x1, y1
