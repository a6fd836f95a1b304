"""How much of XtalTrak the searches have not read yet: an estimate that costs the same however large the archive is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from crystal_search.ledger.schema import batches, images
from crystal_search.ledger.searches import Cursor, find_cursor, search_sha256
from crystal_search.settings import Search
from crystal_search.xtaltrak.images import Protect

#: So many images, the last ones before the place up to which a search has read, tell how many it finds among as many INSPECTIDs.
SAMPLE = 10_000


@dataclass(frozen=True, slots=True)
class Unread:
    """A search that has not come to the end of XtalTrak: the INSPECTID up to which it has read, None where it has not begun."""

    search: str
    scoring: int
    read_to: int | None


def unread_searches(connection: Connection, searches: Sequence[Search], protect: Protect) -> list[Unread]:
    """The searches that have not come to the end in the pass to which the newest batch belongs; none before the first batch."""
    scoring = connection.execute(select(batches.c.scoring_id).order_by(batches.c.id.desc()).limit(1)).scalar()
    if scoring is None:
        return []
    found = [(search.name, find_cursor(connection, scoring, search_sha256(search, protect))) for search in searches]
    return [Unread(name, scoring, _read_to(cursor)) for name, cursor in found if cursor is None or not cursor.at_end]


def _read_to(cursor: Cursor | None) -> int | None:
    return None if cursor is None or cursor.key.inspection_id < 0 else cursor.key.inspection_id


def images_left(connection: Connection, unread: Unread, newest: int) -> int | None:
    """About how many images the search will still find up to the INSPECTID ``newest``; None where nothing tells yet.

    It expects to find as many as among the last INSPECTIDs that it read.
    """
    if unread.read_to is None:
        return None
    which = (images.c.scoring_id == unread.scoring) & (images.c.inspection_id <= unread.read_to)
    last = select(images.c.inspection_id).where(which).order_by(images.c.inspection_id.desc()).limit(SAMPLE).subquery()
    count, first = connection.execute(select(func.count(), func.min(last.c.inspection_id))).one()
    if first is None:
        return None
    share: float = count / (unread.read_to - first + 1)
    return round(max(newest - unread.read_to, 0) * share)
