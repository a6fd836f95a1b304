"""Whoever writes scores asks first whether the database is as rule 6 wants it."""

from __future__ import annotations

import time

from crystal_search import settings
from crystal_search.doctor.examine import what_forbids_writing
from crystal_search.errors import SettingsError
from crystal_search.xtaltrak import XtalTrak

#: A service looks again so often: a trigger may be made while it runs.
_SECONDS = 6 * 3600.0


class WriteGuard:
    """Looks at the start of a program and every six hours."""

    def __init__(self, section: settings.XtalTrak) -> None:
        self._section = section
        self._looked_at: float | None = None

    def check(self, xtaltrak: XtalTrak) -> None:
        """Raises ``SettingsError``, one line for each thing that forbids writing, and ``TryAgainLater``."""
        if self._looked_at is not None and time.monotonic() - self._looked_at < _SECONDS:
            return
        if findings := what_forbids_writing(self._section, xtaltrak):
            lines = [f"no score is written: {finding.what}; {finding.remedy}" for finding in findings]
            raise SettingsError("\n".join(lines))
        self._looked_at = time.monotonic()
