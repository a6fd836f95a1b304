"""What to say when a library of an extra is missing."""

from __future__ import annotations

import importlib.util

from crystal_search.errors import SettingsError


def missing(what: str, needed: str | None) -> SettingsError:
    """The error of ``what``, a command or an option, that needs a library of the extra ``training``: a line with the README's command."""
    return SettingsError(f"{what} needs {needed}: in the project's folder, .venv/bin/pip install -c requirements.lock -e '.[training]'")


def require(what: str, *modules: str) -> None:
    """Raises :func:`missing` for the first of ``modules`` that is not installed, before any work is done that would be lost."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise missing(what, module)
