"""The later half of a run: parts that have come back are finalized and imported, and a person scores some drops before."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field

from sqlalchemy import func, select

from benchmarks.archive.fill import count_scores, people_score
from benchmarks.archive.spans import Measured
from crystal_search.ledger import Ledger
from crystal_search.ledger.schema import BatchState, batches, images
from crystal_search.service import Stop
from crystal_search.settings import Settings
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.finalize import finalize_round
from finalizer.set_autoscore import set_autoscore_round
from finalizer.watch import Watch


@dataclass
class Importer:
    """``drops`` counts those that a person has scored, ``written`` our scores."""

    settings: Settings
    ledger: Ledger
    measured: Measured
    stop: Stop
    watch: Watch = field(default_factory=Watch)
    drops: int = 0
    written: int = 0

    def part(self, start: int, end: int) -> None:
        """Finalize and import the rows of XtalTrak from ``start`` to before ``end``, counted from 0."""
        self.drops += people_score(self.settings.xtaltrak.database, start, end)
        with open_xtaltrak(self.settings.xtaltrak) as xtaltrak:
            table = ScoreTable(xtaltrak, self.settings.finalizer.protect)
            with self.measured.span("finalizer", start) as finalized:
                finalize_round(self.settings, self.ledger, table, self.stop)
                finalized += [] if self.stop.is_set() else [self._images_in(BatchState.APPROVED)]
            with self.measured.span("import", start) as imported:
                mistakes = set_autoscore_round(self.settings, self.ledger, table, self.stop, watch=self.watch)
                imported += [] if self.stop.is_set() else finalized
        assert not mistakes, mistakes
        shutil.rmtree(self.settings.csv, ignore_errors=True)
        self.written = count_scores(self.settings.xtaltrak.database, table.scorer)

    def _images_in(self, state: BatchState) -> int:
        with self.ledger.read() as connection:
            waiting = select(batches.c.id).where(batches.c.state == state)
            return connection.execute(select(func.count()).where(images.c.batch_id.in_(waiting))).scalar_one()
