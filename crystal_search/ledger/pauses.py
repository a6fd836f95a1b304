"""What an admin has stopped for a while, kept in the ledger, where every program of every machine sees it.

Every function is one step of a transaction that the caller begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from crystal_search.errors import Paused
from crystal_search.ledger.results import utc_now
from crystal_search.ledger.schema import pauses

EVERYTHING = "everything"
#: What can be paused: all of it, the work generator's work of one priority, or one service.
WHAT = (EVERYTHING, "realtime", "archive", "work-generator", "assimilate", "finalize", "set-autoscore")


@dataclass(frozen=True, slots=True)
class Pause:
    """``since`` is UTC."""

    what: str
    by: str
    since: datetime

    def __str__(self) -> str:
        return (
            f"{self.what} is paused by {self.by} since {self.since:%Y-%m-%d %H:%M} UTC; `crystal-search resume {self.what}` lets it go on"
        )


def pause(connection: Connection, what: str, by: str) -> bool:
    """Note that ``what`` shall rest; False when it does already."""
    if connection.execute(select(pauses.c.what).where(pauses.c.what == what)).first() is not None:
        return False
    connection.execute(insert(pauses).values(what=what, paused_by=by, since=utc_now()))
    return True


def resume(connection: Connection, what: str) -> list[str]:
    """End the pause of ``what``, with ``everything`` all of them; what was paused."""
    which = pauses.c.what == what if what != EVERYTHING else pauses.c.what.is_not(None)
    ended = list(connection.execute(select(pauses.c.what).where(which).order_by(pauses.c.what)).scalars())
    connection.execute(delete(pauses).where(which))
    return ended


def paused(connection: Connection) -> list[Pause]:
    """Everything that rests, the longest first."""
    return [Pause(row.what, row.paused_by, row.since) for row in connection.execute(select(pauses).order_by(pauses.c.since, pauses.c.what))]


def pause_of(connection: Connection, what: str) -> Pause | None:
    """The pause that holds for ``what``, its own or everything's."""
    return next((found for found in paused(connection) if found.what in (what, EVERYTHING)), None)


def check_not_paused(connection: Connection, service: str) -> None:
    """Raise ``Paused`` while the service, or everything, shall rest."""
    if found := pause_of(connection, service):
        raise Paused(str(found))
