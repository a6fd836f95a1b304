"""Errors that end as one line a lab person can act on, each with the exit code of the program it ends."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_SETTINGS = 3
EXIT_TRY_LATER = 4


class CrystalSearchError(Exception):
    """Anything we can explain in one line; programs print that line, no traceback, and end with ``exit_code``."""

    exit_code = EXIT_SOME_FAILED


class UsageError(CrystalSearchError):
    """The call itself is wrong: a path that does not exist, options that contradict each other."""

    exit_code = EXIT_USAGE


class SettingsError(CrystalSearchError):
    """The settings file or a model folder can not be used; may hold one line for each mistake."""

    exit_code = EXIT_SETTINGS


class TryAgainLater(CrystalSearchError):
    """Something that may pass: a full disk, a database or a server that is away."""

    exit_code = EXIT_TRY_LATER


class Paused(TryAgainLater):
    """An admin has stopped this for a while; the message says by whom, since when, and how it goes on. Nothing is wrong."""
