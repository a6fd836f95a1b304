"""The grid that is a BOINC server: work goes in through BOINC's own tools, results come back through a folder, the inbox.

``submit`` notes the work unit; ``poll`` stages and creates what was noted, in batches, and reads the inbox. The records are files:

| file | content |
|---|---|
| ``<spool>/records/<work unit>.json`` | ``_Record``, replaced atomically; there from ``submit`` until ``acknowledge`` or ``cancel`` |
| ``<spool>/over/<work unit>`` | empty: it has ended, and what BOINC still brings of it is dropped |
| ``<spool>/lock`` | held by the one process that polls, acknowledges or cancels |
| ``<inbox>/<job>.zip``, ``.failed`` | written by BOINC's assimilator: a result, or one line on why there will be none |
| ``<inbox>/<job>.accepted``, ``.refused`` | a result that our validator has looked at, until it is acknowledged |

A BOINC job has the name of its work unit. BOINC takes a name only once: that is what makes a second ``create`` after a kill harmless,
and why work that is sent again, because a result was refused after BOINC had let it pass, goes out as ``wu_<batch>-r2_<n>``.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import msgspec

from crystal_search.archives import ArchiveError
from crystal_search.atomic import PARTIAL_SUFFIX, copy_atomically, write_atomically
from crystal_search.errors import CrystalSearchError, TryAgainLater
from crystal_search.grid import ARCHIVE_PRIORITY, GaveUp, Refused, Returned, Validator
from crystal_search.grid.boinc_tools import BoincTools, ToolFailedError
from crystal_search.leftovers import sweep_partials

_log = logging.getLogger(__name__)

#: Jobs of one call of the tools. BOINC sends a million bytes of SQL in one statement, about 300 jobs; only one statement is all or nothing.
CREATE_AT_ONCE = 100
#: Results of one poll, so that the first ones are stored before the last ones of a long queue are looked at.
RESULTS_AT_ONCE = 200
#: After a tool failed, it is left alone for so long.
PAUSE_SECONDS = 30.0
#: Of a batch that was refused as a whole each job is tried alone; so many failures in a row mean that it is not the jobs.
_FAILURES_IN_A_ROW = 3
#: How long we remember that a work unit has ended.
_OVER_SECONDS = 14 * 86400.0
_SWEEP_SECONDS = 86400.0
_REASON_LENGTH = 500
_SUFFIXES = (".zip", ".failed", ".accepted", ".refused")
_NAME = re.compile(r"(wu_[A-Za-z0-9-]{1,60})(_[0-9]{1,9})")
_JOB = re.compile(r"(wu_[A-Za-z0-9-]{1,60})-r([1-9][0-9]?)(_[0-9]{1,9})")


class _Record(msgspec.Struct, frozen=True):
    """Where one work unit is."""

    source: str  # the packed ZIP; the assimilator removes it when the work unit has ended
    priority: int = ARCHIVE_PRIORITY
    submitted_at: float = 0.0
    attempt: int = 1
    created: bool = False  # BOINC has the job of this attempt
    gave_up: bool = False
    reason: str = ""
    refusals: dict[str, str] = {}  # files of the inbox, each with the reason; not acknowledged yet


@dataclass(frozen=True, slots=True)
class BoincProgress:
    """How many work units wait to be created, are at BOINC, and have come back without being acknowledged yet."""

    queued: int
    at_boinc: int
    in_inbox: int


@dataclass(slots=True)
class _Inbox:
    """What a look at the inbox found, by work unit."""

    returned: dict[str, Path] = field(default_factory=dict)
    seen: int = 0


class BoincGrid:
    """A ``Grid`` whose volunteers are those of a BOINC project. ``validator`` is needed to poll, not to submit."""

    def __init__(
        self,
        spool: Path,
        inbox: Path,
        tools: BoincTools,
        *,
        validator: Validator | None = None,
        attempts: int = 3,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._records_folder = spool / "records"
        self._over = spool / "over"
        self._lock = spool / "lock"
        self._inbox = inbox
        self.tools = tools
        self._validator = validator
        self._attempts = attempts
        self._now = now
        self._cache: dict[str, tuple[tuple[int, int], _Record]] = {}
        self._current: dict[str, _Record] = {}  # all records as of the last look, and what was written since
        self._told: set[str] = set()  # foreign files that were logged
        self._trouble: CrystalSearchError | None = None
        self._not_before = 0.0
        self._next_sweep = 0.0

    def check(self) -> None:
        """Raise ``SettingsError`` when the project is none, or our application was not installed into it."""
        self.tools.check()

    # ---- the Grid protocol ---------------------------------------------------------------------------------------

    def submit(self, work_unit: Path, priority: int = ARCHIVE_PRIORITY) -> bool:
        """Note a work unit ZIP, which has to stay where it is until the work unit has ended. False when it was noted already.

        Raises ``FileNotFoundError`` when there is no such file, ``TryAgainLater`` when the disk is full.
        """
        name = work_unit.stem
        if self._record_path(name).exists():
            return False
        if not work_unit.is_file():
            raise FileNotFoundError(2, "no such work unit", str(work_unit))
        record = _Record(str(work_unit.resolve()), priority, self._now())
        if (self._over / name).exists():
            reason = "it was cancelled or had ended before, and BOINC takes a name only once"
            record = msgspec.structs.replace(record, gave_up=True, reason=reason)
        self._write(name, record)
        return True

    def poll(self) -> list[Returned | Refused | GaveUp]:
        """Create at BOINC what is new, and tell what the inbox holds.

        Raises, when there is nothing to tell, why work can not be created: ``SettingsError``, or ``TryAgainLater`` for a server that
        is away.
        """
        with self._alone():
            self._sweep()
            self._create_queued()
            events = self._events(self._look())
            if not events and self._trouble:
                raise self._trouble
            return events

    def acknowledge(self, event: Returned | Refused | GaveUp) -> None:
        """Forget a refused result, or the whole work unit when it came back or was given up."""
        with self._alone():
            if not isinstance(event, Refused):
                self._end(event.work_unit)
                return
            event.path.unlink(missing_ok=True)
            if record := self._record(event.work_unit):
                left = {file: reason for file, reason in record.refusals.items() if file != event.path.name}
                self._write(event.work_unit, msgspec.structs.replace(record, refusals=left))

    def cancel(self, name: str) -> None:
        """Cancel a work unit's jobs at BOINC and forget it; a result that comes later is dropped. Raises ``TryAgainLater``."""
        with self._alone():
            if record := self._record(name):
                for job in _jobs(name, record.attempt):
                    self.tools.cancel(job)
                self._end(name)

    def open_work_units(self) -> int:
        """How many work units wait for BOINC or are there."""
        progress = self.progress()
        return progress.queued + progress.at_boinc

    def progress(self) -> BoincProgress:
        """Where the work units are, as our own records and the inbox have it."""
        records = self._records()
        ended = {name for name, record in records.items() if record.gave_up}
        for path in self._files():
            if path.suffix in (".zip", ".failed", ".accepted") and (found := self._whose(path.stem, records)):
                ended.add(found[0])
        left = [record.created for name, record in records.items() if name not in ended]
        return BoincProgress(queued=left.count(False), at_boinc=left.count(True), in_inbox=len(ended & records.keys()))

    # ---- creating work ---------------------------------------------------------------------------------------------

    def _create_queued(self) -> None:
        """Create the next batch: the highest priority first, then the oldest. What goes wrong is kept in ``_trouble``."""
        queued = sorted(
            (-record.priority, record.submitted_at, name)
            for name, record in self._records().items()
            if not record.created and not record.gave_up
        )
        if not queued:
            self._trouble = None
        if not queued or self._now() < self._not_before <= self._now() + PAUSE_SECONDS:
            return
        batch = [name for _, _, name in takewhile(lambda item: item[0] == queued[0][0], queued)][:CREATE_AT_ONCE]
        try:
            self.tools.check()
            self._create(batch)
            self._trouble = None
        except (CrystalSearchError, OSError) as error:
            line = f"BOINC's {self.tools.staging}: can not be written ({error}); try again later"
            self._trouble = error if isinstance(error, CrystalSearchError) else TryAgainLater(line)
            self._not_before = self._now() + PAUSE_SECONDS

    def _create(self, names: Sequence[str]) -> None:
        """Bring work units to BOINC, together if that goes, else one by one. Raises ``ToolFailedError`` when some have to wait."""
        trouble: ToolFailedError | None = None
        failures = 0
        try:
            self._bring(names)
        except ToolFailedError as error:
            trouble = error
        if trouble is None or self._settled(names, trouble):
            return
        if len(names) == 1:
            raise trouble
        trouble = None
        for name in names:
            try:
                self._create([name])
                failures = 0
            except ToolFailedError as error:
                trouble = error
                failures += 1
                if failures == _FAILURES_IN_A_ROW:
                    break
        if trouble:
            raise trouble

    def _bring(self, names: Sequence[str]) -> None:
        """Stage and create in one call each, and note that. Both may have been done by one that was killed: neither happens twice."""
        self._empty_staging()  # of what a kill left there
        brought: dict[str, _Record] = {}
        for name in names:
            record = self._current[name]
            try:
                copy_atomically(Path(record.source), self.tools.staging / f"{_job(name, record.attempt)}.zip")
                brought[name] = record
            except FileNotFoundError:
                self._give_up(name, record, f"its file {Path(record.source).name} is gone")
        if not brought:
            return
        try:
            self.tools.stage()
            self.tools.create([_job(name, record.attempt) for name, record in brought.items()], next(iter(brought.values())).priority)
        finally:
            self._empty_staging()  # of files that BOINC has already
        for name, record in brought.items():
            self._write(name, msgspec.structs.replace(record, created=True))
        _log.info("%d work units created at BOINC, %s", len(brought), _span(list(brought)))

    def _empty_staging(self) -> None:
        for leftover in self.tools.staging.iterdir() if self.tools.staging.is_dir() else []:
            leftover.unlink()

    def _settled(self, names: Sequence[str], error: ToolFailedError) -> bool:
        """Whether a failure is an answer: it was created before, or can never be."""
        if len(names) != 1:
            return False
        (name,) = names
        record = self._current[name]
        if error.name_taken:
            self._write(name, msgspec.structs.replace(record, created=True))
            return True
        if error.other_content:
            self._give_up(name, record, f"BOINC has another file of the name {_job(name, record.attempt)}.zip")
            return True
        return False

    # ---- what came back --------------------------------------------------------------------------------------------

    def _look(self) -> _Inbox:
        """Sort the inbox: results that are valid, refused and failed work noted in the records, the rest dropped or left."""
        found = _Inbox()
        records = self._records()
        self._inbox.mkdir(parents=True, exist_ok=True)
        for path in self._files():
            if found.seen >= RESULTS_AT_ONCE:
                break
            if path.suffix not in _SUFFIXES or path.is_symlink() or not path.is_file():
                self._leave(path)
            elif whose := self._whose(path.stem, records):
                name, attempt = whose
                self._sort(found, path, name, attempt, records[name])
            elif name := self._ended(path.stem):
                _log.info("%s: %s came after its end and is dropped", name, path.name)
                path.unlink(missing_ok=True)
            else:
                self._leave(path)
        return found

    def _sort(self, found: _Inbox, path: Path, name: str, attempt: int, record: _Record) -> None:
        match path.suffix:
            case ".zip" if name not in found.returned:
                found.seen += 1
                # The new name is the decision: it is not validated again when the packed work unit is gone, and what a kill left
                # undone is made up for when the file is met again.
                if reason := self._problem(name, path):
                    self._refuse(name, attempt, record, path.rename(path.with_suffix(".refused")), reason)
                else:
                    found.returned[name] = path.rename(path.with_suffix(".accepted"))
            case ".accepted":
                found.seen += 1
                found.returned[name] = path
            case ".refused" if path.name not in record.refusals:
                self._refuse(name, attempt, record, path, self._problem(name, path) or "it was refused before")
            case ".failed" if attempt == record.attempt:
                if not record.gave_up:
                    found.seen += 1
                    self._give_up(name, record, self._why(path))
            case ".failed":
                _log.info("%s: BOINC gave up %s, which had been sent again", name, path.stem)
                path.unlink(missing_ok=True)

    def _problem(self, name: str, result: Path) -> str:
        """Why a result is refused, or nothing."""
        if self._validator is None:
            raise ValueError("a grid without a validator can take work units, but not be polled")
        try:
            self._validator(name, result)
        except ArchiveError as error:
            return " ".join(str(error).split())[:_REASON_LENGTH]
        return ""

    def _refuse(self, name: str, attempt: int, record: _Record, refused: Path, reason: str) -> None:
        """Note a refused result; if it is of the newest attempt, send the work again or give it up.

        BOINC validated it before and has no more of this job. If the file was put there by somebody else, BOINC's own result may
        follow, and counts.
        """
        after = msgspec.structs.replace(record, refusals={**record.refusals, refused.name: reason})
        if attempt == record.attempt and not record.gave_up:
            _log.warning("%s: attempt %d of %d refused: %s", name, attempt, self._attempts, reason)
            if attempt < self._attempts:
                after = msgspec.structs.replace(after, attempt=attempt + 1, created=False)
            else:
                after = msgspec.structs.replace(after, gave_up=True, reason=reason)
        self._write(name, after)

    def _why(self, failed: Path) -> str:
        """Why BOINC gave a job up: its assimilator's line, and what the client said where that can be had."""
        text = failed.read_bytes()[:_REASON_LENGTH].decode(errors="replace")
        reason = " ".join(text.split()) or "BOINC gave it up without a reason"
        words = self.tools.last_words(failed.stem)
        return f"{reason}; the client said: {words}" if words else reason

    def _give_up(self, name: str, record: _Record, reason: str) -> None:
        reason = reason[:_REASON_LENGTH]
        _log.warning("%s: given up: %s", name, reason)
        self._write(name, msgspec.structs.replace(record, gave_up=True, reason=reason))

    def _events(self, found: _Inbox) -> list[Returned | Refused | GaveUp]:
        """What is to be acknowledged, the refused results before the end of their work unit."""
        events: list[Returned | Refused | GaveUp] = []
        for name, record in sorted(self._current.items()):
            if record.refusals:
                events += [Refused(name, self._inbox / file, reason) for file, reason in sorted(record.refusals.items())]
            elif name in found.returned:
                events.append(Returned(name, found.returned[name]))
            elif record.gave_up:
                events.append(GaveUp(name, record.reason))
        return events

    def _files(self) -> list[Path]:
        """The inbox's files but for those that are being written."""
        paths = sorted(self._inbox.iterdir()) if self._inbox.is_dir() else []
        return [path for path in paths if not path.name.startswith(".") and not path.name.endswith((PARTIAL_SUFFIX, ".tmp"))]

    def _whose(self, job: str, records: dict[str, _Record]) -> tuple[str, int] | None:
        """The work unit and the attempt that a job belongs to."""
        if job in records:
            return job, 1
        if (parts := _JOB.fullmatch(job)) and (record := records.get(parts[1] + parts[3])) and int(parts[2]) <= record.attempt:
            return parts[1] + parts[3], int(parts[2])
        return None

    def _ended(self, job: str) -> str:
        """The work unit of a job, when that has ended."""
        parts = _JOB.fullmatch(job)
        names = [job, *([parts[1] + parts[3]] if parts else [])]
        return next((name for name in names if _NAME.fullmatch(name) and (self._over / name).exists()), "")

    def _leave(self, path: Path) -> None:
        if path.name not in self._told:
            self._told.add(path.name)
            _log.warning("%r in the inbox belongs to no work unit that is out, and is left there", path.name)

    # ---- files -----------------------------------------------------------------------------------------------------

    def _record_path(self, name: str) -> Path:
        return self._records_folder / f"{name}.json"

    def _records(self) -> dict[str, _Record]:
        """All records; only those that changed are read again."""
        found: dict[str, tuple[tuple[int, int], _Record]] = {}
        with suppress(FileNotFoundError), os.scandir(self._records_folder) as entries:
            for entry in entries:
                name = entry.name.removesuffix(".json")
                if not _NAME.fullmatch(name):
                    continue
                with suppress(FileNotFoundError):  # acknowledged meanwhile
                    stat = entry.stat()
                    mark = (stat.st_mtime_ns, stat.st_ino)
                    known = self._cache.get(name)
                    found[name] = known if known and known[0] == mark else (mark, _read(Path(entry.path)))
        self._cache = found
        self._current = {name: record for name, (_, record) in found.items()}
        return self._current

    def _record(self, name: str) -> _Record | None:
        try:
            return _read(self._record_path(name))
        except FileNotFoundError:
            return None

    def _write(self, name: str, record: _Record) -> None:
        write_atomically(self._record_path(name), msgspec.json.encode(record))
        self._current[name] = record
        self._cache.pop(name, None)

    def _end(self, name: str) -> None:
        """Forget a work unit. First of all it is over, so that after a kill what is left in the inbox is dropped."""
        record = self._record(name)
        if record is None:
            return
        write_atomically(self._over / name, b"")
        self._record_path(name).unlink(missing_ok=True)
        for job in _jobs(name, record.attempt):
            for suffix in _SUFFIXES:
                (self._inbox / f"{job}{suffix}").unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Once a day forget what ended long ago, and remove what a kill left half written."""
        if self._now() < self._next_sweep:
            return
        self._next_sweep = self._now() + _SWEEP_SECONDS
        sweep_partials(self._records_folder, self._over)
        with suppress(FileNotFoundError), os.scandir(self._over) as entries:
            for entry in entries:
                if self._now() - entry.stat().st_mtime > _OVER_SECONDS:
                    Path(entry.path).unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time polls, acknowledges or cancels. ``submit`` only adds names, and waits for nobody."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with self._lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _job(name: str, attempt: int) -> str:
    """The name of a work unit's BOINC job."""
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise ValueError(f"{name!r} is not the name of a work unit")
    return name if attempt == 1 else f"{parts[1]}-r{attempt}{parts[2]}"


def _jobs(name: str, attempt: int) -> list[str]:
    return [_job(name, number) for number in range(1, attempt + 1)]


def _span(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _read(path: Path) -> _Record:
    """The record of a work unit. Raises ``FileNotFoundError`` when it is gone; an unreadable one is given up, unless its result comes."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Record)
    except msgspec.DecodeError as error:
        _log.warning("%s: its record is unreadable (%s)", path.stem, error)
        return _Record(source="", gave_up=True, reason="its record on the disk became unreadable")
