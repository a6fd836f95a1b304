"""The grid's pulse: how far each stage is and how fast, kept fresh in the background, so that a page never waits for a count of an archive.

Counts of batches that are through XtalTrak do not change and are kept; only the others are counted again. What is recent is found from
the newest rows on, never by reading all of them.
"""

from __future__ import annotations

import logging
import statistics
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select

from crystal_search.errors import CrystalSearchError
from crystal_search.ledger.results import utc_now
from crystal_search.ledger.schema import BatchState, ImageState, WriteState, batches, cursors, images, refusals, results, work_units, writes
from crystal_search.planning.capacity import Platform
from crystal_search.status import read_boinc_status
from viewer.lab import Lab

_log = logging.getLogger(__name__)

#: The newest rows that may be looked at for the last 24 hours: twenty times what three imagers make in a day.
_NEWEST = 20_000
_DAY = timedelta(hours=24)
_STAND_STILL = (BatchState.IMPORTED, BatchState.UNDONE)
#: Refreshed while somebody looks, at most this often, and never for more than a tenth of the time.
_LEAST_SECONDS = 3.0
_IDLE_SECONDS = 60.0
_BOINC_SECONDS = 30.0


@dataclass
class _Kept:
    """Counts by batch that do not change any more, and what BOINC said last."""

    batches: dict[int, Counter[str]] = field(default_factory=dict)
    boinc: Any = None
    boinc_at: float = float("-inf")


