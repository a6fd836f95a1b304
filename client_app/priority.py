"""The volunteer's own programs come first."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

#: The last of all niceness levels. Linux derives the priority of reading and writing files from it.
NICEST = 19
#: Windows' names for its priority classes.
_IDLE, _BELOW_NORMAL = 0x40, 0x4000


def lower_priority() -> None:
    """Give way to every other program of this computer; nothing happens where that is not permitted or already so."""
    if sys.platform == "win32":
        _lower_on_windows()
    else:
        with suppress(OSError):
            os.nice(max(0, NICEST - os.getpriority(os.PRIO_PROCESS, 0)))


def _lower_on_windows() -> None:
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.windll.kernel32
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        kernel.GetPriorityClass.argtypes = [ctypes.c_void_p]
        kernel.SetPriorityClass.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        this = kernel.GetCurrentProcess()
        if kernel.GetPriorityClass(this) != _IDLE:  # BOINC may have set it, and below normal would be more
            kernel.SetPriorityClass(this, _BELOW_NORMAL)
