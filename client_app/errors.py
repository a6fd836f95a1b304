"""What goes wrong with one image, and how a foreign error becomes one line."""

from __future__ import annotations

from crystal_search.errors import CrystalSearchError


class ImageError(CrystalSearchError):
    """One image that can not be scored; the message says why in one line. Other images are not affected."""


def one_line(error: BaseException, limit: int = 300) -> str:
    """A foreign error's kind and message in one line of at most ``limit`` characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:limit].rstrip(": ")
