"""Files that are either there whole or not there at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from crystal_search.errors import TryAgainLater

#: Temporary files carry this suffix; a leftover of a killed program may be deleted at any time.
PARTIAL_SUFFIX = ".part"


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the name ``path`` only after the block ended well and its bytes are on the disk.

    On any error the temporary file beside ``path`` is removed and what ``path`` held before stays. A full disk raises
    ``TryAgainLater`` with one line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=PARTIAL_SUFFIX, dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            partial.chmod(0o644)
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TryAgainLater(f"disk full while writing {path}: free some space, then start again; nothing was lost") from error
        raise
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Bring new names in ``folder`` to the disk, where the file system knows how: after a power cut they are there."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` in one step; see ``atomic_file``."""
    with atomic_file(path) as file:
        file.write(content)


def copy_atomically(source: Path, target: Path) -> None:
    """Copy a file to ``target`` in one step; see ``atomic_file``."""
    with source.open("rb") as content, atomic_file(target) as file:
        shutil.copyfileobj(content, file)
