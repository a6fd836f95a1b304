"""What the daily digest has told, in a file of the state folder, and when the next one is due."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from crystal_search.atomic import write_atomically
from crystal_search.errors import SettingsError, TryAgainLater


class Told(msgspec.Struct, frozen=True):
    """What digests have told: every batch up to ``through``, and those of ``beyond``; ``at`` is local time."""

    at: datetime
    through: int
    beyond: list[int]


def read_told(path: Path) -> Told | None:
    """What was told before; None where there was no digest yet. Raises ``SettingsError`` for a file that is not ours."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Told)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TryAgainLater(f"{path}: can not be read ({error.strerror}); try again later") from error
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path}: not what the digest wrote ({error}); move it away, the next digest is then a first one") from error


def write_told(path: Path, told: Told) -> None:
    """Note it, atomically."""
    write_atomically(path, msgspec.json.encode(told))


def is_due(now: datetime, last: datetime | None, hour: int | None) -> bool:
    """Whether today's digest has to be made; both times are local. A ``last`` that is days ahead was noted by a clock that was wrong."""
    if last is None or last > now + timedelta(days=1):
        last = datetime.min
    return hour is not None and now >= now.replace(hour=hour, minute=0, second=0, microsecond=0) > last


def next_digest(now: datetime, last: datetime | None, hour: int | None) -> datetime | None:
    """When the loop makes the next one; ``now`` where it is due."""
    if hour is None:
        return None
    if is_due(now, last, hour):
        return now
    today = now.replace(hour=hour, minute=0, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)
