"""Who works at what: a generator takes a batch to pack, or a search to read, for a while, and nobody else touches it.

A lease ends with the round of its owner. Of an owner that was killed it runs out after ``LEASE_SECONDS``, or earlier, when somebody
who knows that the owner is dead adopts what it had. Every function is one step of a transaction that the caller begins.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, Table, or_, select, update

from crystal_search.ledger.results import utc_now
from crystal_search.ledger.schema import batches, cursors

#: Renewed long before, between two work units; clocks of machines may differ by much less.
LEASE_SECONDS = 120.0
_LEASED = (batches, cursors)


def free_for(table: Table, owner: str) -> ColumnElement[bool]:
    """Whether ``owner`` may take a row: nobody has it, or ``owner`` itself, or its lease has run out."""
    return or_(table.c.leased_by.is_(None), table.c.leased_by == owner, table.c.leased_until < utc_now())


def take(connection: Connection, table: Table, which: ColumnElement[bool], owner: str) -> int:
    """Lease, or renew, the rows of ``which`` that are free for ``owner``; returns how many. Of two that try, one succeeds."""
    until = utc_now() + timedelta(seconds=LEASE_SECONDS)
    taken = connection.execute(update(table).where(which, free_for(table, owner)).values(leased_by=owner, leased_until=until))
    return taken.rowcount


def release(connection: Connection, owner: str) -> None:
    """Give back everything that ``owner`` has."""
    for table in _LEASED:
        connection.execute(update(table).where(table.c.leased_by == owner).values(leased_by=None, leased_until=None))


def owners(connection: Connection) -> set[str]:
    """Everybody who has a lease."""
    return {
        owner
        for table in _LEASED
        for owner in connection.execute(select(table.c.leased_by).where(table.c.leased_by.is_not(None)).distinct()).scalars()
    }
