"""A small lab for tests of the work generator: settings, a model's name, images on disk, an embedded XtalTrak, a grid that only takes."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from PIL import Image
from sqlalchemy import RowMapping, text

from crystal_search.archives import Manifest, open_work_unit, sha256_hex
from crystal_search.grid import ARCHIVE_PRIORITY, GaveUp, Refused, Returned
from crystal_search.ledger import Ledger, open_ledger
from crystal_search.settings import Settings, load_settings
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.embedded import create_embedded, load_images
from work_generator.generate import run_round
from work_generator.generator import Generator

#: What the work generator looks at in a model, whose networks hold their own names.
MODEL_TOML = f"""name = "tiny"
threshold = 0.85
[drop]
file = "drop.onnx"
sha256 = "{sha256_hex(b"drop")}"
[chops]
file = "chops.onnx"
sha256 = "{sha256_hex(b"chops")}"
steps = [16, 50]
"""

Drops = Iterable[tuple[int, int, int]]

SIX_DROPS = tuple(product((1, 2), (1, 2, 3), (1,)))


def image_name(column: int, row: int, subwell: int, *, barcode: str = "CI022987", number: int = 3, profile: str = "HF") -> str:
    return (
        f"RMM3_01_222_ROBO_Test1_Clon1_CI_0000{barcode}_{number:03}_121121_{column:02}_{row:02}_{subwell:02}_{profile}_99_030_001_RDI.jpg"
    )


def picture(seed: int, kind: str = "JPEG", size: tuple[int, int] = (24, 16), **options: object) -> bytes:
    """A small image whose pixels tell ``seed``."""
    image = Image.new("RGB", size, (seed % 256, seed // 256 % 256, 77))
    image.paste((255, 255, 255), (2, 3, 9, 8))
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


@dataclass
class TakingGrid:
    """Keeps what it is given, as the local grid does before it is polled."""

    folder: Path
    submitted: list[tuple[str, int]] = field(default_factory=list)
    before: Callable[[str], None] = lambda name: None

    def submit(self, work_unit: Path, priority: int = ARCHIVE_PRIORITY) -> bool:
        self.before(work_unit.stem)
        target = self.folder / work_unit.name
        if target.exists():
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(work_unit, target.with_suffix(".part"))
        target.with_suffix(".part").rename(target)
        self.submitted.append((work_unit.stem, priority))
        return True

    def poll(self) -> list[Returned | Refused | GaveUp]:
        return []

    def acknowledge(self, event: Returned | Refused | GaveUp) -> None:
        raise NotImplementedError

    def cancel(self, name: str) -> None:
        (self.folder / f"{name}.zip").unlink(missing_ok=True)

    def open_work_units(self) -> int:
        return len(self.manifests())

    def manifests(self) -> list[Manifest]:
        found = []
        for path in sorted(self.folder.glob("*.zip")):
            with open_work_unit(path) as unit:
                for image in unit.manifest.images:
                    unit.read_image(image)
                found.append(unit.manifest)
        return found


@dataclass
class Lab:
    folder: Path
    grid: TakingGrid
    settings: Settings

    @property
    def settings_file(self) -> Path:
        return self.folder / "crystal-search.toml"

    def image(self, *drop: int) -> Path:
        return self.settings.paths.images / "CI022987" / "3" / image_name(*drop)

    def ledger(self) -> Ledger:
        return open_ledger(self.settings.ledger_url)

    def round(self, now: Callable[[], float] = time.monotonic) -> bool:
        """One round of the work generator with everything opened anew, as after a restart."""
        with self.ledger() as ledger, open_xtaltrak(self.settings.xtaltrak) as xtaltrak:
            return run_round(Generator(self.settings, ledger, xtaltrak, self.grid, now=now))

    def rows(self, query: str) -> list[RowMapping]:
        with self.ledger() as ledger, ledger.read() as connection:
            return list(connection.execute(text(query)).mappings())

    def assimilated(self) -> None:
        """All that is out has come back."""
        with self.ledger() as ledger, ledger.begin() as connection:
            connection.execute(text("UPDATE work_units SET state = 'assimilated' WHERE state = 'submitted'"))
        for path in (*self.grid.folder.glob("*.zip"), *self.settings.work_units.glob("*.zip")):
            path.unlink()

    def counts(self, table: str = "images") -> dict[str, int]:
        return {row["state"]: row["count"] for row in self.rows(f"SELECT state, count(*) AS count FROM {table} GROUP BY state")}

    def reasons(self) -> dict[str, str]:
        return {row["image_name"]: row["reason"] for row in self.rows("SELECT image_name, reason FROM images WHERE state = 'refused'")}

    def sent_images(self) -> list[str]:
        """The names of the images whose random ids are in the grid's work units, once for each time."""
        names = {
            row["public_id"].hex(): row["image_name"] for row in self.rows("SELECT public_id, image_name FROM images") if row["public_id"]
        }
        return sorted(names[image.id] for manifest in self.grid.manifests() for image in manifest.images)


def make_lab(folder: Path, drops: Drops = SIX_DROPS, settings: str = "") -> Lab:
    """A lab with one inspection of those drops of plate CI022987, all in the embedded XtalTrak."""
    model = folder / "model"
    model.mkdir(parents=True)
    (model / "model.toml").write_text(MODEL_TOML)
    for network in ("drop", "chops"):
        (model / f"{network}.onnx").write_text(network)
    file = folder / "crystal-search.toml"
    file.write_text(f'[paths]\nstate = "state"\nimages = "images"\n[scoring]\nmodel = "model"\n{settings}')
    lab = Lab(folder, TakingGrid(folder / "taken"), load_settings(file))
    for seed, drop in enumerate(drops):
        lab.image(*drop).parent.mkdir(parents=True, exist_ok=True)
        lab.image(*drop).write_bytes(picture(seed))
    with create_embedded(lab.settings.xtaltrak) as xtaltrak:
        load_images(xtaltrak, lab.settings.paths.images)
    return lab
