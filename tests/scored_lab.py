"""A lab in a folder: an embedded XtalTrak with people in it, a ledger, and batches whose results have come back."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

from crystal_search.archives import (
    FORMAT_VERSION,
    ChopResult,
    ImageResult,
    Manifest,
    ModelReference,
    Results,
    Status,
    WorkImage,
    sha256_hex,
    write_results,
    write_work_unit,
)
from crystal_search.classes import BY_NAME, CRYSTAL_CLASSES
from crystal_search.ledger import Ledger, images, open_ledger
from crystal_search.ledger.batches import batch_named
from crystal_search.ledger.images import OpenUnit, QueuedImage
from crystal_search.ledger.results import find_work_unit, record_result
from crystal_search.ledger.schema import WorkUnitState
from crystal_search.plate import Drop, Inspection, InspectionImage, Well
from crystal_search.service import Stop
from crystal_search.settings import Finalizer, GridSettings, Paths, Settings, XtalTrak
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.embedded import create_embedded
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.finalize import finalize_round
from finalizer.set_autoscore import set_autoscore_round
from finalizer.undo import undo_batch

MODEL = ModelReference(name="tiny", sha256="a" * 64)
FIRST_DAY = datetime(2024, 3, 1, 9, 30)
PROJECT = Path(__file__).resolve().parent.parent

#: An image by the drop's label and the inspection's number.
Shot = tuple[str, int]
ScoreTuple = tuple[int, int, str | None, str | None, str | None, str | None]


def drop_of(label: str, barcode: str = "CI000001") -> Drop:
    """The drop of a label such as ``A01c``."""
    return Drop(barcode, Well.from_label(label[:-1]), ord(label[-1]) - 96)


def image_name(label: str, number: int, barcode: str = "CI000001") -> str:
    drop = drop_of(label, barcode)
    day = taken_at(number)
    place = f"{drop.well.column:02d}_{drop.well.row:02d}_{drop.subwell:02d}"
    return f"RMM3_01_222_ROBO_T_C_CI_0000{barcode}_{number:03d}_{day:%y%m%d}_{place}_HF_99_030_001_RDI.jpg"


def taken_at(number: int) -> datetime:
    return FIRST_DAY + timedelta(days=7 * number)


def image_result(public_id: str, answer: str) -> ImageResult:
    """The result of an image: ``answer`` is a class, or a status."""
    if answer == "failed":
        return ImageResult(id=public_id, status=Status.FAILED, reason="not an image")
    if answer == "no_drop":
        return ImageResult(id=public_id, status=Status.NO_DROP)
    chop = ChopResult(box=(0, 0, 256, 256), class_name="clear", probability=0.5)
    found: dict[str, Any] = {"drop_box": (0, 0, 300, 300), "crystal_probability": 0.25, "chops": [chop]}
    if answer == "unsure":
        return ImageResult(id=public_id, status=Status.UNSURE, **found)
    if answer in CRYSTAL_CLASSES:
        found["crystal_probability"] = 0.90625
    return ImageResult(id=public_id, status=Status.SCORED, class_name=answer, score=BY_NAME[answer].score, probability=0.90625, **found)


def results_of(name: str, answers: Mapping[str, str]) -> Results:
    """A whole answer, by public id."""
    images = [image_result(public_id, answer) for public_id, answer in answers.items()]
    versions = {"client_version": "0", "runtime": "test", "provider": "CPU"}
    return Results(format_version=FORMAT_VERSION, work_unit=name, model=MODEL, images=images, **versions)


@dataclass
class Lab:
    """Paths and settings; every call opens what it needs, so that a lab can be copied, and used after a fork."""

    root: Path
    finalizer: dict[str, Any] = field(default_factory=dict)
    shared: Ledger | None = None  # used instead of opening one for each call

    @property
    def settings(self) -> Settings:
        return Settings(
            paths=Paths(state=self.root / "state", images=self.root / "images"),
            xtaltrak=XtalTrak(database=self.root / "xtaltrak.sqlite"),
            finalizer=Finalizer(**self.finalizer),
            grid=GridSettings(workers=1),
        )

    def create(self) -> Lab:
        create_embedded(self.settings.xtaltrak).close()
        open_ledger(self.settings.ledger_url).close()
        return self

    def copy(self, root: Path) -> Lab:
        shutil.copytree(self.root, root)
        return Lab(root, self.finalizer)

    def ledger(self) -> AbstractContextManager[Ledger]:
        return open_ledger(self.settings.ledger_url) if self.shared is None else nullcontext(self.shared)

    def xtaltrak(self) -> sqlite3.Connection:
        """A connection of somebody who is not us."""
        return sqlite3.connect(self.root / "xtaltrak.sqlite", isolation_level=None, timeout=30)

    def execute(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        connection = self.xtaltrak()
        try:
            return connection.execute(sql, params).fetchall()
        finally:
            connection.close()

    # ---- XtalTrak ----------------------------------------------------------------------------------------------

    def inspect(self, *shots: Shot, barcode: str = "CI000001") -> None:
        """Bring images into XtalTrak, as an imager does."""
        connection = self.xtaltrak()
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT OR IGNORE INTO PLATES (BARCODE, PLATE_NAME) VALUES (?1, ?1)", (barcode,))
            for label, number in shots:
                drop = drop_of(label, barcode)
                row = (barcode, number, taken_at(number).isoformat(sep=" "), drop.well.column, drop.well.row, drop.subwell)
                made = connection.execute(
                    "INSERT INTO I_INSPECTIONS (BARCODEID, INSPECTNUMBER, INSPECTDATE, COL, I_ROW, SUBWELL) VALUES (?,?,?,?,?,?)", row
                )
                connection.execute("INSERT INTO I_IMAGES VALUES (?, ?)", (made.lastrowid, image_name(label, number, barcode)))
        connection.close()

    def inspection(self, label: str, number: int, barcode: str = "CI000001") -> int:
        ((found,),) = self.execute("SELECT INSPECTID FROM I_IMAGES WHERE IMAGENAME = ?", image_name(label, number, barcode))
        return int(found)

    def person(self, label: str, number: int, score: str | None, scorer: str | None = "Berta", *, days: int = 1, image: bool = True) -> int:
        """A person scores, as XtalTrak does it for them; returns the SCOREID."""
        values = (
            self.inspection(label, number),
            score,
            (taken_at(number) + timedelta(days=days)).isoformat(sep=" "),
            image_name(label, number) if image else None,
            scorer,
        )
        number_free = "(SELECT COALESCE(MAX(SCOREID), 0) + 1 FROM I_SCORES WHERE SCOREID < 1000000000)"
        ((made,),) = self.execute(
            "INSERT INTO I_SCORES (SCOREID, INSPECTID, SCORE, SCOREDATE, IMAGENAME, SCOREDBY) "
            f"VALUES ({number_free}, ?, ?, ?, ?, ?) RETURNING SCOREID",
            *values,
        )
        return int(made)

    def scores(self) -> list[ScoreTuple]:
        """The score table: id, inspection, image, score, date, scorer."""
        return self.execute("SELECT SCOREID, INSPECTID, IMAGENAME, SCORE, SCOREDATE, SCOREDBY FROM I_SCORES ORDER BY SCOREID")

    def shown(self) -> dict[str, list[tuple[str | None, str | None]]]:
        """Score and scorer of each drop that has one."""
        rows = self.execute(
            "SELECT IMAGENAME, SCORE, SCOREDBY, COL, I_ROW, SUBWELL FROM I_SCORES JOIN I_INSPECTIONS USING (INSPECTID) ORDER BY SCOREID"
        )
        shown: dict[str, list[tuple[str | None, str | None]]] = {}
        for _, score, scorer, column, row, subwell in rows:
            shown.setdefault(f"{Well(column, row).label}{chr(96 + subwell)}", []).append((score, scorer))
        return shown

    def people(self) -> list[ScoreTuple]:
        return [row for row in self.scores() if row[5] != "ARTscore"]

    # ---- batches -----------------------------------------------------------------------------------------------

    def start(self, *shots: Shot, scoring: str = "{}", barcode: str = "CI000001") -> tuple[OpenUnit, list[QueuedImage]]:
        """Claim images and choose them for one packed work unit, as the work generator does."""
        found = [(self._image(label, number, barcode), None) for label, number in shots]
        with self.ledger() as ledger, ledger.begin() as connection:
            made = images.claim(connection, images.scoring_id(connection, MODEL, scoring), "all", 0, found)
            assert made is not None
            batch = images.next_batch(connection, 0)
            assert batch is not None
            unit = images.start_unit(connection, batch, images.claimed_images(connection, batch, 64))
            images.move_unit(connection, unit, WorkUnitState.PACKING, WorkUnitState.PACKED)
            return unit, images.unit_images(connection, unit)

    def pack(self, unit: OpenUnit, queued: list[QueuedImage]) -> Manifest:
        """The work unit's ZIP."""
        asked = [
            WorkImage(id=str(image.public_id), file=f"{image.public_id}.jpg", sha256=sha256_hex(str(image.id).encode())) for image in queued
        ]
        manifest = Manifest(format_version=FORMAT_VERSION, name=unit.name, model=MODEL, images=asked)
        contents = {work.file: str(image.id).encode() for work, image in zip(asked, queued, strict=True)}
        write_work_unit(self.settings.work_units / f"{unit.name}.zip", manifest, contents)
        return manifest

    def answer(self, path: Path, unit: OpenUnit, queued: list[QueuedImage], answers: Mapping[Shot, str]) -> Path:
        """A result archive at ``path``."""
        by_name = {image_name(*shot): answer for shot, answer in answers.items()}
        write_results(path, results_of(unit.name, {str(image.public_id): by_name[image.image_name] for image in queued}), {})
        return path

    def batch(self, answers: Mapping[Shot, str], scoring: str = "{}", barcode: str = "CI000001") -> str:
        """A batch whose only work unit has come back with these answers."""
        unit, queued = self.start(*answers, scoring=scoring, barcode=barcode)
        by_name = {image_name(*shot, barcode): answer for shot, answer in answers.items()}
        results = results_of(unit.name, {str(image.public_id): by_name[image.image_name] for image in queued})
        with self.ledger() as ledger, ledger.begin() as connection:
            known = find_work_unit(connection, unit.name)
            assert known is not None
            assert record_result(connection, known, results, "f" * 64)
        return unit.batch.name

    def _image(self, label: str, number: int, barcode: str) -> InspectionImage:
        return InspectionImage(
            self.inspection(label, number, barcode),
            image_name(label, number, barcode),
            drop_of(label, barcode),
            Inspection(barcode, number, taken_at(number)),
        )

    # ---- services ----------------------------------------------------------------------------------------------

    def with_table(self, function: Callable[[Settings, Ledger, ScoreTable], Any]) -> Any:
        with open_xtaltrak(self.settings.xtaltrak) as xtaltrak, self.ledger() as ledger:
            return function(self.settings, ledger, ScoreTable(xtaltrak, self.settings.finalizer.protect))

    def finalize(self) -> None:
        self.with_table(lambda settings, ledger, table: finalize_round(settings, ledger, table, Stop()))

    def set_autoscore(self) -> list[str]:
        mistakes: list[str] = self.with_table(lambda settings, ledger, table: set_autoscore_round(settings, ledger, table, Stop()))
        return mistakes

    def finish(self) -> None:
        """Both services, one round each, without a complaint."""
        self.finalize()
        assert self.set_autoscore() == []

    def undo(self, batch: str) -> Any:
        return self.with_table(lambda settings, ledger, table: undo_batch(settings, ledger, table, batch))

    def csv(self, batch: str) -> Path:
        return self.settings.csv / f"{batch}.csv"

    def state(self, batch: str) -> str:
        with self.ledger() as ledger, ledger.read() as connection:
            return batch_named(connection, batch).state

    def ledger_rows(self, sql: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.settings.paths.state / "ledger.sqlite")
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()


# ---- kills --------------------------------------------------------------------------------------------------------

_OURS = tuple(str(PROJECT / room) for room in ("assimilator", "finalizer", "crystal_search"))


def killed_at(line: int, function: Callable[[], object]) -> bool:
    """Run ``function`` in a child that gets SIGKILL at the ``line``-th line of ours that it reaches; whether it was killed."""
    child = os.fork()
    if child == 0:
        _kill_at(line)
        try:
            function()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "it failed by itself"
    return os.WIFSIGNALED(status)


def _kill_at(line: int) -> None:
    left = line

    def trace(frame: FrameType, what: str, _: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        if what == "line":
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def lines_of(function: Callable[[], object]) -> int:
    """How many lines of ours ``function`` runs through."""
    count = 0

    def trace(frame: FrameType, what: str, _: object) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        count += what == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def kill_points(count: int, lines: int, seed: int) -> list[int]:
    """``count`` of ``lines`` lines, spread over all of them."""
    chance = random.Random(seed)
    width = lines / count
    return sorted({1 + int(width * (n + chance.random())) for n in range(count)})
