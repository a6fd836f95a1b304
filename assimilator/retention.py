"""Result archives go when nobody needs their overlays any more: as a whole, since an archive is never rewritten.

Nothing is noted anywhere. A round looks at the files that are there, asks the ledger about each, and deletes; killed at any moment,
the next round finds what is left. What the ledger does not know is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crystal_search.errors import TryAgainLater
from crystal_search.ledger import Ledger
from crystal_search.ledger.expiry import StoredResult, stored_results
from crystal_search.service import Stop
from crystal_search.settings import Settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Expired:
    """A file whose time is over, its size in bytes, and why in a few words."""

    path: Path
    size: int
    why: str


def is_over(result: StoredResult, days: Mapping[str, float], now: datetime) -> bool:
    """Whether an archive's time is over at ``now`` (UTC): that of each of its images is. A group that ``days`` does not name never ends."""
    if not result.groups or not result.groups.issubset(days):
        return False
    longest = max(days[group] for group in result.groups)
    return now - result.received_at > timedelta(days=longest)


def expired(settings: Settings, ledger: Ledger, now: datetime) -> Iterator[Expired]:
    """The files whose time is over: archives of batches that have been through XtalTrak, then refused results.

    Raises ``TryAgainLater`` when the ledger or the disk is away.
    """
    try:
        yield from _expired_results(settings, ledger, now)
        yield from _expired_refusals(settings, now)
    except OSError as error:
        raise TryAgainLater(f"{error.filename}: can not be read or deleted ({error.strerror}); try again later") from error


def delete_expired(settings: Settings, ledger: Ledger, now: datetime, stop: Stop) -> int:
    """Delete the files whose time is over; returns how many. Raises as ``expired`` does."""
    count = freed = 0
    try:
        for file in expired(settings, ledger, now):
            if stop.is_set():
                break
            file.path.unlink(missing_ok=True)
            count, freed = count + 1, freed + file.size
    finally:
        if count:
            _log.info("%d files deleted, %.1f MB", count, freed / 1e6)
    return count


def _expired_results(settings: Settings, ledger: Ledger, now: datetime) -> Iterator[Expired]:
    days: dict[str, float] = dict(settings.retention.days.items())
    if not days:
        return
    for folder in _children(settings.results):
        archives = {path.stem: path for path in _children(folder) if path.suffix == ".zip"}
        if not archives:
            continue
        with ledger.read() as connection:
            known = stored_results(connection, folder.name)
        for name, path in archives.items():
            result = known.get(name)
            if result is not None and is_over(result, days, now):
                yield Expired(path, path.stat().st_size, ", ".join(sorted(result.groups)))


def _expired_refusals(settings: Settings, now: datetime) -> Iterator[Expired]:
    if settings.retention.refused_days is None:
        return
    oldest = now - timedelta(days=settings.retention.refused_days)
    for path in _children(settings.refused):
        state = path.stat()
        if path.suffix == ".zip" and datetime.fromtimestamp(state.st_mtime, tz=UTC).replace(tzinfo=None) < oldest:
            yield Expired(path, state.st_size, "refused")


def _children(folder: Path) -> list[Path]:
    """What is in a folder, by name; nothing for what is no folder."""
    return sorted(folder.iterdir()) if folder.is_dir() else []
