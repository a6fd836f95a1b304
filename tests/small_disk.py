"""A disk that tests can fill: a small file system of its own where we may mount one, else one whose writes are refused."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass
class SmallDisk:
    """An empty directory; ``fill`` leaves no free byte there, ``free`` undoes that."""

    path: Path
    real: bool
    patch: pytest.MonkeyPatch

    def fill(self) -> None:
        if self.real:
            with (self.path / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
                while ballast.write(bytes(512)):
                    pass
        else:
            self.patch.setattr(os, "fsync", _no_space)

    def free(self) -> None:
        self.patch.undo()
        (self.path / "ballast").unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, kilobytes: int = 1024) -> Iterator[SmallDisk]:
    """A ``SmallDisk`` at ``path``."""
    path.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path)]
    real = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    patch = pytest.MonkeyPatch()
    try:
        yield SmallDisk(path, real, patch)
    finally:
        patch.undo()
        if real:
            subprocess.run(["umount", "--lazy", str(path)], check=True)


def _no_space(_file: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
