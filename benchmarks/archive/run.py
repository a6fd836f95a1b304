"""A whole archive through generator, results, finalizer and import, a part at a time, so that every stage works on a growing archive."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from assimilator.assimilate import GROUP
from benchmarks.archive.fill import fill
from benchmarks.archive.importing import Importer
from benchmarks.archive.report import Report
from benchmarks.archive.spans import Measured, line
from benchmarks.archive.stand_ins import SAID, NamesOnly, NoFiles, answer
from benchmarks.machine import Others, machine, peak_bytes
from crystal_search.archives import ModelReference
from crystal_search.grid import REALTIME_PRIORITY
from crystal_search.ledger import Ledger, open_ledger
from crystal_search.ledger.results import find_work_units, record_results
from crystal_search.models import find_model
from crystal_search.service import Stop
from crystal_search.settings import Paths, Search, Settings, XtalTrak
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.embedded import create_embedded
from crystal_search.xtaltrak.images import database_time
from work_generator.generate import run_round
from work_generator.generator import Generator

PART = 1_000_000
_NEW = "RMM3_01_222_ROBO_Test1_Clon1_CI_0000NEW1_001_{day:%y%m%d}_01_01_01_HF_99_030_001_RDI.jpg"


class Stopped(Exception):
    """Asked to stop; what was measured is in the report."""


def settings_of(folder: Path, part: int) -> Settings:
    """The product's defaults, but for the folder, the searches, and a mark at which the generator has queued one part."""
    defaults = Settings()
    page = min(defaults.generator.page, part)
    units = -(-page // defaults.generator.images_per_work_unit)
    generator = defaults.generator.model_copy(update={"page": page, "max_open_work_units": units * -(-part // page)})
    return defaults.model_copy(
        update={
            "paths": Paths(state=folder / "state", images=folder / "images"),
            "xtaltrak": XtalTrak(database=folder / "xtaltrak.sqlite"),
            "generator": generator,
            "search": [Search(name="new", taken_from=date.today(), priority="realtime"), Search(name="archive")],
        }
    )


@dataclass
class Archive:
    """The run; ``save`` gets the report as far as it is, after every part of every stage."""

    folder: Path
    images: int
    stop: Stop
    say: Callable[[str], None]
    save: Callable[[Report], None]
    grid: NamesOnly = field(default_factory=NamesOnly)
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.part = min(PART, max(64, -(-self.images // 3)))
        self.settings = settings_of(self.folder, self.part)
        self._begun, self._others = time.monotonic(), Others()
        self._measured = Measured()
        self._said = 0
        self.report = Report(
            date=datetime.now(UTC).date().isoformat(),
            machine=machine(),
            stand_ins=SAID,
            images=self.images,
            images_per_work_unit=self.settings.generator.images_per_work_unit,
            page=self.settings.generator.page,
            rows_per_transaction=self.settings.finalizer.rows_per_transaction,
            spans=[],
        )

    def run(self) -> None:
        """Raises ``Stopped``."""
        with open_ledger(self.settings.ledger_url) as ledger:
            self._fill()
            self._first_look(ledger)
            importer = Importer(self.settings, ledger, self._measured, self.stop)
            starts = range(0, self.images, self.part)
            for number, start in enumerate(starts):
                self._generate(ledger, start, with_new_image=number == len(starts) // 2)
                self._take_results(ledger, start)
                importer.part(start, min(start + self.part, self.images))
                self._note(written=importer.written, withheld_drops=importer.drops)
                self._go_on()
        self._note(finished=True)

    def _fill(self) -> None:
        with create_embedded(self.settings.xtaltrak) as xtaltrak:
            for start in range(0, self.images, self.part):
                self._go_on()
                count = min(self.part, self.images - start)
                with self._measured.span("fill", start) as rows:
                    fill(xtaltrak, start, count)
                    rows.append(count)
                self._note()

    def _first_look(self, ledger: Ledger) -> None:
        begun = time.monotonic()
        self._round(self.settings.model_copy(update={"search": self.settings.search[:1]}), ledger)
        self._note(first_look_seconds=time.monotonic() - begun)

    def _generate(self, ledger: Ledger, start: int, with_new_image: bool) -> None:
        arrived: list[float] = []
        waited: list[float] = []

        def submitted(priority: int) -> None:
            if priority == REALTIME_PRIORITY:
                waited.append(time.monotonic() - arrived[0])
            elif with_new_image and not arrived and len(self.grid.names) > 1:
                _new_image(self.settings)
                arrived.append(time.monotonic())

        self.grid.submitted = submitted
        page, a_unit = self.settings.generator.page, self.settings.generator.images_per_work_unit
        with self._measured.span("generator", start) as rows:
            while self._round(self.settings, ledger):
                pass
            self._go_on()
            units_of_a_page = -(-page // a_unit)
            rows.append(min(page * -(-len(self.grid.names) // units_of_a_page), self.images - start))
        if arrived and not waited:
            self._round(self.settings, ledger)
        self._note(**({"real_time_seconds": waited[0]} if waited else {}))

    def _round(self, settings: Settings, ledger: Ledger) -> bool:
        self._go_on()
        with open_xtaltrak(settings.xtaltrak) as xtaltrak:
            return run_round(Generator(settings, ledger, xtaltrak, self.grid, self.stop, store=NoFiles()))

    def _take_results(self, ledger: Ledger, start: int) -> None:
        """As ``assimilate`` does, but for the archives."""
        model = find_model(self.settings.scoring.model)
        reference = ModelReference(name=model.name, sha256=model.sha256)
        names = list(self.grid.names)
        with self._measured.span("results", start) as rows:
            for at in range(0, len(names), GROUP):
                self._go_on()
                with ledger.read() as connection:
                    known = find_work_units(connection, names[at : at + GROUP])
                answers = [(unit, answer(unit, reference), "0" * 64) for unit in known.values()]
                with ledger.begin() as connection:
                    record_results(connection, answers)
                rows.append(sum(len(unit.images) for unit in known.values()))
        self.grid.names.clear()
        self._note()

    def _go_on(self) -> None:
        if self.stop.is_set():
            raise Stopped

    def _note(self, **changes: object) -> None:
        """Save the report as it is by now."""
        for span in self._measured.spans[self._said :]:
            self.say(line(span))
        self._said = len(self._measured.spans)
        self.report = msgspec.structs.replace(
            self.report,
            spans=list(self._measured.spans),
            total_seconds=time.monotonic() - self._begun,
            others_busy=self._others.busy(),
            peak_bytes=peak_bytes(),
            xtaltrak_bytes=_size(self.settings.xtaltrak.database),
            ledger_bytes=_size(self.folder / "state" / "ledger.sqlite"),
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
