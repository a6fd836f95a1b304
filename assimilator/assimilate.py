"""What comes back from the grid goes into ``results/`` and the ledger (P22).

An event's files are stored first, then one ledger transaction says so, then the grid may forget the event. Killed anywhere in
between, the grid tells the event again, and every step finds what it did before.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from crystal_search.archives import ArchiveError, Results, read_results
from crystal_search.atomic import copy_atomically
from crystal_search.errors import TryAgainLater
from crystal_search.grid import GaveUp, Grid, Refused, Returned
from crystal_search.ledger import Ledger
from crystal_search.ledger.pauses import check_not_paused
from crystal_search.ledger.results import KnownWorkUnit, find_work_unit, find_work_units, give_up, record_refusal, record_results
from crystal_search.service import Stop
from crystal_search.settings import Settings

_log = logging.getLogger(__name__)

#: Results that are noted together: a transaction of the ledger costs as much as what it notes of a few.
GROUP = 32


def assimilate(settings: Settings, ledger: Ledger, grid: Grid, stop: Stop | None = None) -> int:
    """Drive the grid on and take in what came back; returns how many events that were. ``stop`` ends it between two of them.

    Raises ``TryAgainLater`` when the disk is full or away, or the ledger is; nothing is lost, the grid tells its events again.
    Raises ``SettingsError`` when all work that is left waits for another model or other settings.
    """
    with ledger.read() as connection:
        check_not_paused(connection, "assimilate")
    try:
        events = grid.poll()
        for returned, some in groupby(events, lambda event: isinstance(event, Returned)):
            if stop is not None and stop.is_set():
                break
            if returned:
                _take_in_returned(settings, ledger, grid, [event for event in some if isinstance(event, Returned)])
                continue
            for event in some:
                _take_in(settings, ledger, event)
                grid.acknowledge(event)
    except OSError as error:
        raise TryAgainLater(f"{error.filename}: can not be read or written ({error.strerror}); try again later") from error
    return len(events)


def _take_in(settings: Settings, ledger: Ledger, event: Returned | Refused | GaveUp) -> None:
    match event:
        case Refused():
            _set_aside(settings, ledger, event.work_unit, event.path, event.reason)
        case GaveUp():
            _gave_up(settings, ledger, event.work_unit, event.reason)


def _take_in_returned(settings: Settings, ledger: Ledger, grid: Grid, events: Sequence[Returned]) -> None:
    """Results, a group in one transaction of the ledger."""
    for start in range(0, len(events), GROUP):
        some = events[start : start + GROUP]
        with ledger.read() as connection:
            known = find_work_units(connection, [event.work_unit for event in some])
        accepted = [found for event in some if (found := _stored(settings, ledger, known.get(event.work_unit), event))]
        with ledger.begin() as connection:
            record_results(connection, accepted)
        for unit, answer, _ in accepted:
            statuses = Counter(image.status for image in answer.images)
            _log.info("%s: %s", unit.name, ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())))
        for event in some:
            _packed(settings, event.work_unit).unlink(missing_ok=True)
            grid.acknowledge(event)


def _stored(settings: Settings, ledger: Ledger, unit: KnownWorkUnit | None, event: Returned) -> tuple[KnownWorkUnit, Results, str] | None:
    """What an archive says and its SHA-256, once it is in ``results/``; None when there is nothing to note."""
    if unit is not None and not unit.is_out:  # its failed images may be in another work unit by now
        _log.info("%s: had ended before", unit.name)
        return None
    try:
        answer = _answer(unit, event)
    except ArchiveError as error:  # the grid's validator knows the work unit's file, not the ledger
        _set_aside(settings, ledger, event.work_unit, event.path, str(error))
        _gave_up(settings, ledger, event.work_unit, str(error))
        return None
    assert unit is not None
    stored = settings.results / unit.batch / f"{unit.name}.zip"
    copy_atomically(event.path, stored)
    return unit, answer, _sha256(stored)


def _answer(unit: KnownWorkUnit | None, event: Returned) -> Results:
    """The results of an archive, which are those of the ledger's images. Raises ``ArchiveError``."""
    if unit is None:
        raise ArchiveError(f"{event.work_unit}: unknown work unit, the ledger has none of that name")
    answer = read_results(event.path)
    if {image.id for image in answer.images} != set(unit.images):
        raise ArchiveError(f"{event.work_unit}: these are not the images that the ledger has in this work unit")
    return answer


def _set_aside(settings: Settings, ledger: Ledger, work_unit: str, path: Path, reason: str) -> None:
    """Keep a refused result and say why; the grid has sent the work again by itself."""
    if not path.is_file():
        return  # it is in the refused folder already, or was never there to keep
    name = re.sub(r"[^A-Za-z0-9_-]", "-", f"{work_unit}-{path.stem}-{_sha256(path)[:8]}")
    copy_atomically(path, settings.refused / f"{name}.zip")
    with ledger.begin() as connection:
        record_refusal(connection, work_unit, f"{name}.zip", reason)
    _log.warning("%s: result refused and set aside as %s.zip: %s", work_unit, name, reason)


def _gave_up(settings: Settings, ledger: Ledger, work_unit: str, reason: str) -> None:
    with ledger.begin() as connection:
        unit = find_work_unit(connection, work_unit)
        if unit is not None and give_up(connection, unit, reason):
            _log.error("%s: given up, its %d images have failed: %s", work_unit, len(unit.images), reason)
    _packed(settings, work_unit).unlink(missing_ok=True)


def _packed(settings: Settings, work_unit: str) -> Path:
    return settings.work_units / f"{work_unit}.zip"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
