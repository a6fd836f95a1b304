"""A lab for tests of the viewer: plates of small images in an embedded XtalTrak, ARTscores of every kind in the ledger, a real result."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image, ImageDraw
from sqlalchemy import insert

from crystal_search.archives import FORMAT_VERSION, ImageResult, ModelReference, Results, Status, write_results
from crystal_search.classes import BY_NAME, CLASSES
from crystal_search.ledger import Ledger, open_ledger
from crystal_search.ledger.schema import artscores, batches, images, results, scorings, work_units
from crystal_search.plate import Well
from crystal_search.settings import Settings, load_settings
from crystal_search.xtaltrak.embedded import create_embedded, load_images
from viewer.app import make_app

PLATE, BIG, SMALL = "CI000001", "BIG00001", "NOP00001"
#: A script in a plate's name, as an enemy would write it.
EVIL = "<img src=x onerror=\"document.title='executed'\"><script>document.title='executed'</script>"
FIRST_DAY = datetime(2026, 11, 2)
#: What the drops of a plate are, one after the other in XtalTrak's order: every class, then the two statuses without one.
KINDS = (*(row.name for row in CLASSES if row.name != "rim"), "unsure", "no_drop")
SIZE = (320, 240)


@dataclass(frozen=True)
class PlateOf:
    barcode: str
    columns: int
    rows: int
    subwells: tuple[int, ...]
    inspections: int = 1
    project: str | None = None
    name: str | None = None
    files: int | None = None  # only so many drops have their file; None: all


PLATES = (
    PlateOf(PLATE, 12, 8, (1, 3, 4), 2, "kinases", EVIL),
    PlateOf(BIG, 48, 32, (1,), 1, "phosphatases", files=480),
    PlateOf(SMALL, 6, 4, (1,)),
)


def image_name(barcode: str, number: int, column: int, row: int, subwell: int, profile: str = "HF") -> str:
    day = FIRST_DAY + timedelta(days=7 * (number - 1))
    place = f"{column:02}_{row:02}_{subwell:02}"
    return f"RMM3_01_222_ROBO_T_C_CI_0000{barcode}_{number:03}_{day:%y%m%d}_{place}_{profile}_99_030_001_RDI.jpg"


def drawing(seed: int, size: tuple[int, int] = SIZE) -> bytes:
    """A small well whose drop's place tells ``seed``."""
    image = Image.new("RGB", size, (205, 208, 210))
    draw = ImageDraw.Draw(image)
    x, y = 60 + 23 * seed % 120, 40 + 17 * seed % 80
    draw.ellipse((x, y, x + 120, y + 110), fill=(170, 180, 188), outline=(90, 95, 100), width=3)
    for at in range(seed % 7):
        draw.rectangle((x + 30 + 9 * at, y + 40, x + 36 + 9 * at, y + 47), fill=(60, 62, 70))
    written = BytesIO()
    image.save(written, "JPEG", quality=80)
    return written.getvalue()


