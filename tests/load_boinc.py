"""How many results our side of a BOINC grid takes in: ``python tests/load_boinc.py FOLDER`` prints it, and fails when one is lost.

Synthetic results of 64 images with overlays fall into the inbox a hundred at once, each written by a thread of its own. Counted is the time
from their first byte until the ledger and ``results/`` have them: inbox, validation, copy, ledger, acknowledgement. Making them is not
counted, nor are BOINC's own daemons; the tools are those of ``fake_boinc.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path

from fake_boinc import FakeBoinc
from sqlalchemy import insert, text

from assimilator.assimilate import assimilate
from assimilator.validate import packed_manifest, validator
from crystal_search.archives import (
    FORMAT_VERSION,
    ChopResult,
    ImageResult,
    Manifest,
    ModelReference,
    Results,
    Status,
    WorkImage,
    random_id,
    sha256_hex,
    write_results,
    write_work_unit,
)
from crystal_search.grid import Grid, open_grid
from crystal_search.ledger import Ledger, images, open_ledger
from crystal_search.ledger.results import utc_now
from crystal_search.ledger.schema import batches, work_units
from crystal_search.ledger.schema import images as images_table
from crystal_search.settings import Settings, load_settings

IMAGES = 64
MODEL = ModelReference(name="load", sha256="a" * 64)


def prepared(folder: Path, units: int) -> Settings:
    """Settings of a lab with a fake BOINC project, whose ledger has so many work units out."""
    FakeBoinc(folder / "project")
    (folder / "crystal-search.toml").write_text('[paths]\nstate = "state"\n[grid]\nkind = "boinc"\n[boinc]\nproject = "project"\n')
    settings = load_settings(folder / "crystal-search.toml")
    fill(settings, units)
    return settings


def fill(settings: Settings, units: int, batch_name: str = "load") -> None:
    """A ledger with so many work units out, ``wu_<batch>_<n>``, and these packed."""
    settings.paths.state.mkdir()
    with open_ledger(settings.ledger_url) as ledger, ledger.begin() as connection:
        scoring = images.scoring_id(connection, MODEL, "{}")
        now = utc_now()
        batch = {"id": 1, "name": batch_name, "scoring_id": scoring, "search": "load", "priority": 0, "state": "open"}
        connection.execute(insert(batches).values(**batch, created_at=now, changed_at=now))
        for number in range(1, units + 1):
            name = f"wu_{batch_name}_{number}"
            unit = {"id": number, "batch_id": 1, "name": name, "state": "submitted"}
            connection.execute(insert(work_units).values(**unit, created_at=now, changed_at=now))
            ids = [random_id() for _ in range(IMAGES)]
            where = {"scoring_id": scoring, "batch_id": 1, "work_unit_id": number, "barcode": "L", "state": "in_work"}
            drop = {"plate_column": 1, "plate_row": 1, "subwell": 1, "inspection_number": 1}
            rows = [
                where | drop | {"public_id": bytes.fromhex(i), "inspection_id": number, "image_name": f"{n}"} for n, i in enumerate(ids)
            ]
            connection.execute(insert(images_table), rows)
            asked = [WorkImage(id=i, file=f"{i}.jpg", sha256=sha256_hex(i.encode())) for i in ids]
            manifest = Manifest(format_version=FORMAT_VERSION, name=name, model=MODEL, threshold=0.85, images=asked)
            write_work_unit(settings.work_units / f"{name}.zip", manifest, {image.file: image.id.encode() for image in asked})


def answer(settings: Settings, name: str, overlay: bytes, path: Path) -> None:
    manifest = packed_manifest(settings.work_units, name)
    chops = [ChopResult(box=(n, n, n + 256, n + 256), class_name="clear", probability=0.9) for n in range(5)]
    scored = [
        ImageResult(
            id=image.id,
            status=Status.SCORED,
            drop_box=(0, 0, 900, 900),
            class_name="clear",
            score="01",
            probability=0.9,
            crystal_probability=0.05,
            chops=chops,
        )
        for image in manifest.images
    ]
    results = Results(
        format_version=FORMAT_VERSION,
        work_unit=manifest.name,
        client_version="0",
        model=MODEL,
        runtime="load",
        provider="CPU",
        images=scored,
    )
    write_results(path, results, {image.id: overlay for image in manifest.images})


def upload_at_once(files: list[Path], inbox: Path) -> list[threading.Thread]:
    """Each file comes into the inbox as BOINC's assimilator script brings it: written under another name, synced, renamed."""
    together = threading.Barrier(len(files))

    def bring(file: Path) -> None:
        together.wait()
        partial = inbox / f".{file.name}.part"
        with partial.open("wb") as copy:
            copy.write(file.read_bytes())
            copy.flush()
            os.fsync(copy.fileno())
        partial.rename(inbox / file.name)

    threads = [threading.Thread(target=bring, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    return threads


def taken_in(settings: Settings, ledger: Ledger, grid: Grid, threads: list[threading.Thread], count: int) -> float:
    """Seconds until ``count`` events were taken in."""
    begun = time.monotonic()
    events = 0
    while events < count:
        came = assimilate(settings, ledger, grid)
        events += came
        if not came:
            time.sleep(0.05)
    for thread in threads:
        thread.join()
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty or new folder; needs 2.6 GB for the defaults")
    parser.add_argument("--work-units", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--overlay-kb", type=int, default=20)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    settings = prepared(options.folder, options.work_units)
    grid = open_grid(settings, validator(settings.work_units))
    begun = time.monotonic()
    for path in sorted(settings.work_units.iterdir()):
        grid.submit(path)
    while grid.progress().queued:  # type: ignore[attr-defined]
        grid.poll()
    created = time.monotonic() - begun
    overlay = b"\xff\xd8\xff" + os.urandom(options.overlay_kb * 1024)
    settings.boinc_inbox.mkdir(parents=True, exist_ok=True)
    (options.folder / "made").mkdir()
    bursts: list[float] = []
    processor = 0.0
    with open_ledger(settings.ledger_url) as ledger:
        for first in range(1, options.work_units + 1, options.at_once):
            numbers = range(first, min(first + options.at_once, options.work_units + 1))
            files = [options.folder / "made" / f"wu_load_{number}.zip" for number in numbers]
            for number, file in zip(numbers, files, strict=True):
                answer(settings, f"wu_load_{number}", overlay, file)
            before = time.process_time()
            bursts.append(taken_in(settings, ledger, grid, upload_at_once(files, settings.boinc_inbox), len(files)))
            processor += time.process_time() - before
            for file in files:
                file.unlink()
        with ledger.read() as connection:
            scored = connection.execute(text("SELECT count(*) FROM images WHERE state = 'scored'")).scalar_one()
            artscores = connection.execute(text("SELECT count(*) FROM artscores")).scalar_one()
    stored = len(list(settings.results.glob("*/*.zip")))
    found = {
        "work_units": options.work_units,
        "images": options.work_units * IMAGES,
        "result_mb": round(IMAGES * options.overlay_kb / 1024, 2),
        "seconds_to_create": round(created, 1),
        "seconds_to_take_in": round(sum(bursts), 1),
        "slowest_burst_seconds": round(max(bursts), 1),
        "processor_seconds": round(processor, 1),
        "work_units_an_hour": round(3600 * options.work_units / sum(bursts)),
        "lost": options.work_units - stored,
        "left_in_inbox": len(list(settings.boinc_inbox.iterdir())),
    }
    print(json.dumps(found, indent=1))
    if not scored == artscores == stored * IMAGES == options.work_units * IMAGES:
        sys.exit(f"{scored} images are scored, {artscores} ARTscores and {stored} archives are stored: results were lost")


if __name__ == "__main__":
    main()
