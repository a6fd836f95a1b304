"""The second process of a run: it finalizes and imports the parts that have come back, and a person scores some drops meanwhile."""

from __future__ import annotations

import logging
import shutil
import signal
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from sqlalchemy import func, select

from benchmarks.archive.fill import count_scores, people_score
from benchmarks.archive.report import Span
from benchmarks.archive.spans import Measured
from benchmarks.machine import peak_bytes
from crystal_search.ledger import Ledger, open_ledger
from crystal_search.ledger.schema import BatchState, batches, images
from crystal_search.service import Stop, collect_less_often
from crystal_search.settings import Settings
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.finalize import finalize_round
from finalizer.set_autoscore import set_autoscore_round
from finalizer.watch import Watch


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of XtalTrak from ``start`` to before ``end``, counted from 0, that are in the ledger with their results."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Done:
    """What was done of a part; ``written`` and ``drops`` count from the run's start."""

    spans: list[Span]
    written: int
    drops: int
    peak_bytes: int


@dataclass
class _Importer:
    settings: Settings
    ledger: Ledger
    watch: Watch = field(default_factory=Watch)
    measured: Measured = field(default_factory=Measured)
    imported: int = 0
    drops: int = 0

    def part(self, part: Part) -> Done:
        self.drops += people_score(self.settings.xtaltrak.database, part.start, part.end)
        self.measured.spans.clear()
        with open_xtaltrak(self.settings.xtaltrak) as xtaltrak:
            table = ScoreTable(xtaltrak, self.settings.finalizer.protect)
            with self.measured.span("finalizer", part.start) as finalized:
                finalize_round(self.settings, self.ledger, table, Stop())
                finalized.append(self._images_in(BatchState.APPROVED))
            with self.measured.span("import", part.start) as imported:
                mistakes = set_autoscore_round(self.settings, self.ledger, table, Stop(), watch=self.watch)
                imported += finalized
        assert not mistakes, mistakes
        shutil.rmtree(self.settings.csv, ignore_errors=True)
        written = count_scores(self.settings.xtaltrak.database, table.scorer)
        return Done(list(self.measured.spans), written, self.drops, peak_bytes())

    def _images_in(self, state: BatchState) -> int:
        with self.ledger.read() as connection:
            waiting = select(batches.c.id).where(batches.c.state == state)
            return connection.execute(select(func.count()).where(images.c.batch_id.in_(waiting))).scalar_one()


def import_parts(parts: Connection, settings: Settings) -> None:
    """Import what is sent until None is; a span for each part and stage goes back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    logging.disable(logging.INFO)
    collect_less_often()
    with open_ledger(settings.ledger_url) as ledger:
        importer = _Importer(settings, ledger)
        while (part := parts.recv()) is not None:
            parts.send(importer.part(part))
