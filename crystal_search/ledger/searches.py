"""How far the searches of the work generator have read XtalTrak, and who reads on.

Every function is one step of a transaction that the caller begins.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, select, update

from crystal_search.ledger import leases
from crystal_search.ledger.bulk import insert_if_new
from crystal_search.ledger.schema import cursors
from crystal_search.settings import Search
from crystal_search.xtaltrak.images import START, Key, Protect


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a search has been read; ``at_end``: there was nothing behind ``key``."""

    key: Key
    at_end: bool


def search_sha256(search: Search, protect: Protect) -> str:
    """The identity of a search: SHA-256 of what it restricts. Its name and priority do not count."""
    restricts = search.model_dump(mode="json", exclude={"name", "priority"})
    if not search.chromophores:  # as a search was before it could name any: it goes on where it was
        del restricts["chromophores"], restricts["chromophore_profiles"]
    restricts["protect"] = protect if search.only_unscored else None
    return hashlib.sha256(json.dumps(restricts, sort_keys=True).encode()).hexdigest()


def read_cursor(connection: Connection, scoring: int, search: str) -> Key | None:
    """The key up to which the search has been read; None when it is new."""
    found = find_cursor(connection, scoring, search)
    return None if found is None else found.key


def find_cursor(connection: Connection, scoring: int, search: str) -> Cursor | None:
    """How far the search has been read; None when it is new."""
    columns = (cursors.c.inspection_id, cursors.c.image_name, cursors.c.at_end)
    row = connection.execute(select(*columns).where(_is_cursor(scoring, search))).one_or_none()
    return None if row is None else Cursor(Key(row.inspection_id, row.image_name), bool(row.at_end))


def _is_cursor(scoring: int, search: str) -> ColumnElement[bool]:
    return (cursors.c.scoring_id == scoring) & (cursors.c.search_sha256 == search)


def take_cursor(connection: Connection, scoring: int, search: str, owner: str) -> Cursor | None:
    """How far the search has been read, for ``owner`` to read on; None while somebody else does."""
    start = {"scoring_id": scoring, "search_sha256": search, "inspection_id": START.inspection_id, "image_name": START.image_name}
    connection.execute(insert_if_new(connection, cursors), start)
    return find_cursor(connection, scoring, search) if leases.take(connection, cursors, _is_cursor(scoring, search), owner) else None


def move_cursor(connection: Connection, scoring: int, search: str, key: Key, at_end: bool = False, owner: str | None = None) -> None:
    """Note that the search has been read up to ``key``, ``at_end`` when nothing was left behind it, and give it back where it is leased
    by ``owner``; a cursor never moves back.
    """
    before = read_cursor(connection, scoring, search)
    if before is None:
        place = {"inspection_id": key.inspection_id, "image_name": key.image_name, "at_end": at_end}
        connection.execute(insert_if_new(connection, cursors), {"scoring_id": scoring, "search_sha256": search, **place})
    elif key >= before:
        connection.execute(
            update(cursors)
            .where(_is_cursor(scoring, search))
            .values(inspection_id=key.inspection_id, image_name=key.image_name, at_end=at_end)
        )
    if owner is not None:
        free = update(cursors).where(_is_cursor(scoring, search), cursors.c.leased_by == owner)
        connection.execute(free.values(leased_by=None, leased_until=None))


def forget_cursors(connection: Connection, scoring: int) -> None:
    """Make every search of a scoring read from the beginning."""
    connection.execute(delete(cursors).where(cursors.c.scoring_id == scoring))
