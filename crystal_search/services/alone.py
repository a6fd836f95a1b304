"""One running instance of a service: a lock in the state folder, which all programs of one installation share."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from crystal_search.errors import SettingsError, TryAgainLater


@contextmanager
def only_instance(state: Path, name: str) -> Iterator[None]:
    """Hold the lock ``<state>/<name>.instance``, which names its holder and dies with the process.

    Raises ``TryAgainLater`` when another instance runs, ``SettingsError`` when the lock can not be made.
    """
    lock = state / f"{name}.instance"
    try:
        state.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise SettingsError(f"paths.state: {error.filename}: can not be used ({error.strerror})") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "it has left no name"
            raise TryAgainLater(f"another {name} runs already ({holder}), and one at a time may: stop it first, or let it work") from None
        os.ftruncate(handle, 0)
        with suppress(OSError):  # the disk is full: the lock holds without a name
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()} since {datetime.now():%Y-%m-%d %H:%M}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
