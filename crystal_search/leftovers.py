"""Temporary files that killed programs left behind."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from crystal_search.atomic import PARTIAL_SUFFIX

#: Nobody writes one file for so long.
_OLD_SECONDS = 3600.0


def sweep_partials(*folders: Path) -> int:
    """Remove temporary files of ``atomic_file`` in and below ``folders`` that are older than an hour; returns how many.

    For the start of the service that writes there. What can not be looked at or removed stays.
    """
    removed = 0
    for folder in folders:
        with suppress(OSError):
            for path in folder.rglob(f".*{PARTIAL_SUFFIX}"):
                with suppress(OSError):
                    if path.is_file() and time.time() - path.stat().st_mtime > _OLD_SECONDS:
                        path.unlink()
                        removed += 1
    return removed
