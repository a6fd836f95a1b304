"""What a plate's inspection looks like now: ARTscores from the ledger, people's scores from XtalTrak, both kept (rule 7)."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, select

from crystal_search.classes import PRIORITY
from crystal_search.ledger.schema import artscores, images
from crystal_search.plate import Drop, Well
from viewer.plate_picture import PlateTile


def plate_tiles(ledger: Connection, barcode: str, inspection: int, image_root: Path, people: dict[int, str]) -> list[PlateTile]:
    """The drops of one inspection in XtalTrak's order, one tile a drop: its newest scoring and, of several images (profiles), the one
    that counts most: the class of highest priority, then the largest probability.

    ``people`` maps an INSPECTID to the score that a person gave.
    """
    rows = ledger.execute(
        select(images, artscores.c.class_name, artscores.c.probability)
        .outerjoin(artscores, artscores.c.image_id == images.c.id)
        .where(images.c.barcode == barcode, images.c.inspection_number == inspection)
        .order_by(images.c.plate_column, images.c.plate_row, images.c.subwell, images.c.scoring_id)
    )
    best: dict[Drop, tuple[tuple[int, int, float], PlateTile]] = {}
    for row in rows:
        drop = Drop(barcode, Well(row.plate_column, row.plate_row), row.subwell)
        tile = PlateTile(
            drop=drop,
            image=image_root / barcode / str(inspection) / row.image_name,
            status=row.state,
            class_name=row.class_name,
            probability=row.probability,
            person=people.get(row.inspection_id),
        )
        rank = (row.scoring_id, -PRIORITY.get(row.class_name, len(PRIORITY)), row.probability or 0.0)
        if drop not in best or rank > best[drop][0]:
            best[drop] = (rank, tile)
    return [tile for _, tile in best.values()]
