"""The grid: takes work units, gives results back. Nothing outside this package knows which grid it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from crystal_search.models import find_model

if TYPE_CHECKING:
    from crystal_search.grid.boinc import BoincGrid
    from crystal_search.settings import Settings

REALTIME_PRIORITY = 100
ARCHIVE_PRIORITY = 0


@dataclass(frozen=True, slots=True)
class Returned:
    """A valid result archive; its file stays until ``acknowledge``."""

    work_unit: str
    path: Path


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The grid tried a work unit as often as it is allowed to; ``reason`` is the last failure in one line."""

    work_unit: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """One result that was refused and set aside at ``path``; the grid sends the work again by itself."""

    work_unit: str
    path: Path
    reason: str


#: Raises ``ArchiveError`` with one line when the result archive is not a valid answer to the named work unit.
Validator = Callable[[str, Path], None]


class Grid(Protocol):
    """Distribution of work units. Every call is idempotent: after a kill, call it again."""

    def submit(self, work_unit: Path, priority: int = ARCHIVE_PRIORITY) -> bool:
        """Take a work unit ZIP, whose stem is its name; one that the grid has already is left alone, and False returned.

        Raises ``FileNotFoundError`` when there is no such file: the assimilator removes it when the work unit has ended.
        """

    def poll(self) -> Sequence[Returned | Refused | GaveUp]:
        """What came back and was not acknowledged yet; drives a local grid on.

        Raises ``SettingsError`` when nothing came back and nothing will before somebody mends model or settings here.
        """

    def acknowledge(self, event: Returned | Refused | GaveUp) -> None:
        """The event is in the ledger and its file stored: the grid may clean up."""

    def cancel(self, name: str) -> None:
        """Stop and forget a work unit; one that is not there is no error."""

    def open_work_units(self) -> int:
        """How many work units are queued or running."""


def open_grid(settings: Settings, validator: Validator | None = None) -> Grid:
    """The grid that the settings name. Taking work units needs no validator, polling does.

    Raises ``SettingsError`` when the model of the settings is not there: every client would fail; or, to poll, when there is
    no BOINC project.
    """
    from crystal_search.grid.local import LocalGrid  # it needs the types above

    model = find_model(settings.scoring.model)
    if settings.grid.kind == "boinc":
        grid = open_boinc_grid(settings, validator)
        if validator is not None:
            grid.check()
        return grid
    return LocalGrid(
        settings.grid_spool,
        validator=validator,
        model=model.path,
        workers=settings.grid.workers,
        threads=settings.grid.threads,
        attempts=settings.grid.attempts,
        deadline=settings.grid.deadline_seconds,
    )


def open_boinc_grid(settings: Settings, validator: Validator | None = None) -> BoincGrid:
    """The BOINC grid of settings whose ``grid.kind`` is boinc; whether its server is there is not looked at."""
    from crystal_search.grid.boinc import BoincGrid
    from crystal_search.grid.boinc_tools import BoincTools

    assert settings.boinc.project is not None
    tools = BoincTools(settings.boinc.project, settings.boinc.command)
    return BoincGrid(settings.boinc_spool, settings.boinc_inbox, tools, validator=validator, attempts=settings.grid.attempts)