@dataclass
class ViewerLab:
    folder: Path
    settings: Settings

    @property
    def database(self) -> Path:
        return self.settings.xtaltrak.database

    def ledger(self) -> Ledger:
        return open_ledger(self.settings.ledger_url)

    def with_viewer(self, **changes: Any) -> ViewerLab:
        """The same lab with other settings of the viewer."""
        viewer = self.settings.viewer.model_copy(update=changes)
        return ViewerLab(self.folder, self.settings.model_copy(update={"viewer": viewer}))

    def execute(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.database, isolation_level=None, timeout=30)) as connection:
            return connection.execute(sql, params).fetchall()

    def id(self, barcode: str, label: str, number: int = 1, subwell: int = 1) -> int:
        well = Well.from_label(label)
        ((found,),) = self.execute(
            "SELECT INSPECTID FROM I_INSPECTIONS WHERE BARCODEID = ? AND INSPECTNUMBER = ? AND COL = ? AND I_ROW = ? AND SUBWELL = ?",
            barcode, number, well.column, well.row, subwell,
        )  # fmt: skip
        return int(found)

    def name(self, inspection_id: int) -> str:
        return str(self.execute("SELECT IMAGENAME FROM I_IMAGES WHERE INSPECTID = ?", inspection_id)[0][0])

    def file(self, inspection_id: int) -> Path:
        (barcode, number), *_ = self.execute("SELECT BARCODEID, INSPECTNUMBER FROM I_INSPECTIONS WHERE INSPECTID = ?", inspection_id)
        return self.settings.paths.images / str(barcode) / str(number) / self.name(inspection_id)

    def scores(self, scorer: str | None = None) -> list[tuple[Any, ...]]:
        """Id, inspection, image, score, date, scorer of the score table, or of one scorer."""
        rows = self.execute("SELECT SCOREID, INSPECTID, IMAGENAME, SCORE, SCOREDATE, SCOREDBY FROM I_SCORES ORDER BY SCOREID")
        return [row for row in rows if scorer is None or row[5] == scorer]

    def person(self, inspection_id: int, score: str, scorer: str | None, score_id: int) -> None:
        """A person scores in XtalTrak itself."""
        self.execute(
            "INSERT INTO I_SCORES VALUES (?, ?, ?, '2026-11-20 10:00:00', ?, ?)",
            score_id,
            inspection_id,
            score,
            self.name(inspection_id),
            scorer,
        )


def make_viewer_lab(folder: Path, plates: Sequence[PlateOf] = PLATES, viewer: str = "scoring = true\n") -> ViewerLab:
    """A lab with those plates. Drop number n of a plate's inspection is ``KINDS[(n + inspection) % 14]``."""
    file = folder / "crystal-search.toml"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(f'[paths]\nstate = "state"\nimages = "images"\n[viewer]\n{viewer}')
    lab = ViewerLab(folder, load_settings(file))
    drawn = [folder / f"drawn{seed}.jpg" for seed in range(14)]
    for seed, path in enumerate(drawn):
        path.write_bytes(drawing(seed))
        os.utime(path, (1_700_000_000, 1_700_000_000))
    for plate in plates:
        for number in range(1, plate.inspections + 1):
            inside = lab.settings.paths.images / plate.barcode / str(number)
            inside.mkdir(parents=True)
            for at, (column, row, subwell) in enumerate(drops(plate)):
                os.link(drawn[at % len(drawn)], inside / image_name(plate.barcode, number, column, row, subwell))
    with create_embedded(lab.settings.xtaltrak) as xtaltrak:
        load_images(xtaltrak, lab.settings.paths.images)
    for plate in plates:
        if plate.files is not None:
            for drop in list(drops(plate))[plate.files :]:
                (lab.settings.paths.images / plate.barcode / "1" / image_name(plate.barcode, 1, *drop)).unlink()
    for number, project in enumerate(sorted({plate.project for plate in plates if plate.project}), 1):
        lab.execute("INSERT INTO PROJECTS VALUES (?, ?)", number, project)
        for plate in plates:
            if plate.project == project:
                lab.execute("UPDATE PLATES SET PROJECT_ID = ? WHERE BARCODE = ?", number, plate.barcode)
    for plate in plates:
        lab.execute("UPDATE PLATES SET PLATE_NAME = ? WHERE BARCODE = ?", plate.name or plate.barcode, plate.barcode)
    _fill_ledger(lab, plates)
    return lab


def drops(plate: PlateOf) -> Iterator[tuple[int, int, int]]:
    """Column, row and subwell of each drop in XtalTrak's order."""
    return product(range(1, plate.columns + 1), range(1, plate.rows + 1), plate.subwells)


