"""Crystals by the network, in the order of XtalTrak's keys: constant memory, and the newest pass counts."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Row, Select, select, tuple_

from crystal_search.classes import CRYSTAL_CLASSES
from crystal_search.ledger import Ledger
from crystal_search.ledger.progress import RETURNED
from crystal_search.ledger.schema import ImageState, artscores, images, scorings
from crystal_search.plate import Drop, Inspection, InspectionImage, Well

PAGE = 5_000
_HAS_RESULT = [state.value for state in RETURNED]


@dataclass(frozen=True, slots=True)
class AutomaticScore:
    """What the newest pass found in an image; class, score and probability are None where it was unsure or found no drop."""

    image: InspectionImage
    status: str
    class_name: str | None
    score: str | None
    probability: float | None
    crystal_probability: float | None
    model: str


def crystals_by_key(ledger: Ledger) -> Iterator[AutomaticScore]:
    """Every image whose newest pass with a result says crystal, by INSPECTID and name."""
    with ledger.read() as connection:
        numbers = list(connection.execute(select(scorings.c.id).order_by(scorings.c.id)).scalars())
    streams = [_of_pass(ledger, number, [newer for newer in numbers if newer > number]) for number in numbers]
    return heapq.merge(*streams, key=lambda found: (found.image.inspection_id, found.image.image_name))


def score_of(connection: Connection, inspection_id: int, image_name: str | None) -> AutomaticScore | None:
    """What the newest pass with a result found in an image, or in the likeliest image of an inspection."""
    numbers = select(scorings.c.id)
    which = (images.c.scoring_id.in_(numbers)) & (images.c.inspection_id == inspection_id) & images.c.state.in_(_HAS_RESULT)
    if image_name is not None:
        which &= images.c.image_name == image_name
    found = connection.execute(
        _query().where(which).order_by(images.c.scoring_id.desc(), artscores.c.crystal_probability.desc()).limit(1)
    ).one_or_none()
    return None if found is None else _automatic(found)


def _of_pass(ledger: Ledger, number: int, newer: list[int]) -> Iterator[AutomaticScore]:
    key = tuple_(images.c.inspection_id, images.c.image_name)
    which: ColumnElement[bool] = (images.c.scoring_id == number) & (images.c.state == ImageState.SCORED)
    if newer:
        again = images.alias()
        which &= ~(
            select(again.c.id)
            .where(
                again.c.scoring_id.in_(newer),
                again.c.inspection_id == images.c.inspection_id,
                again.c.image_name == images.c.image_name,
                again.c.state.in_(_HAS_RESULT),
            )
            .exists()
        )
    query = _query().where(which, artscores.c.class_name.in_(CRYSTAL_CLASSES)).order_by(images.c.inspection_id, images.c.image_name)
    after = (-1, "")
    while True:
        with ledger.read() as connection:
            rows = connection.execute(query.where(key > tuple_(*after)).limit(PAGE)).all()
        yield from map(_automatic, rows)
        if len(rows) < PAGE:
            return
        after = (rows[-1].inspection_id, rows[-1].image_name)


def _query() -> Select[tuple[object, ...]]:
    return (
        select(
            images,
            artscores.c.class_name,
            artscores.c.score,
            artscores.c.probability,
            artscores.c.crystal_probability,
            scorings.c.model_name,
        )
        .join_from(images, artscores)
        .join(scorings, scorings.c.id == images.c.scoring_id)
    )


def _automatic(row: Row[tuple[object, ...]]) -> AutomaticScore:
    drop = Drop(row.barcode, Well(row.plate_column, row.plate_row), row.subwell)
    image = InspectionImage(row.inspection_id, row.image_name, drop, Inspection(row.barcode, row.inspection_number, row.inspected_at))
    return AutomaticScore(image, row.state, row.class_name, row.score, row.probability, row.crystal_probability, row.model_name)
