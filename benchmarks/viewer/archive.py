"""A lab for the benchmark: one plate with images of an imager's size, and as many rows of other plates as an archive has."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime

import numpy as np
from PIL import Image, ImageDraw
from sqlalchemy import insert

from crystal_search.archives import (
    FORMAT_VERSION,
    MAX_IMAGES,
    MAX_OUTLINE,
    ChopResult,
    ImageResult,
    ModelReference,
    Results,
    Status,
    work_unit_name,
    write_results,
)
from crystal_search.classes import CLASSES
from crystal_search.ledger import open_ledger
from crystal_search.ledger.schema import artscores, batches, images, scorings, work_units
from crystal_search.settings import Settings
from crystal_search.xtaltrak.embedded import create_embedded, load_images

PLATE = "BENCH001"
COLUMNS, ROWS, SUBWELLS = 12, 8, (1, 3, 4)
SIZE = (2560, 1920)
_DRAWN = 12
#: Other plates have 288 drops at 12 inspections each.
_DROPS, _INSPECTIONS = 288, 12
_FIRST = 1_000_000
_PAGE = 500_000


def image_name(column: int, row: int, subwell: int) -> str:
    place = f"{column:02}_{row:02}_{subwell:02}"
    return f"RMM3_01_222_ROBO_T_C_CI_0000{PLATE}_001_261102_{place}_HF_99_030_001_RDI.jpg"


def make_plate(settings: Settings) -> None:
    """The plate whose page is measured, with ARTscores."""
    folder = settings.paths.images / PLATE / "1"
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [_drawing(seed) for seed in range(_DRAWN)]
    drops = [(column, row, subwell) for column in range(1, COLUMNS + 1) for row in range(1, ROWS + 1) for subwell in SUBWELLS]
    for at, drop in enumerate(drops):
        (folder / image_name(*drop)).write_bytes(drawn[at % _DRAWN])
    with create_embedded(settings.xtaltrak) as xtaltrak:
        load_images(xtaltrak, settings.paths.images)
    now = datetime(2026, 11, 20)
    with open_ledger(settings.ledger_url) as ledger, ledger.begin() as connection:
        connection.execute(insert(scorings).values(id=1, model_name="benchmark", model_sha256="a" * 64, settings="{}", created_at=now))
        batch = {"id": 1, "name": "bench", "scoring_id": 1, "search": "all", "priority": 0, "state": "imported"}
        connection.execute(insert(batches).values(**batch, created_at=now, changed_at=now))
        unit = {"batch_id": 1, "state": "assimilated", "created_at": now, "changed_at": now}
        packs = range(1, -(-len(drops) // MAX_IMAGES) + 1)
        connection.execute(insert(work_units), [{"id": number, "name": work_unit_name("bench", number), **unit} for number in packs])
        rows = [
            {
                "id": at + 1, "scoring_id": 1, "batch_id": 1, "work_unit_id": at // MAX_IMAGES + 1, "inspection_id": at + 1,
                "public_id": at.to_bytes(16, "big"),
                "image_name": image_name(*drop), "barcode": PLATE, "plate_column": drop[0], "plate_row": drop[1], "subwell": drop[2],
                "inspection_number": 1, "state": "scored",
            }
            for at, drop in enumerate(drops)
        ]  # fmt: skip
        connection.execute(insert(images), rows)
        score = {"status": "scored", "class_name": "crystals_harvestable", "score": "23", "probability": 0.9, "crystal_probability": 0.9}
        chops = '[{"box":[900,700,1156,956],"class_name":"crystals_harvestable","probability":0.9}]'
        boxes = {"drop_box": "600,400,1900,1500", "chops": chops, "scored_at": datetime(2100, 1, 1)}
        connection.execute(insert(artscores), [{"image_id": row["id"], **score, **boxes} for row in rows])
    for number in packs:
        name = work_unit_name("bench", number)
        results = Results(
            format_version=FORMAT_VERSION, work_unit=name, client_version="benchmark", runtime="none", provider="none",
            model=ModelReference(name="benchmark", sha256="a" * 64),
            images=[_seen(at) for at in range(len(drops)) if at // MAX_IMAGES + 1 == number],
        )  # fmt: skip
        write_results(settings.results / "bench" / f"{name}.zip", results, {})


def add_archive(settings: Settings, count: int, say: Callable[[str], None]) -> None:
    """Add ``count`` rows of images of other plates, with an ARTscore each, to both databases."""
    for start in range(0, count, _PAGE):
        page = {"start": start, "end": min(count, start + _PAGE), "first": _FIRST, "drops": _DROPS, "inspections": _INSPECTIONS}
        for database, statements in ((settings.xtaltrak.database, _XTALTRAK), (settings.paths.state / "ledger.sqlite", _LEDGER)):
            with closing(sqlite3.connect(database, isolation_level=None, timeout=60)) as connection:
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("BEGIN IMMEDIATE")
                for statement in statements:
                    connection.execute(_NUMBERS + statement, page)
                connection.execute("COMMIT")
        say(f"{page['end']:,} of {count:,} rows".replace(",", " "))


#: n counts images; plate, inspection and drop follow from it, in the order in which imagers write them.
_NUMBERS = """
INSERT OR IGNORE INTO """
_FROM = """
WITH RECURSIVE numbers(n) AS (SELECT :start UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :end),
rows AS (
    SELECT n, :first + n AS id, printf('AR%06d', n / (:drops * :inspections)) AS barcode, n / :drops % :inspections + 1 AS inspection,
        n % :drops / 24 + 1 AS col, n % :drops % 24 / 3 + 1 AS plate_row, (CASE n % 3 WHEN 0 THEN 1 WHEN 1 THEN 3 ELSE 4 END) AS subwell
    FROM numbers
)
"""
_PRINTED = "printf('_%03d_200101_%02d_%02d_%02d_HF_99_030_001_RDI.jpg', inspection, col, plate_row, subwell)"
_NAME = f"'RMM3_01_222_ROBO_T_C_CI_0000' || barcode || {_PRINTED}"
_DATE = "datetime('2020-01-01', '+' || (n / :drops) || ' minutes')"
_XTALTRAK = (
    f"PLATES (BARCODE, PLATE_NAME) {_FROM} SELECT DISTINCT barcode, barcode FROM rows",
    f"I_PLATE_INSPECTIONS {_FROM} SELECT barcode, inspection, MIN({_DATE}), 0, 0 FROM rows GROUP BY barcode, inspection",
    f"I_INSPECTIONS {_FROM} SELECT id, barcode, inspection, {_DATE}, col, plate_row, subwell FROM rows",
    f"I_IMAGES {_FROM} SELECT id, {_NAME} FROM rows",
)
_CHOPS = '[{"box":[900,700,1156,956],"class_name":"clear","probability":0.9}]'
_LEDGER = (
    "images (id, scoring_id, batch_id, work_unit_id, public_id, inspection_id, image_name, barcode, plate_column, plate_row, subwell,"
    f" inspection_number, state) {_FROM}"
    f" SELECT id, 1, 1, 1, NULL, id, {_NAME}, barcode, col, plate_row, subwell, inspection, 'scored' FROM rows",
    "artscores (image_id, status, class_name, score, probability, crystal_probability, drop_box, chops, scored_at)"
    f" {_FROM} SELECT id, 'scored', 'clear', '01', 0.9, 0.05, '600,400,1900,1500', '{_CHOPS}', '2100-01-01 00:00:00.000000' FROM rows",
)


def _seen(at: int) -> ImageResult:
    """What a client says of one drop, with as long an outline as the format takes."""
    angles = np.linspace(0, 2 * np.pi, MAX_OUTLINE, endpoint=False)
    return ImageResult(
        id=at.to_bytes(16, "big").hex(), status=Status.SCORED, drop_box=(600, 400, 1900, 1500),
        outline=[(round(1250 + 600 * x), round(950 + 500 * y)) for x, y in zip(np.cos(angles), np.sin(angles), strict=True)],
        class_name="crystals_harvestable", score="23", probability=0.9, crystal_probability=0.9,
        class_probabilities={row.name: 0.9 if row.code == 23 else 0.123456 for row in CLASSES},
        chops=[ChopResult(box=(900, 700, 1156, 956), class_name="crystals_harvestable", probability=0.9)],
    )  # fmt: skip


def _drawing(seed: int) -> bytes:
    """A well of an imager's size with the noise that makes a JPEG as large as a real one."""
    noise = np.random.default_rng(seed).normal(0, 7, (SIZE[1], SIZE[0], 1))
    image = Image.fromarray(np.clip(200 + noise, 0, 255).astype(np.uint8).repeat(3, axis=2))
    draw = ImageDraw.Draw(image)
    draw.ellipse((600 + 40 * seed, 400, 1500 + 40 * seed, 1400), fill=(170, 178, 186), outline=(80, 85, 90), width=12)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=88)
    return written.getvalue()
