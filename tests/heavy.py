"""Heavy libraries for tests. One that is missing fails its tests: a skip would hide it."""

from __future__ import annotations

import importlib
import warnings
from typing import Any


def heavy(name: str) -> Any:
    """The library, whatever it warns of while it is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)
