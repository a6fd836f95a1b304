"""Started by BOINC itself, without its wrapper: which archives are meant, and how BOINC hears what became of them.

BOINC runs a program in a *slot*, a folder that holds ``init_data.xml`` and, under the names that the project's templates give, the
work unit. A program that ends there without a word is started again, a hundred times over.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from crystal_search.errors import EXIT_DONE, EXIT_TRY_LATER

#: What the project's templates call the work unit and the result.
ARCHIVES = (Path("in.zip"), Path("out.zip"))
#: How long BOINC waits before it starts a program again that could not go on.
PAUSE_SECONDS = 300

_INIT_DATA = Path("init_data.xml")
_FINISHED = Path("boinc_finish_called")
_GO_ON_LATER = Path("boinc_temporary_exit")


def is_here() -> bool:
    """Whether the current folder is a slot of BOINC's."""
    return _INIT_DATA.is_file()


def tell_boinc(code: int) -> int:
    """Leave word in the slot that the program ended with ``code``; returns the exit code that goes with it.

    Work that is done, and work that is to be gone on with after a pause, both end with 0; any other code makes BOINC report an error.
    Where no word can be left (a full disk) BOINC starts the program again, which finds its checkpoint or its result.
    """
    if code == EXIT_DONE:
        with suppress(OSError):
            _FINISHED.touch()
    elif code == EXIT_TRY_LATER:
        with suppress(OSError):
            _GO_ON_LATER.write_text(f"{PAUSE_SECONDS}\ncrystal-search-client: goes on later\n", encoding="ascii")
        return EXIT_DONE
    return code
