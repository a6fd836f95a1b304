"""Several generators at once: each works under a name of its own, whose leases are the next one's when it dies.

A name is that of this machine and a number, the lowest that nobody holds; a lock on a file in the state folder holds it, and dies
with its process.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crystal_search.errors import SettingsError, TryAgainLater
from crystal_search.ledger import Ledger, leases

#: Generators at a time on one state folder; disk and grid have enough long before.
MAX_GENERATORS = 64


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one generator for one round; ``number`` is from 1."""

    number: int
    folder: Path

    @property
    def owner(self) -> str:
        return _owner(self.number)


@contextmanager
def take_slot(state: Path) -> Iterator[Slot]:
    """The lowest number that is free. Raises ``SettingsError``, ``TryAgainLater`` when none is or the folder is away."""
    folder = state / "generators"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise SettingsError(f"paths.state: {state} is not a folder") from error
    except OSError as error:
        raise TryAgainLater(f"{folder}: can not be made ({error.strerror}); try again later") from error
    for number in range(1, MAX_GENERATORS + 1):
        with _locked(folder, number) as ours:
            if ours:
                yield Slot(number, folder)
                return
    raise TryAgainLater(f"{folder}: {MAX_GENERATORS} work generators are at work; try again later")


def adopt(ledger: Ledger, slot: Slot) -> None:
    """Make the leases of dead generators of this machine free, so that nobody has to wait until they run out."""
    with ledger.read() as connection:
        others = leases.owners(connection) - {slot.owner}
    numbers = {_owner(number): number for number in range(1, MAX_GENERATORS + 1)}
    for other in others & numbers.keys():
        with _locked(slot.folder, numbers[other]) as dead:
            if dead:
                with ledger.begin() as connection:
                    leases.release(connection, other)


def _owner(number: int) -> str:
    return f"{socket.gethostname()[:100]}/{number}"


@contextmanager
def _locked(folder: Path, number: int) -> Iterator[bool]:
    """Hold the lock of a number; False when somebody else does."""
    handle = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
