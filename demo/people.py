"""People's scores in the demo: written as XtalTrak itself would, so that it shows what becomes of drops that somebody has scored."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from crystal_search.plate import Well
from demo.plates import REAL_PLATE, SYNTHETIC_PLATE

#: (plate, inspection, well, score, person): at the latest inspection, at an earlier one, a real drop, another opinion.
_SCORES = (
    (REAL_PLATE, 1, "A02", "23", "alice"),
    (SYNTHETIC_PLATE, 1, "B01", "01", "bob"),
    (SYNTHETIC_PLATE, 2, "D01", "13", "alice"),
    (SYNTHETIC_PLATE, 2, "A02", "31", "carol"),
)


def enter_peoples_scores(database: Path) -> int:
    """Enter the scores that are not there yet into the embedded XtalTrak, under numbers of the vendor's; how many people gave in all."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for number, (plate, inspection, label, score, person) in enumerate(_SCORES, 1):
            well = Well.from_label(label)
            connection.execute(
                "INSERT OR IGNORE INTO I_SCORES (SCOREID, INSPECTID, SCORE, SCOREDATE, IMAGENAME, SCOREDBY)"
                " SELECT ?, i.INSPECTID, ?, datetime(i.INSPECTDATE, '+1 day'), m.IMAGENAME, ?"
                " FROM I_INSPECTIONS i JOIN I_IMAGES m ON m.INSPECTID = i.INSPECTID"
                " WHERE i.BARCODEID = ? AND i.INSPECTNUMBER = ? AND i.COL = ? AND i.I_ROW = ?",
                (number, score, person, plate, inspection, well.column, well.row),
            )
    return len(_SCORES)


def peoples_scores(database: Path, our_scorer: str) -> dict[int, str]:
    """The newest score of a person for each INSPECTID."""
    with closing(sqlite3.connect(database)) as connection:
        return dict(
            connection.execute(
                "SELECT INSPECTID, SCORE FROM I_SCORES WHERE SCOREDBY IS NULL OR SCOREDBY <> ? ORDER BY SCOREDATE, SCOREID", (our_scorer,)
            ).fetchall()
        )


def our_scores(database: Path, our_scorer: str) -> set[tuple[str, int, Well]]:
    """Plate, inspection and well of every ARTscore that is in XtalTrak's score table."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT i.BARCODEID, i.INSPECTNUMBER, i.COL, i.I_ROW FROM I_SCORES s JOIN I_INSPECTIONS i ON i.INSPECTID = s.INSPECTID"
            " WHERE s.SCOREDBY = ?",
            (our_scorer,),
        ).fetchall()
    return {(plate, number, Well(column, row)) for plate, number, column, row in rows}
