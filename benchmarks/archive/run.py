"""A whole archive through generator, results, finalizer and import, a part at a time, so that every stage works on a growing archive."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
from sqlalchemy import func, select

from benchmarks.archive.fill import fill, people_score
from benchmarks.archive.report import Report, Span
from benchmarks.archive.stand_ins import SAID, NamesOnly, NoFiles, answer
from benchmarks.machine import Others, machine, peak_bytes
from crystal_search.archives import ModelReference
from crystal_search.grid import REALTIME_PRIORITY
from crystal_search.ledger import Ledger, open_ledger
from crystal_search.ledger.results import find_work_units, record_results
from crystal_search.ledger.schema import WriteState, writes
from crystal_search.models import find_model
from crystal_search.service import Stop
from crystal_search.settings import Paths, Search, Settings, XtalTrak
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.embedded import create_embedded
from crystal_search.xtaltrak.images import database_time
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.finalize import finalize_round
from finalizer.set_autoscore import set_autoscore_round
from work_generator.generate import Generator, run_round

#: As the assimilator notes them together.
_GROUP = 16
_PART = 1_000_000
_NEW = "RMM3_01_222_ROBO_Test1_Clon1_CI_0000NEW1_001_{day:%y%m%d}_01_01_01_HF_99_030_001_RDI.jpg"


class Stopped(Exception):
    """Asked to stop; what was measured is in the report."""


@dataclass
class Archive:
    """The run; ``save`` gets the report as far as it is, after every part of every stage."""

    folder: Path
    images: int
    stop: Stop
    say: Callable[[str], None]
    save: Callable[[Report], None]
    part: int = _PART
    grid: NamesOnly = field(default_factory=NamesOnly)
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.part = min(self.part, max(64, self.images // 3))
        generator = self.settings.generator
        self._begun, self._others = time.monotonic(), Others()
        self.report = Report(
            date=datetime.now(UTC).date().isoformat(),
            machine=machine(),
            stand_ins=SAID,
            images=self.images,
            images_per_work_unit=generator.images_per_work_unit,
            page=generator.page,
            rows_per_transaction=self.settings.finalizer.rows_per_transaction,
            spans=[],
        )

    @property
    def settings(self) -> Settings:
        """The product's defaults, but for the folder, the searches, and a mark at which the generator has queued one part."""
        defaults = Settings()
        page = min(defaults.generator.page, self.part)
        units = -(-page // defaults.generator.images_per_work_unit)
        generator = defaults.generator.model_copy(update={"page": page, "max_open_work_units": units * -(-self.part // page)})
        return defaults.model_copy(
            update={
                "paths": Paths(state=self.folder / "state", images=self.folder / "images"),
                "xtaltrak": XtalTrak(database=self.folder / "xtaltrak.sqlite"),
                "generator": generator,
                "search": [
                    Search(name="new", taken_from=date.today(), priority="realtime"),
                    Search(name="archive"),
                ],
            }
        )

    def run(self) -> None:
        """Raises ``Stopped``."""
        settings = self.settings
        with open_ledger(settings.ledger_url) as ledger:
            self._fill(settings)
            self._first_look(settings, ledger)
            starts = range(0, self.images, self.part)
            for number, start in enumerate(starts):
                end = min(start + self.part, self.images)
                self._generate(settings, ledger, start, with_new_image=number == len(starts) // 2)
                self._take_results(settings, ledger, start)
                drops = people_score(settings.xtaltrak.database, start, end)
                self._finalize(settings, ledger, start)
                self._import(settings, ledger, start)
                shutil.rmtree(settings.csv, ignore_errors=True)
                self._note(withheld_drops=self.report.withheld_drops + drops)
        self._note(finished=True)

    def _fill(self, settings: Settings) -> None:
        with create_embedded(settings.xtaltrak) as xtaltrak:
            for start in range(0, self.images, self.part):
                count = min(self.part, self.images - start)
                with self._span("fill", start) as rows:
                    fill(xtaltrak, start, count)
                    rows.append(count)

    def _first_look(self, settings: Settings, ledger: Ledger) -> None:
        begun = time.monotonic()
        self._round(settings.model_copy(update={"search": settings.search[:1]}), ledger)
        self._note(first_look_seconds=time.monotonic() - begun)

    def _generate(self, settings: Settings, ledger: Ledger, start: int, with_new_image: bool) -> None:
        arrived: list[float] = []
        waited: list[float] = []

        def submitted(priority: int) -> None:
            if priority == REALTIME_PRIORITY:
                waited.append(time.monotonic() - arrived[0])
            elif with_new_image and not arrived and len(self.grid.names) > 1:
                _new_image(settings)
                arrived.append(time.monotonic())

        self.grid.submitted = submitted
        with self._span("generator", start) as rows:
            while self._round(settings, ledger):
                pass
            rows.append(len(self.grid.names) * settings.generator.images_per_work_unit)
        if arrived and not waited:
            self._round(settings, ledger)
        if waited:
            self._note(real_time_seconds=waited[0])

    def _round(self, settings: Settings, ledger: Ledger) -> bool:
        if self.stop.is_set():
            raise Stopped
        with open_xtaltrak(settings.xtaltrak) as xtaltrak:
            return run_round(Generator(settings, ledger, xtaltrak, self.grid, self.stop, store=NoFiles()))

    def _take_results(self, settings: Settings, ledger: Ledger, start: int) -> None:
        """As ``assimilate`` does, but for the archives."""
        model = find_model(settings.scoring.model)
        reference = ModelReference(name=model.name, sha256=model.sha256)
        names = list(self.grid.names)
        with self._span("results", start) as rows:
            for at in range(0, len(names), _GROUP):
                self._go_on()
                with ledger.read() as connection:
                    known = find_work_units(connection, names[at : at + _GROUP])
                answers = [(unit, answer(unit, reference), "0" * 64) for unit in known.values()]
                with ledger.begin() as connection:
                    record_results(connection, answers)
                rows.append(sum(len(unit.images) for unit in known.values()))
        self.grid.names.clear()

    def _finalize(self, settings: Settings, ledger: Ledger, start: int) -> None:
        with self._span("finalizer", start) as rows, open_xtaltrak(settings.xtaltrak) as xtaltrak:
            finalize_round(settings, ledger, ScoreTable(xtaltrak, settings.finalizer.protect), self.stop)
            rows.append(self._last("results"))
        self._go_on()

    def _import(self, settings: Settings, ledger: Ledger, start: int) -> None:
        with self._span("import", start) as rows, open_xtaltrak(settings.xtaltrak) as xtaltrak:
            mistakes = set_autoscore_round(settings, ledger, ScoreTable(xtaltrak, settings.finalizer.protect), self.stop)
            rows.append(self._last("results"))
        assert not mistakes, mistakes
        self._go_on()
        with ledger.read() as connection:
            count = connection.execute(select(func.count()).where(writes.c.state == WriteState.WRITTEN)).scalar_one()
        self._note(written=count)

    def _last(self, stage: str) -> int:
        return [span.rows for span in self.report.spans if span.stage == stage][-1]

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise Stopped

    @contextmanager
    def _span(self, stage: str, first: int) -> Iterator[list[int]]:
        """Measures its block; the block says how many rows it had."""
        rows: list[int] = []
        begun, processor = time.monotonic(), time.process_time()
        yield rows
        seconds, processor = time.monotonic() - begun, time.process_time() - processor
        span = Span(stage=stage, first=first, rows=sum(rows), seconds=seconds, processor_seconds=processor)
        self._note(spans=[*self.report.spans, span])
        self.say(f"{stage}: rows {first} to {first + span.rows}, {span.rows / seconds:.0f} rows/s, {1e6 * seconds / max(1, span.rows):.1f} us a row")

    def _note(self, **changes: object) -> None:
        xtaltrak, ledger = self.settings.xtaltrak.database, self.folder / "state" / "ledger.sqlite"
        self.report = msgspec.structs.replace(
            self.report,
            total_seconds=time.monotonic() - self._begun,
            others_busy=self._others.busy(),
            peak_bytes=peak_bytes(),
            xtaltrak_bytes=_size(xtaltrak),
            ledger_bytes=_size(ledger),
            **changes,
        )
        self.save(self.report)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _new_image(settings: Settings) -> None:
    """An imager takes an image of today."""
    now = datetime.now()
    row = {"barcode": "NEW1", "number": 1, "taken_at": database_time(now), "col": 1, "row": 1, "subwell": 1}
    with open_xtaltrak(settings.xtaltrak) as xtaltrak:
        xtaltrak.executemany("insert_inspection", [row])
        xtaltrak.executemany("insert_image", [{**row, "image_name": _NEW.format(day=now)}])
