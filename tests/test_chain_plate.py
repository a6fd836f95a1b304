"""Real images through the whole chain: every score lands on its own well and subwell, and is the one that `score` gives the file."""

from __future__ import annotations

import csv
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

IMAGES = sorted((Path(__file__).parents[1] / "demo" / "images").glob("*_*.jp*g"))
THRESHOLD = "0.2"  # low, so that nearly every drop gets a score

#: (column, row, subwell) of six images, as a person would place them: D12 c, A01 a, A01 c, H01 d, B10 a, A02 a
PLACES = ((12, 4, 3), (1, 1, 1), (1, 1, 3), (1, 8, 4), (10, 2, 1), (2, 1, 1))


def crystal_search(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "crystal_search", *map(str, arguments)], check=True, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_scores_land_on_the_right_well_and_subwell(tmp_path: Path) -> None:
    plate = tmp_path / "plate"
    plate.mkdir()
    chosen = [image for image in IMAGES if image.stat().st_size < 200_000][: len(PLACES)]
    assert len(chosen) == len(PLACES)
    names = {}
    for image, (column, row, subwell) in zip(chosen, PLACES, strict=True):
        name = f"RMM3_01_222_ROBO_Test1_Clon1_CI_0000CI000077_004_121121_{column:02d}_{row:02d}_{subwell:02d}_00_99_030_001_RDI.jpg"
        shutil.copyfile(image, plate / name)
        names[name] = (column, row, subwell)
    settings = tmp_path / "crystal-search.toml"
    settings.write_text(f"[scoring]\nthreshold = {THRESHOLD}\n[generator]\nimages_per_work_unit = 2\n")
    crystal_search("score", plate, "--out", tmp_path / "scores", "--threshold", THRESHOLD)
    with (tmp_path / "scores" / "scores.csv").open(newline="") as file:
        alone = {row["image"]: row for row in csv.DictReader(file)}

    crystal_search("load", plate, "--settings", settings)
    for stage in ("work-generator", "assimilate", "finalize", "set-autoscore"):
        crystal_search(stage, "--settings", settings, "--once")

    with closing(sqlite3.connect(tmp_path / "xtaltrak.sqlite")) as connection:
        rows = connection.execute(
            "SELECT s.IMAGENAME, i.BARCODEID, i.INSPECTNUMBER, i.COL, i.I_ROW, i.SUBWELL, s.SCORE, s.SCOREDBY, substr(s.SCOREDATE, 1, 10)"
            " FROM I_SCORES s JOIN I_INSPECTIONS i ON i.INSPECTID = s.INSPECTID"
        ).fetchall()
    scored = {name: row["score"] for name, row in alone.items() if row["status"] == "scored"}
    assert len(scored) >= 4, "the threshold is too high for this test to show anything"
    assert {row[0]: row[6] for row in rows} == scored
    assert len(rows) == len(scored)
    for name, barcode, inspection, column, row, subwell, _, scorer, day in rows:
        assert (barcode, inspection, scorer, day) == ("CI000077", 4, "ARTscore", "2012-11-21")
        assert (column, row, subwell) == names[name]
