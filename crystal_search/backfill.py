"""When the archive will be through: what is on the way, and what still lies in XtalTrak, for ``crystal-search status``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.ledger.backfill import images_left, unread_searches
from crystal_search.ledger.pace import Pace
from crystal_search.settings import Settings
from crystal_search.xtaltrak import open_xtaltrak


@dataclass(frozen=True, slots=True)
class Backfill:
    """About how many images each search that is not at the end of XtalTrak will still find there, None where nothing tells yet,
    and when they and all that is on the way will be through (UTC) at the present pace. ``trouble``: why XtalTrak can not be asked.
    """

    images_left: dict[str, int | None]
    end: datetime | None = None
    trouble: str | None = None


def read_backfill(settings: Settings, connection: Connection, pace: Pace, now: datetime) -> Backfill:
    """What still lies in XtalTrak, an estimate; it is asked, for its newest INSPECTID, only where a search has not come to the end."""
    unread = unread_searches(connection, settings.search, settings.finalizer.protect)
    unknown = dict[str, int | None].fromkeys(one.search for one in unread)
    if not unread:
        return Backfill(unknown)
    try:
        with open_xtaltrak(settings.xtaltrak) as xtaltrak:
            newest = xtaltrak.newest_inspection()
    except (TryAgainLater, SettingsError) as error:
        return Backfill(unknown, trouble=str(error))
    left = {one.search: images_left(connection, one, newest) for one in unread}
    known = [count for count in left.values() if count is not None]
    if not pace.images or len(known) < len(left):
        return Backfill(left)
    return Backfill(left, end=now + timedelta(hours=(pace.on_the_way + sum(known)) / pace.images_per_hour))


def backfill_rows(backfill: Backfill) -> list[list[object]]:
    """Two columns for people: what, and how many or when."""
    rows: list[list[object]] = [[search, "not known yet" if left is None else left] for search, left in backfill.images_left.items()]
    if backfill.end:
        rows.append(["all will be through (UTC)", backfill.end.isoformat(sep=" ", timespec="minutes")])
    return rows + ([[backfill.trouble, ""]] if backfill.trouble else [])
