"""What a person says and sees beside scoring: ARTscores called wrong, drops and plates looked at. All of it is in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from crystal_search.ledger.results import utc_now
from crystal_search.ledger.viewer_tables import viewer_marks, viewer_plates_seen, viewer_seen
from viewer.errors import NotFound
from viewer.evaluations import artscore_of_image
from viewer.lab import Lab
from viewer.person import Person
from viewer.scoring import check_image

_MOST_SEEN = 5000


def mark_wrong(lab: Lab, person: Person, image_id: int, wrong: bool) -> None:
    """Note, or withdraw, that an ARTscore is wrong; what it said at that moment is kept. Raises ``NotFound``."""
    with lab.ledger.read() as connection:
        art = artscore_of_image(connection, lab.codes, image_id) if 0 < image_id < 2**63 else None
    if art is None or art.scored_at is None:
        raise NotFound("no ARTscore of that number that you may see")
    check_image(lab, person, art.inspection_id, art.image_name)
    now = utc_now()
    mine = (viewer_marks.c.image_id == image_id) & (viewer_marks.c.person == person.name)
    with lab.ledger.begin() as connection:
        _add(connection, viewer_marks, [{"image_id": image_id, "person": person.name, "class_name": art.class_name, "marked_at": now}])
        connection.execute(update(viewer_marks).where(mine).values(withdrawn_at=None if wrong else now))


def note_seen(lab: Lab, person: Person, inspection_ids: Sequence[int]) -> None:
    """Note that a person has looked at drops."""
    ids = {key for key in inspection_ids[:_MOST_SEEN] if 0 < key < 2**63}
    with lab.ledger.read() as connection:  # a writer is only waited for when there is something new
        ids -= set(
            connection.execute(
                select(viewer_seen.c.inspection_id).where(viewer_seen.c.person == person.name, viewer_seen.c.inspection_id.in_(ids))
            ).scalars()
        )
    if ids:
        with lab.ledger.begin() as connection:
            _add(connection, viewer_seen, ({"person": person.name, "inspection_id": key, "seen_at": utc_now()} for key in sorted(ids)))


def note_plate_seen(lab: Lab, person: Person, barcode: str, number: int) -> None:
    """Note that a person has opened an inspection of a plate."""
    with lab.ledger.begin() as connection:
        _add(
            connection,
            viewer_plates_seen,
            [{"person": person.name, "barcode": barcode, "inspection_number": number, "seen_at": utc_now()}],
        )


def plates_seen(connection: Connection, person: Person, barcodes: Iterable[str]) -> set[tuple[str, int]]:
    """Barcode and inspection of what the person has opened."""
    rows = connection.execute(
        select(viewer_plates_seen.c.barcode, viewer_plates_seen.c.inspection_number).where(
            viewer_plates_seen.c.person == person.name, viewer_plates_seen.c.barcode.in_(sorted(set(barcodes)))
        )
    )
    return {(row.barcode, row.inspection_number) for row in rows}


def _add(connection: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows; one whose key is there already stays as it is."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(table).on_conflict_do_nothing(), list(rows))
