"""An embedded XtalTrak of any size: plates of 288 drops, each imaged ten times, in the order in which imagers would fill it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.images import database_time

_COLUMNS, _ROWS, _SUBWELLS = 12, 8, (1, 3, 4)
DROPS = _COLUMNS * _ROWS * len(_SUBWELLS)
#: So many plates are in the imagers at a time; then the next ones come.
PLATES = 50
INSPECTIONS = 10
#: After so many images every drop among them has been imaged for the last time.
GENERATION = DROPS * PLATES * INSPECTIONS
_FIRST_DAY = datetime(2010, 1, 4, 6)
_CHUNK = 20_000
#: One drop of so many is scored by a person, between generator and finalizer.
PEOPLE = 200


def rows(start: int) -> Iterator[dict[str, Any]]:
    """Every image that there could be from the ``start``-th, counted from 0, on; INSPECTIDs count them from 1."""
    yield from islice(_rows_from(start // GENERATION), start % GENERATION, None)


def _rows_from(generation: int) -> Iterator[dict[str, Any]]:
    while True:
        for number in range(1, INSPECTIONS + 1):
            for plate in range(PLATES):
                barcode = f"CI{generation * PLATES + plate:06d}"
                taken = _FIRST_DAY + timedelta(days=generation * 14 + number, minutes=10 * plate)
                yield from _inspection(barcode, number, taken)
        generation += 1


def _inspection(barcode: str, number: int, taken: datetime) -> Iterator[dict[str, Any]]:
    common = {"barcode": barcode, "number": number, "taken_at": database_time(taken)}
    start = f"RMM3_01_222_ROBO_Test1_Clon1_CI_0000{barcode}_{number:03d}_{taken:%y%m%d}"
    for column in range(1, _COLUMNS + 1):
        for row in range(1, _ROWS + 1):
            for subwell in _SUBWELLS:
                name = f"{start}_{column:02d}_{row:02d}_{subwell:02d}_HF_99_030_001_RDI.jpg"
                yield {**common, "col": column, "row": row, "subwell": subwell, "image_name": name}


def fill(xtaltrak: XtalTrak, start: int, count: int) -> None:
    """Bring the images from the ``start``-th on in, with the statements by which the embedded XtalTrak is loaded."""
    found = islice(rows(start), count)
    while some := list(islice(found, _CHUNK)):
        plates = {row["barcode"]: {"barcode": row["barcode"]} for row in some}
        inspections = {(row["barcode"], row["number"]): {key: row[key] for key in ("barcode", "number", "taken_at")} for row in some}
        with xtaltrak.transaction():
            xtaltrak.executemany("insert_plate", plates.values())
            xtaltrak.executemany("insert_plate_inspection", inspections.values())
            xtaltrak.executemany("insert_inspection", some)
            xtaltrak.executemany("insert_image", some)


def people_score(database: Path, first: int, last: int) -> int:
    """A person scores the last inspection of one drop in ``PEOPLE`` of the whole generations from ``first`` to ``last``, counted from 1."""
    inspections = [
        end - number for end in range(GENERATION, last + 1, GENERATION) if end > first for number in range(0, DROPS * PLATES, PEOPLE)
    ]
    connection = sqlite3.connect(database, isolation_level=None, timeout=30)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO I_SCORES (SCOREID, INSPECTID, SCORE, SCOREDATE, SCOREDBY) VALUES (?1, ?1, '01', '2024-01-01 00:00:00', 'Berta')",
            [(inspection,) for inspection in inspections],
        )
        connection.execute("COMMIT")
    finally:
        connection.close()
    return len(inspections)


def count_scores(database: Path, scorer: str) -> int:
    """How many rows of the score table bear that name."""
    connection = sqlite3.connect(database, timeout=30)
    try:
        return int(connection.execute("SELECT COUNT(*) FROM I_SCORES WHERE SCOREDBY = ?", (scorer,)).fetchone()[0])
    finally:
        connection.close()