def _fill_ledger(lab: ViewerLab, plates: Sequence[PlateOf]) -> None:
    now = datetime(2026, 11, 20, 12)
    found = {(row[0], row[1], row[2], row[3], row[4]): row[5] for row in lab.execute(
        "SELECT BARCODEID, INSPECTNUMBER, COL, I_ROW, SUBWELL, INSPECTID FROM I_INSPECTIONS")}  # fmt: skip
    rows, scores = [], []
    for plate in plates:
        for number in range(1, plate.inspections + 1):
            for at, (column, row, subwell) in enumerate(drops(plate)):
                key = len(rows) + 1
                kind = KINDS[(at + number) % len(KINDS)]
                state = kind if kind in ("unsure", "no_drop") else "scored"
                rows.append(
                    {
                        "id": key, "scoring_id": 1, "batch_id": 1, "work_unit_id": 1, "public_id": key.to_bytes(16, "big"),
                        "inspection_id": found[plate.barcode, number, column, row, subwell],
                        "image_name": image_name(plate.barcode, number, column, row, subwell), "barcode": plate.barcode,
                        "plate_column": column, "plate_row": row, "subwell": subwell, "inspection_number": number, "inspected_at": now,
                        "state": state, "reason": None,
                    }
                )  # fmt: skip
                scores.append(_artscore(key, kind, state, at, now))
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(insert(scorings).values(id=1, model_name="tiny", model_sha256="a" * 64, settings="{}", created_at=now))
        connection.execute(
            insert(batches).values(
                id=1, name="batch-1", scoring_id=1, search="all", priority=0, state="held", created_at=now, changed_at=now
            )
        )
        unit = {"id": 1, "batch_id": 1, "name": "wu_batch-1_1", "state": "assimilated", "created_at": now, "changed_at": now}
        connection.execute(insert(work_units).values(**unit))
        connection.execute(
            insert(results).values(work_unit_id=1, sha256="b" * 64, client_version="1", runtime="test", provider="CPU", received_at=now)
        )
        connection.execute(insert(images), rows)
        connection.execute(insert(artscores), scores)
    (lab.settings.csv).mkdir(parents=True, exist_ok=True)
    (lab.settings.csv / "batch-1.csv").write_text("x\n")
    first = (1).to_bytes(16, "big").hex()
    answer = Results(
        format_version=FORMAT_VERSION, work_unit="wu_batch-1_1", client_version="1", model=ModelReference(name="tiny", sha256="a" * 64),
        runtime="test", provider="CPU", images=[ImageResult(id=first, status=Status.NO_DROP), _seen((2).to_bytes(16, "big").hex())],
    )  # fmt: skip
    write_results(lab.settings.results / "batch-1" / "wu_batch-1_1.zip", answer, {first: drawing(3)})


def _seen(public_id: str) -> ImageResult:
    """The second drop, as a client tells of it: more than the ledger keeps."""
    return ImageResult(
        id=public_id, status=Status.SCORED, drop_box=(60, 40, 260, 200), outline=[(160, 40), (260, 120), (160, 200), (60, 120)],
        class_name=KINDS[2], score=BY_NAME[KINDS[2]].score, probability=0.75, crystal_probability=0.9,
        class_probabilities={row.name: 0.75 if row.name == KINDS[2] else 0.01 for row in CLASSES},
    )  # fmt: skip


def _artscore(key: int, kind: str, state: str, at: int, now: datetime) -> dict[str, Any]:
    scored = state == "scored"
    crystal = 0.9 if scored and BY_NAME[kind].group == "crystal" else 0.05 + 0.01 * (at % 7)
    chop = {"box": [100, 60, 164, 124], "class_name": kind if scored else "clear", "probability": 0.75}
    return {
        "image_id": key,
        "status": state,
        "class_name": kind if scored else None,
        "score": BY_NAME[kind].score if scored else None,
        "probability": 0.75 if scored else None,
        "crystal_probability": None if state == "no_drop" else crystal,
        "drop_box": None if state == "no_drop" else "60,40,260,200",
        "chops": json.dumps([] if state == "no_drop" else [chop]),
        "scored_at": now,
    }


@contextmanager
def running(lab: ViewerLab, name: str = "Berta") -> Iterator[tuple[str, Any]]:
    """The viewer on a free port of this machine: its address and its application."""
    with lab.ledger() as ledger:
        app = make_app(lab.settings, ledger, name)
        config = uvicorn.Config(app, host="127.0.0.1", port=0, proxy_headers=False, log_level="warning")
        listening = config.bind_socket()
        listening.listen(config.backlog)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", app
        finally:
            server.should_exit = True
            thread.join(60)
            listening.close()