class Pulse:
    """The newest snapshot; a thread of its own makes the next while somebody looks."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._kept = _Kept()
        self._snapshot: dict[str, Any] = {}
        self._asked = threading.Event()
        self._ready = threading.Event()
        self._stopped = threading.Event()
        self._looked_at = 0.0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._asked.set()
        if self._thread:
            self._thread.join(30)

    def snapshot(self, patience: float) -> Mapping[str, Any]:
        """The newest snapshot; waits up to ``patience`` seconds for the first one. Empty where there is none yet."""
        self._looked_at = time.monotonic()
        self._asked.set()
        if self._thread is not None:
            self._ready.wait(patience)
        return self._snapshot

    def _run(self) -> None:
        while not self._stopped.is_set():
            if time.monotonic() - self._looked_at > _IDLE_SECONDS:
                self._asked.clear()
            self._asked.wait()
            if self._stopped.is_set():
                return
            began = time.monotonic()
            try:
                self._snapshot = self._read()
            except CrystalSearchError as error:
                self._snapshot = {**self._snapshot, "trouble": str(error)}
            except Exception:  # the next round may work; a thread that has ended would show old counts for ever
                _log.exception("the grid's pulse could not be read")
                self._snapshot = {**self._snapshot, "trouble": "the grid's pulse could not be read: see the viewer's log"}
            self._ready.set()
            self._stopped.wait(max(_LEAST_SECONDS, 9 * (time.monotonic() - began)))

    def _read(self) -> dict[str, Any]:
        began = time.monotonic()
        now = utc_now()
        with self._lab.ledger.read() as connection:
            counts = self._image_counts(connection)
            back = _images_back(connection, now)
            found = {
                "at": now.isoformat(timespec="seconds") + "Z",
                "images": {state.value: counts[state.value] for state in ImageState},
                "workUnits": _count(connection, work_units),
                "batches": _count(connection, batches),
                "lastHour": sum(count for at, count in back if at > now - timedelta(hours=1)),
                "lastDay": sum(count for _, count in back),
                "perHour": _per_hour(back, now),
                "lag": _lag(connection, now),
                "written": _written(connection, now),
                "hosts": _hosts(connection, now),
                "errors": _errors(connection),
                "refused": _refused(connection),
                "held": _waiting(connection),
            }
            archive = _archive(connection, self._lab, counts)
        found["archive"] = archive | {"end": _end(archive, back, now)}
        found["capacity"] = capacity(back, now, self._lab.settings.viewer.imagers)
        found["grid"] = self._lab.settings.grid.kind
        found["boinc"] = self._boinc()
        found["seconds"] = round(time.monotonic() - began, 3)
        return found

    def _image_counts(self, connection: Connection) -> Counter[str]:
        """Images by state; from one reading of the index of batches at first, then of the unfinished batches only."""
        states = {row[0]: row[1] for row in connection.execute(select(batches.c.id, batches.c.state))}
        kept = self._kept.batches
        missing = [key for key in states if key not in kept]
        counted = select(images.c.batch_id, images.c.state, func.count()).group_by(images.c.batch_id, images.c.state)
        if len(missing) <= 500:
            counted = counted.where(images.c.batch_id.in_(missing))
        fresh: dict[int, Counter[str]] = {key: Counter() for key in missing}
        for key, state, count in connection.execute(counted):
            fresh.setdefault(key, Counter())[state] = count
        kept |= {key: counts for key, counts in fresh.items() if states.get(key) in _STAND_STILL}
        total: Counter[str] = Counter()
        for counts in (kept | fresh).values():
            total.update(counts)
        return total

    def _boinc(self) -> Any:
        if self._lab.settings.grid.kind == "boinc" and time.monotonic() - self._kept.boinc_at > _BOINC_SECONDS:
            status = read_boinc_status(self._lab.settings)
            self._kept.boinc, self._kept.boinc_at = (asdict(status) if status else None), time.monotonic()
        return self._kept.boinc


def capacity(back: list[tuple[datetime, int]], now: datetime, imagers: int) -> dict[str, Any]:
    """What came back in an hour, beside what the imagers make (P30): ``standard`` as they work usually, ``full`` with full incubators.

    The pace counts from the first result of the last 24 hours on; one quarter of an hour at least, since a few results make no pace.
    """
    platform = Platform(imagers=imagers)
    hours = max((now - back[0][0]) / timedelta(hours=1), 0.25) if back else 1.0
    return {
        "imagers": imagers,
        "perHour": sum(count for _, count in back) / hours,
        "standard": imagers * 3600 / platform.imaging_seconds,
        "full": imagers * 3600 / platform.full_seconds,
    }


def _count(connection: Connection, table: Any) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.execute(select(table.c.state, func.count()).group_by(table.c.state))}


def _newest_units(connection: Connection) -> int:
    return (connection.execute(select(func.max(results.c.work_unit_id))).scalar() or 0) - _NEWEST


def _images_back(connection: Connection, now: datetime) -> list[tuple[datetime, int]]:
    """When results of the last 24 hours came and how many images each had, oldest first."""
    rows = connection.execute(
        select(results.c.received_at, func.count(images.c.id))
        .join_from(results, images, images.c.work_unit_id == results.c.work_unit_id)
        .where(results.c.work_unit_id > _newest_units(connection), results.c.received_at > now - _DAY)
        .group_by(results.c.work_unit_id, results.c.received_at)
        .order_by(results.c.received_at)
    )
    return [(at, count) for at, count in rows]


def _per_hour(back: list[tuple[datetime, int]], now: datetime) -> list[int]:
    """Images back in each of the last 24 hours, the present hour last."""
    hours = [0] * 24
    for at, count in back:
        hours[23 - min(23, max(0, int((now - at) / timedelta(hours=1))))] += count
    return hours


def _lag(connection: Connection, now: datetime) -> dict[str, Any]:
    """Hours from imaging to ARTscore of the newest results: median and nine tenths. XtalTrak's times are local, the ledger's UTC.

    Images of the archive were taken long ago: only those taken within 30 days count.
    """
    rows = connection.execute(
        select(images.c.inspected_at, results.c.received_at)
        .join_from(results, images, images.c.work_unit_id == results.c.work_unit_id)
        .where(results.c.work_unit_id > _newest_units(connection), results.c.received_at > now - _DAY, images.c.inspected_at.is_not(None))
        .order_by(results.c.work_unit_id.desc())
        .limit(2000)
    )
    offset = datetime.now() - now
    hours = sorted((received + offset - taken) / timedelta(hours=1) for taken, received in rows)
    recent = [hour for hour in hours if 0 <= hour < 24 * 30]
    if not recent:
        return {"images": 0, "median": None, "ninth": None}
    return {"images": len(recent), "median": statistics.median(recent), "ninth": recent[min(len(recent) - 1, int(0.9 * len(recent)))]}


def _written(connection: Connection, now: datetime) -> dict[str, int]:
    newest = (connection.execute(select(func.max(writes.c.id))).scalar() or 0) - _NEWEST * 10
    day = connection.execute(
        select(func.count()).where(writes.c.id > newest, writes.c.written_at > now - _DAY, writes.c.state == WriteState.WRITTEN)
    ).scalar_one()
    return {"lastDay": day}


def _hosts(connection: Connection, now: datetime) -> list[dict[str, Any]]:
    """What computed the results of the last 24 hours: client, runtime and provider, with the number of results."""
    rows = connection.execute(
        select(results.c.client_version, results.c.runtime, results.c.provider, func.count(), func.max(results.c.received_at))
        .where(results.c.work_unit_id > _newest_units(connection), results.c.received_at > now - _DAY)
        .group_by(results.c.client_version, results.c.runtime, results.c.provider)
        .order_by(func.count().desc())
        .limit(20)
    )
    return [
        {"client": client, "runtime": runtime, "provider": provider, "results": count, "last": last.isoformat(timespec="seconds") + "Z"}
        for client, runtime, provider, count, last in rows
    ]


def _errors(connection: Connection) -> list[dict[str, Any]]:
    """Why images of the newest 200 batches stopped: what stands before the colon of their reasons, and one of these."""
    newest = list(connection.execute(select(batches.c.id).order_by(batches.c.id.desc()).limit(200)).scalars())
    rows = connection.execute(
        select(images.c.state, images.c.reason, func.count())
        .where(images.c.batch_id.in_(newest), images.c.state.in_([ImageState.FAILED, ImageState.REFUSED]))
        .group_by(images.c.state, images.c.reason)
        .order_by(func.count().desc())
        .limit(5000)
    )
    kinds: dict[tuple[str, str], dict[str, Any]] = {}
    for state, reason, count in rows:
        kind = (reason or "no reason").partition(":")[0]
        entry = kinds.setdefault((state, kind), {"state": state, "kind": kind, "count": 0, "example": reason})
        entry["count"] += count
    return sorted(kinds.values(), key=lambda entry: -entry["count"])


def _refused(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(select(refusals).order_by(refusals.c.id.desc()).limit(10))
    return [{"workUnit": row.work_unit, "reason": row.reason, "at": row.at.isoformat(timespec="seconds") + "Z"} for row in rows]


def _waiting(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(
        select(batches.c.name, batches.c.search, batches.c.created_at)
        .where(batches.c.state == BatchState.HELD)
        .order_by(batches.c.id)
        .limit(50)
    )
    return [{"name": name, "search": search, "created": created.isoformat(timespec="seconds") + "Z"} for name, search, created in rows]


def _archive(connection: Connection, lab: Lab, counts: Mapping[str, int]) -> dict[str, Any]:
    """How far the searches have read XtalTrak: the share of its inspections' numbers that lie behind the one that is farthest back."""
    lowest, highest = lab.query("viewer_inspection_range")[0]
    at = connection.execute(select(func.min(cursors.c.inspection_id))).scalar()
    if lowest is None or at is None:
        return {"share": None, "known": sum(counts.values()), "left": None}
    share = min(1.0, max(0.0, (at - lowest + 1) / (highest - lowest + 1)))
    on_the_way = counts.get(ImageState.CLAIMED, 0) + counts.get(ImageState.IN_WORK, 0)
    known = sum(counts.values())
    unread = known * (1 - share) / share if share else 0.0
    return {"share": share, "known": known, "left": round(on_the_way + unread)}


def _end(archive: Mapping[str, Any], back: list[tuple[datetime, int]], now: datetime) -> str | None:
    """When all that is left will be through at the last 24 hours' pace (UTC), None where nothing is left or nothing comes back."""
    if not archive["left"] or not back:
        return None
    hours = archive["left"] / capacity(back, now, 1)["perHour"]
    return (now + timedelta(hours=min(hours, 24 * 3650))).isoformat(timespec="minutes") + "Z"
