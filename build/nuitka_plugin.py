"""Gives Nuitka the C code that runs before the executable unpacks itself (``onefile_unpack.c``)."""

import sys
from pathlib import Path

from nuitka.plugins.PluginBase import NuitkaPluginBase


class UnpackPlugin(NuitkaPluginBase):  # type: ignore[misc]
    """Nuitka finds it by its base class; the name of the code decides that it goes into the bootstrap and not into the program."""

    plugin_name = "crystal-search-unpack"

    def getExtraCodeFiles(self) -> dict[str, str]:  # noqa: N802
        """The C files by name; none on Windows, where they could not be tried yet."""
        if sys.platform == "win32":
            return {}
        name = "onefile_unpack.c"
        return {name: (Path(__file__).parent / name).read_text(encoding="ascii")}

    def getExtraLinkLibraries(self) -> tuple[str, ...]:  # noqa: N802
        """What that code needs where the C library is older than glibc 2.34."""
        return ("pthread",) if sys.platform == "linux" else ()
