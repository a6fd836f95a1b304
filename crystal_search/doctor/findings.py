"""What a check finds, how bad it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from crystal_search.errors import EXIT_DONE, EXIT_SETTINGS, EXIT_SOME_FAILED, EXIT_TRY_LATER


class Severity(StrEnum):
    """From harmless to worst."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    AWAY = "away"


_EXIT = {Severity.OK: EXIT_DONE, Severity.WARNING: EXIT_SOME_FAILED, Severity.ERROR: EXIT_SETTINGS, Severity.AWAY: EXIT_TRY_LATER}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table. ``forbids_writing``: no score is written until it is remedied."""

    check: str
    severity: Severity
    what: str
    remedy: str = ""
    forbids_writing: bool = False


def ok(check: str, what: str) -> Finding:
    return Finding(check, Severity.OK, what)


def warning(check: str, what: str, remedy: str) -> Finding:
    return Finding(check, Severity.WARNING, what, remedy)


def error(check: str, what: str, remedy: str, *, forbids_writing: bool = False) -> Finding:
    return Finding(check, Severity.ERROR, what, remedy, forbids_writing)


def exit_code(findings: Iterable[Finding]) -> int:
    """0 all is well, 1 something is worth a look, 3 something has to be changed, 4 the database or the images are away."""
    order = list(Severity)
    worst = max((finding.severity for finding in findings), key=order.index, default=Severity.OK)
    return _EXIT[worst]
