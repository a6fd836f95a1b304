"""What every request needs: the settings, the ledger, and a connection to XtalTrak for the thread that asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from crystal_search.errors import TryAgainLater
from crystal_search.ledger import Ledger
from crystal_search.score_codes import ScoreCodes
from crystal_search.settings import Settings
from crystal_search.xtaltrak import Row, XtalTrak, open_xtaltrak
from crystal_search.xtaltrak.person_rows import PeopleScores, open_for_people
from viewer.shared import Shared


class Lab:
    """Settings and databases. XtalTrak is read through connections that can not write: in SQLite one a thread, opened when first needed."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.settings = settings
        self.ledger = ledger
        self.shared = Shared()
        self._local = threading.local()

    @property
    def codes(self) -> ScoreCodes:
        """The site's score of each class."""
        return self.settings.xtaltrak.score_codes

    def query(self, name: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        """The rows of a statement of XtalTrak. A connection that fails is given up, so that the next request opens another one."""
        if self.settings.xtaltrak.dialect == "oracle":  # a thread that kept a connection of the pool would keep it from the others
            with self._for_reading() as pooled:
                return pooled.query(name, params)
        xtaltrak: XtalTrak | None = getattr(self._local, "xtaltrak", None)
        if xtaltrak is None:
            xtaltrak = self._local.xtaltrak = self._for_reading()
        try:
            return xtaltrak.query(name, params)
        except TryAgainLater:
            self._local.xtaltrak = None
            xtaltrak.close()
            raise

    def _for_reading(self) -> XtalTrak:
        xtaltrak = open_xtaltrak(self.settings.xtaltrak)
        xtaltrak.forbid_writes()
        return xtaltrak

    @contextmanager
    def people_scores(self) -> Iterator[PeopleScores]:
        """People's scores for writing, over a connection of its own account: it is opened for one action and closed after it."""
        with open_for_people(self.settings.xtaltrak, self.settings.viewer) as xtaltrak:
            yield PeopleScores(xtaltrak)
