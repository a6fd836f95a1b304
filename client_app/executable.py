"""What the one-file executable knows of its surroundings: where it lies, and what older builds of it left behind.

It unpacks itself into ``<cache>/crystal-search-client/<build>`` at its first start and finds its files there later
(docs/decisions/0013-the-executable.md). In a checkout or an installed package there is no executable, and nothing here does anything.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

#: The folder of all builds in the user's cache; ``build/client.py`` gives it to the build.
CACHE_FOLDER = "crystal-search-client"
#: A build that nobody started for so long has been replaced; should it come back, it unpacks itself again.
FORGET_AFTER_DAYS = 30
#: Its time of change is the last start.
STAMP = "last-used"


def executable_folders() -> tuple[Path, ...]:
    """The folder of the link through which the executable was started, then the folder of the file itself; none without an executable.

    BOINC keeps programs in a project folder and starts them from slot folders, so the two may differ.
    """
    compiled = globals().get("__compiled__")
    if compiled is None:
        return ()
    folders = [Path(compiled.containing_dir)]
    if compiled.original_argv0 and (called := shutil.which(compiled.original_argv0)):
        folders = [Path(called).absolute().parent, Path(called).resolve().parent, *folders]
    return tuple(dict.fromkeys(folders))


def forget_old_builds() -> None:
    """Delete the unpacked files of builds that were not started for 30 days; what can not be deleted is left."""
    if "__compiled__" in globals():
        forget_unused(Path(__file__).resolve().parent.parent, time.time())


def forget_unused(own: Path, now: float) -> None:
    """Mark the unpacked build ``own`` as used at ``now`` (seconds since 1970) and delete its neighbours that were not for 30 days."""
    if own.parent.name != CACHE_FOLDER:  # somebody else's folder: nothing in it is ours to delete
        return
    with contextlib.suppress(OSError):
        (own / STAMP).touch()
        os.utime(own / STAMP, (now, now))
        for build in own.parent.iterdir():
            if build != own and build.is_dir() and _last_used(build) < now - FORGET_AFTER_DAYS * 24 * 3600:
                shutil.rmtree(build, ignore_errors=True)


def _last_used(build: Path) -> float:
    """Seconds since 1970; a folder without a stamp is being unpacked just now, or was last changed when it was."""
    stamp = build / STAMP
    return (stamp if stamp.exists() else build).stat().st_mtime
