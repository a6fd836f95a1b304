"""The local grid: client processes on this machine, driven by whoever polls. No threads and no database, folders and locks only.

``<spool>/<work unit>/`` holds one work unit:

| file | content |
|---|---|
| ``work_unit.zip`` | what the client reads |
| ``state.json`` | ``_State``, replaced atomically |
| ``lock`` | locked by the living client and by nobody else; holds its process id |
| ``result-<n>.zip`` | what attempt n wrote; a client that died goes on with its attempt's checkpoint, a new attempt starts afresh |
| ``client.log`` | what the client's latest run wrote to stderr |

The kernel drops a lock with its process. So a poller that was killed finds out after its restart which clients outlived it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path

import msgspec

from crystal_search.archives import ArchiveError, open_work_unit
from crystal_search.atomic import sync_folder, write_atomically
from crystal_search.errors import EXIT_SETTINGS, EXIT_TRY_LATER, SettingsError, TryAgainLater
from crystal_search.grid import ARCHIVE_PRIORITY, GaveUp, Refused, Returned, Validator

_log = logging.getLogger(__name__)

CLIENT = (sys.executable, "-m", "client_app")
NICENESS = 10
#: A client that was killed or asked for later goes on where it was; this many times make one failed attempt.
MAX_INTERRUPTIONS = 10
MAX_PAUSE_SECONDS = 300.0
#: Work for a model that the clients here can not serve waits this long before another one is asked.
SETTINGS_PAUSE_SECONDS = 60.0
_STOP_SECONDS = 10.0
_LOG_TAIL = 4096
_REASON_LENGTH = 500
#: A client needs no database.
_SECRETS = {
    "CRYSTAL_SEARCH_LEDGER_URL",
    "CRYSTAL_SEARCH_ORACLE_PASSWORD",
    "CRYSTAL_SEARCH_ORACLE_WALLET_PASSWORD",
    "CRYSTAL_SEARCH_VIEWER_PASSWORD",
}

#: How a client ends that did nothing wrong: stopped with its machine, by its volunteer, or for want of memory.
_INTERRUPTED = {EXIT_TRY_LATER, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}


class _Phase(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    RETURNED = "returned"
    GAVE_UP = "gave_up"


#: What makes clients end with ``EXIT_SETTINGS`` or not: the model's SHA-256 and the step of a work unit.
_Wish = tuple[str, int | None]


class _Refusal(msgspec.Struct, frozen=True):
    attempt: int
    reason: str


class _State(msgspec.Struct, frozen=True):
    """Where one work unit is. ``failures`` counts attempts that failed, so the present one is ``failures + 1``."""

    priority: int = ARCHIVE_PRIORITY
    submitted_at: float = 0.0
    phase: _Phase = _Phase.QUEUED
    failures: int = 0
    interruptions: int = 0  # of the present attempt
    not_before: float = 0.0
    reason: str = ""
    refusals: tuple[_Refusal, ...] = ()  # not acknowledged yet


class LocalGrid:
    """A ``Grid`` whose volunteers are up to ``workers`` processes here, each of ``threads`` threads.

    ``validator`` is needed to poll, not to submit. ``command`` is the client's program, replaceable in tests.
    """

    def __init__(
        self,
        spool: Path,
        *,
        validator: Validator | None = None,
        model: Path | None = None,
        workers: int = 1,
        threads: int = 1,
        attempts: int = 3,
        deadline: float = 1800.0,
        command: Sequence[str] = CLIENT,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._spool = spool
        self._validator = validator
        self._options = ["--nthreads", str(threads), *(["--model", str(model)] if model else [])]
        self._workers = workers
        self._attempts = attempts
        self._deadline = deadline
        self._command = list(command)
        self._now = now
        self._clients: dict[str, subprocess.Popen[bytes]] = {}
        self._progress: dict[str, tuple[float, float]] = {}  # the newest change in a folder, and when it was seen
        self._wishes: dict[str, _Wish] = {}
        self._held: dict[_Wish, tuple[float, str]] = {}  # until when, and the client's last line
        self._complained = False

    # ---- the Grid protocol ---------------------------------------------------------------------------------------

    def submit(self, work_unit: Path, priority: int = ARCHIVE_PRIORITY) -> bool:
        """Queue a work unit ZIP; the file itself is linked or copied, never moved. False when it was there already.

        Raises ``FileNotFoundError`` when there is no such file, ``TryAgainLater`` when the disk is full.
        """
        folder = self._spool / work_unit.stem
        if folder.is_dir():
            return False
        incoming = self._spool / f".incoming-{work_unit.stem}"
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir(parents=True)
        try:
            _link_or_copy(work_unit, incoming / "work_unit.zip")
            _write_state(incoming, _State(priority=priority, submitted_at=self._now()))
            incoming.rename(folder)
            sync_folder(self._spool)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        return True

    def poll(self) -> list[Returned | Refused | GaveUp]:
        """Collect clients that ended, start queued work units, and tell what was not acknowledged yet.

        Raises ``SettingsError`` with a client's line when there is nothing to tell and all that is left waits for another model
        or other settings. Nothing is lost, and such work is tried again after a pause, or at once by a new ``LocalGrid``.
        """
        with self._alone():
            self._sweep()
            states = {folder: self._collect(folder, state) for folder, state in self._entries()}
            self._start_queued(states)
            events = [event for folder in sorted(states) for event in _events(folder, states[folder])]
            if not events:
                self._complain(states)
            return events

    def acknowledge(self, event: Returned | Refused | GaveUp) -> None:
        """Forget a refused result, or the whole work unit when it came back or was given up."""
        folder = self._spool / event.work_unit
        with self._alone():
            if not isinstance(event, Refused):
                self._remove(folder)
            elif folder.is_dir():
                state = _read_state(folder)
                left = tuple(refusal for refusal in state.refusals if _result(folder, refusal.attempt) != event.path)
                _write_state(folder, msgspec.structs.replace(state, refusals=left))
                event.path.unlink(missing_ok=True)

    def cancel(self, name: str) -> None:
        """Stop a work unit's client with its whole process group, and forget the work unit."""
        folder = self._spool / name
        with self._alone():
            if folder.is_dir():
                self._stop(folder)
                self._remove(folder)

    def open_work_units(self) -> int:
        """How many work units are queued or running."""
        return sum(state.phase in (_Phase.QUEUED, _Phase.RUNNING) for _, state in self._entries())

    # ---- what a poll does ----------------------------------------------------------------------------------------

    def _collect(self, folder: Path, state: _State) -> _State:
        """The state after a look at the client: still running, returned, failed, or to be continued."""
        if state.phase is not _Phase.RUNNING:
            return state
        client = self._clients.get(folder.name)
        if client.poll() is None if client else _is_locked(folder):
            if not self._hangs(folder):
                return state
            after = self._ended(folder, state, -signal.SIGKILL, f"no progress for {self._deadline:.0f} s")
        else:
            after = self._ended(folder, state, client.returncode if client else None)
        _write_state(folder, after)
        self._clients.pop(folder.name, None)
        self._progress.pop(folder.name, None)
        return after

    def _hangs(self, folder: Path) -> bool:
        """Whether a client made no progress for too long; it is stopped then, with its whole process group."""
        newest = _last_change(folder)
        before, since = self._progress.get(folder.name, (0.0, 0.0))
        if newest != before or self._now() < since:  # a clock that was set back
            self._progress[folder.name] = (newest, self._now())
            return False
        if self._now() - since <= self._deadline:
            return False
        _log.warning("%s: no progress for %.0f s, its client is stopped", folder.name, self._deadline)
        try:
            self._stop(folder)
        except TryAgainLater as error:  # it waits for a disk or a server, say
            _log.warning("%s", error)
            self._progress[folder.name] = (newest, self._now())
            return False
        return True

    def _ended(self, folder: Path, state: _State, code: int | None, why: str = "") -> _State:
        """The state after a client ended with exit code ``code``; None when it outlived the poller that started it."""
        result = _result(folder, state.failures + 1)
        if result.exists():
            try:
                self._validate(folder.name, result)
            except ArchiveError as error:
                return self._failed(folder, state, str(error), refused=True)
            return msgspec.structs.replace(state, phase=_Phase.RETURNED)
        reason = why or _last_line(folder / "client.log") or f"the client ended without a result or a word (exit code {code})"
        if code == EXIT_SETTINGS:  # every client here would say so, and what is wrong is not the work unit
            if (wish := self._wish(folder)) not in self._held:
                _log.warning("%s: put back, no attempt: %s", folder.name, reason)
            self._held[wish] = (self._now() + SETTINGS_PAUSE_SECONDS, reason)
            return msgspec.structs.replace(state, phase=_Phase.QUEUED, not_before=0.0, reason=reason)
        if self._held:
            self._held.pop(self._wish(folder), None)
        if code is not None and code not in _INTERRUPTED:
            return self._failed(folder, state, reason)
        if state.interruptions >= MAX_INTERRUPTIONS:
            return self._failed(folder, state, f"interrupted {MAX_INTERRUPTIONS + 1} times; the last time: {reason}")
        pause = 0.0 if code is None else min(2.0**state.interruptions, MAX_PAUSE_SECONDS)
        _log.info("%s: client was interrupted, goes on in %.0f s", folder.name, pause)
        return msgspec.structs.replace(
            state, phase=_Phase.QUEUED, interruptions=state.interruptions + 1, not_before=self._now() + pause, reason=reason
        )

    def _failed(self, folder: Path, state: _State, reason: str, refused: bool = False) -> _State:
        """The state after one more failed attempt."""
        reason = " ".join(reason.split())[:_REASON_LENGTH]
        failures = state.failures + 1
        _log.warning("%s: attempt %d of %d failed: %s", folder.name, failures, self._attempts, reason)
        return msgspec.structs.replace(
            state,
            phase=_Phase.QUEUED if failures < self._attempts else _Phase.GAVE_UP,
            failures=failures,
            interruptions=0,
            not_before=0.0,
            reason=reason,
            refusals=(*state.refusals, _Refusal(failures, reason)) if refused else state.refusals,
        )

    def _validate(self, name: str, result: Path) -> None:
        if self._validator is None:
            raise ValueError("a grid without a validator can take work units, but not be polled")
        self._validator(name, result)

    def _start_queued(self, states: dict[Path, _State]) -> None:
        """Fill the free workers: higher priority first, then the oldest."""
        free = self._workers - sum(state.phase is _Phase.RUNNING for state in states.values())
        latest = self._now() + MAX_PAUSE_SECONDS  # a pause beyond it was set by a clock that was wrong
        ready = [
            (-state.priority, state.submitted_at, folder)
            for folder, state in states.items()
            if state.phase is _Phase.QUEUED and not self._now() < state.not_before <= latest
        ]
        for _, _, folder in sorted(ready):
            if free <= 0:
                return
            if self._holds(folder):
                continue
            states[folder] = self._start(folder, states[folder])
            free -= 1

    def _holds(self, folder: Path) -> bool:
        """Whether a client said a moment ago that work like this can not be done here."""
        if not self._held:
            return False
        until, _ = self._held.get(self._wish(folder), (0.0, ""))
        return self._now() < until <= self._now() + SETTINGS_PAUSE_SECONDS

    def _complain(self, states: dict[Path, _State]) -> None:
        """Raise ``SettingsError`` when everything that is left waits for other settings."""
        left = [folder for folder, state in states.items() if state.phase in (_Phase.QUEUED, _Phase.RUNNING)]
        if not self._held or not left or not all(self._wish(folder) in self._held for folder in left):
            self._complained = False
            return
        if not self._complained and any(states[folder].phase is _Phase.RUNNING for folder in left):
            return  # let it say so first; later, one that tries whether it was mended does not count
        self._complained = True
        _, reason = self._held[self._wish(left[0])]
        raise SettingsError(f"{len(left)} work units wait, for the client says: {reason}")

    def _wish(self, folder: Path) -> _Wish:
        if folder.name not in self._wishes:
            try:
                with open_work_unit(folder / "work_unit.zip") as unit:
                    self._wishes[folder.name] = (unit.manifest.model.sha256, unit.manifest.step)
            except ArchiveError:
                self._wishes[folder.name] = (folder.name, None)  # its client will say so
        return self._wishes[folder.name]

    def _start(self, folder: Path, state: _State) -> _State:
        """Start a client that holds the work unit's lock as long as it lives."""
        running = msgspec.structs.replace(state, phase=_Phase.RUNNING)
        _write_state(folder, running)
        with _open_lock(folder) as lock:
            if not _try_lock(lock):
                return running  # a client is at it, though the state did not say so
            os.ftruncate(lock, 0)
            paths = [str(folder / "work_unit.zip"), str(_result(folder, state.failures + 1))]
            try:
                with (folder / "client.log").open("wb") as log:
                    self._clients[folder.name] = subprocess.Popen(
                        [*self._command, *paths, *self._options],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=log,
                        env={key: value for key, value in os.environ.items() if key not in _SECRETS},
                        pass_fds=(lock,),
                        start_new_session=True,
                        preexec_fn=partial(_in_the_child, lock),
                    )
            except OSError as error:
                raise TryAgainLater(f"{folder.name}: can not start the client ({error.strerror or error})") from error
        return running

    # ---- folders -------------------------------------------------------------------------------------------------

    def _entries(self) -> Iterator[tuple[Path, _State]]:
        for folder in sorted(self._spool.iterdir()) if self._spool.is_dir() else []:
            if not re.fullmatch(r"wu_[A-Za-z0-9-]{1,60}_[0-9]{1,9}", folder.name):
                continue
            with contextlib.suppress(FileNotFoundError):  # acknowledged meanwhile
                yield folder, _read_state(folder)

    def _stop(self, folder: Path) -> None:
        """Kill the client's process group; returns when its lock is free. Raises ``TryAgainLater`` when it stays."""
        end = time.monotonic() + _STOP_SECONDS
        while _is_locked(folder):
            content = (folder / "lock").read_bytes()
            if content:  # empty for the instant between the fork and the child's first step
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(int(content), signal.SIGKILL)
            if time.monotonic() > end:
                raise TryAgainLater(f"{folder.name}: its client does not stop")
            time.sleep(0.01)
        if client := self._clients.pop(folder.name, None):
            client.wait()

    def _remove(self, folder: Path) -> None:
        """Remove a work unit's folder in one step, so that a kill leaves no half of it."""
        self._clients.pop(folder.name, None)
        self._wishes.pop(folder.name, None)
        self._progress.pop(folder.name, None)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(self._spool / f".gone-{folder.name}")
        self._sweep()

    def _sweep(self) -> None:
        for leftover in self._spool.glob(".gone-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time changes what is in the spool."""
        self._spool.mkdir(parents=True, exist_ok=True)
        with _open_lock(self._spool) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _last_change(folder: Path) -> float:
    """When anything in a work unit's folder changed last: a checkpoint, the share that is done, the log."""
    newest = 0.0
    for where, _, files in os.walk(folder):
        for path in (Path(where), *(Path(where, file) for file in files)):
            with contextlib.suppress(FileNotFoundError):
                newest = max(newest, path.stat().st_mtime)
    return newest


def _events(folder: Path, state: _State) -> list[Returned | Refused | GaveUp]:
    """What is to be acknowledged, the refused results before the end of their work unit."""
    if state.refusals:
        return [Refused(folder.name, _result(folder, refusal.attempt), refusal.reason) for refusal in state.refusals]
    if state.phase is _Phase.RETURNED:
        return [Returned(folder.name, _result(folder, state.failures + 1))]
    if state.phase is _Phase.GAVE_UP:
        return [GaveUp(folder.name, state.reason)]
    return []


def _result(folder: Path, attempt: int) -> Path:
    return folder / f"result-{attempt}.zip"


def _read_state(folder: Path) -> _State:
    """The state of a work unit. Raises ``FileNotFoundError`` when it is gone; an unreadable state starts the work again."""
    content = (folder / "state.json").read_bytes()
    try:
        return msgspec.json.decode(content, type=_State)
    except msgspec.DecodeError as error:
        _log.warning("%s: state.json is unreadable (%s), the work unit starts again", folder.name, error)
        return _State()


def _write_state(folder: Path, state: _State) -> None:
    write_atomically(folder / "state.json", msgspec.json.encode(state))


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise TryAgainLater(f"{target}: can not be written ({error.strerror})") from error


def _last_line(log: Path) -> str:
    """The last line of a client's log that says something, or an empty string."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_TAIL))
            lines = file.read().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return ""
    return next((line.strip()[:_REASON_LENGTH] for line in reversed(lines) if line.strip()), "")


@contextmanager
def _open_lock(folder: Path) -> Iterator[int]:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield lock
    finally:
        os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_locked(folder: Path) -> bool:
    with _open_lock(folder) as lock:
        return not _try_lock(lock)


def _in_the_child(lock: int) -> None:
    """Between fork and exec: behave towards the machine's owner, and leave word of who holds the lock."""
    os.nice(NICENESS)
    os.write(lock, str(os.getpid()).encode())
