"""``crystal-search demo``: a plate goes from XtalTrak through the whole chain and back, on embedded defaults."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select
from tqdm import tqdm

from crystal_search.archives import read_overlay
from crystal_search.atomic import write_atomically
from crystal_search.classes import BY_NAME
from crystal_search.errors import CrystalSearchError
from crystal_search.ledger import open_ledger
from crystal_search.ledger.schema import artscores, batches, images, work_units
from crystal_search.plate import Drop, Well
from crystal_search.score_codes import ScoreCodes
from crystal_search.settings import Settings, load_settings
from crystal_search.xtaltrak.embedded import create_embedded, load_images
from demo.people import enter_peoples_scores, our_scores, peoples_scores
from demo.plates import MOST_INSPECTIONS, REAL_PLATE, SYNTHETIC_PLATE, draw_synthetic_plate, place_real_images, truth
from viewer.plate_picture import PlateTile, plate_picture
from viewer.plate_scores import plate_tiles

_SETTINGS = """\
# The demo's settings; `crystal-search settings` prints every key.
[paths]
state = "state"
images = "images"

[xtaltrak]
database = "xtaltrak.sqlite"
um_per_px = { RI = 2.837 }

[[search]]
name = "demo plates"
only_unscored = false  # so that drops which a person scored show both evaluations
priority = "realtime"

[generator]
images_per_work_unit = 8
"""

_IMAGES = Path(__file__).parent / "images"

#: The services in the order in which an image meets them; in a lab each runs for good.
_STAGES = (
    ("work-generator", "rows from XtalTrak -> files on disk -> work units -> grid"),
    ("assimilate", "clients score on this machine; their results are checked and stored"),
    ("finalize", "results and present scores -> CSV"),
    ("set-autoscore", "CSV -> XtalTrak's score table, never over a person's score"),
)


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("demo-output"), show_default=True, help="Where all of it lies."
)
@click.option("--full", is_flag=True, help="96 synthetic wells and three inspections instead of 24 and two.")
def demo(out: Path, full: bool) -> None:
    """Score real and synthetic wells through the whole chain on this machine."""
    console = Console(soft_wrap=True)
    started = time.monotonic()
    settings = _set_up(out)
    wells, inspections = (96, MOST_INSPECTIONS) if full else (24, 2)
    real = place_real_images(_IMAGES, settings.paths.images)
    console.print(
        f"[bold]1[/] Images: {real} real ones (open licences, see NOTICE) and {wells} synthetic wells x {inspections} inspections"
    )
    with tqdm(total=wells, unit="well", desc="  drawing", disable=None) as bar:
        draw_synthetic_plate(settings.paths.images, wells, inspections, bar.update)
    with create_embedded(settings.xtaltrak) as xtaltrak:
        load_images(xtaltrak, settings.paths.images)
    people = enter_peoples_scores(settings.xtaltrak.database)
    console.print(f"[bold]2[/] Embedded XtalTrak: plates {REAL_PLATE} and {SYNTHETIC_PLATE}; people have scored {people} drops")
    before = _scored(settings)
    for number, (command, what) in enumerate(_STAGES, 3):
        console.print(f"[bold]{number}[/] crystal-search {command}: {what}")
        _run(out, command)
    new = _scored(settings) - before
    tiles = _tiles(settings, inspections)
    known = truth(_IMAGES, wells, inspections)
    written = our_scores(settings.xtaltrak.database, settings.xtaltrak.scorer)
    _print_scores(console, tiles, known, written, settings.xtaltrak.score_codes)
    pictures = _draw_pictures(out, tiles, settings.xtaltrak.score_codes)
    _unpack_overlays(settings, out / "overlays")
    _print_end(console, settings, out, pictures, tiles, new, time.monotonic() - started)


def _set_up(out: Path) -> Settings:
    """The demo's folder with its settings file; what an earlier run left is kept."""
    path = out / "crystal-search.toml"
    if not path.exists():
        write_atomically(path, _SETTINGS.encode())
    return load_settings(path)


def _run(out: Path, command: str) -> None:
    """One service as an admin would call it; its log goes to the screen."""
    call = [sys.executable, "-m", "crystal_search", command, "--settings", str(out / "crystal-search.toml"), "--once"]
    if code := subprocess.run(call, check=False).returncode:
        raise CrystalSearchError(
            f"crystal-search {command} ended with exit code {code}; its last lines above say why; `make demo` goes on from there"
        )


def _scored(settings: Settings) -> int:
    """How many images have a result in the ledger."""
    with open_ledger(settings.ledger_url) as ledger, ledger.read() as connection:
        return int(connection.execute(select(func.count()).select_from(artscores)).scalar_one())


def _tiles(settings: Settings, inspections: int) -> dict[tuple[str, int], list[PlateTile]]:
    """What became of each plate's inspections."""
    people = peoples_scores(settings.xtaltrak.database, settings.xtaltrak.scorer)
    with open_ledger(settings.ledger_url) as ledger, ledger.read() as connection:
        plates = [(REAL_PLATE, 1), *((SYNTHETIC_PLATE, number) for number in range(1, inspections + 1))]
        return {(plate, number): plate_tiles(connection, plate, number, settings.paths.images, people) for plate, number in plates}


def _print_scores(
    console: Console,
    tiles: dict[tuple[str, int], list[PlateTile]],
    known: dict[tuple[str, int, Well], str],
    written: set[tuple[str, int, Well]],
    codes: ScoreCodes,
) -> None:
    """One row a drop: the ARTscore, whether it is in XtalTrak's score table, what people said, and what is known of the drop."""
    table = Table(title="ARTscores, what people said, and what is known", header_style="bold", box=box.SIMPLE, padding=(0, 1, 0, 0))
    for column in ("plate", "insp.", "drop", "ARTscore", "prob.", "XtalTrak", "person", "known"):
        # In a narrow terminal a class may take two lines; a cut barcode would be none.
        table.add_column(column, justify="right" if column == "prob." else "left", no_wrap=column != "ARTscore")
    for (plate, number), drops in tiles.items():
        for tile in drops:
            row = BY_NAME[tile.class_name] if tile.class_name else None
            colour = "rgb({},{},{})".format(*row.colour) if row else "default"
            table.add_row(
                plate,
                str(number),
                tile.drop.label,
                f"[{colour}]■[/] {codes.of(row.name)} {row.title}" if row else (tile.status or "not scored").replace("_", " "),
                f"{tile.probability:.2f}" if tile.probability is not None else "",
                "" if row is None else "yes" if (plate, number, tile.drop.well) in written else "withheld",
                tile.person or "",
                known.get((plate, number, tile.drop.well), ""),
            )
        table.add_section()
    console.print(table)
    console.print(
        "withheld: a person has scored that drop, at this inspection or another. known: what was drawn, or the label of a real image."
    )
    for title, chosen in (("synthetic wells", SYNTHETIC_PLATE), ("real images", REAL_PLATE)):
        judged = [
            (_group(tile), known[plate, number, tile.drop.well])
            for (plate, number), drops in tiles.items()
            for tile in drops
            if plate == chosen and (plate, number, tile.drop.well) in known
        ]
        right = sum(group == truth_group or (truth_group == "empty" and group in ("no_drop", "clear")) for group, truth_group in judged)
        unknown = sum(plate == chosen for (plate, _), drops in tiles.items() for _ in drops) - len(judged)
        console.print(f"Group as known: {right} of {len(judged)} {title}" + (f" ({unknown} more without a label)" if unknown else ""))


def _group(tile: PlateTile) -> str | None:
    """The group of a drop's ARTscore, or its status."""
    return BY_NAME[tile.class_name].group.value if tile.class_name else tile.status


def _unpack_overlays(settings: Settings, folder: Path) -> None:
    """The overlays, which lie in the result archives under random names, by plate, inspection and drop."""
    with open_ledger(settings.ledger_url) as ledger, ledger.read() as connection:
        rows = connection.execute(
            select(images, work_units.c.name.label("unit"), batches.c.name.label("batch"))
            .join(work_units, work_units.c.id == images.c.work_unit_id)
            .join(batches, batches.c.id == work_units.c.batch_id)
            .order_by(images.c.scoring_id)
        ).all()
    for row in rows:
        archive = settings.results / row.batch / f"{row.unit}.zip"
        if archive.is_file() and (picture := read_overlay(archive, row.public_id.hex())) is not None:
            drop = Drop(row.barcode, Well(row.plate_column, row.plate_row), row.subwell)
            write_atomically(folder / f"{row.barcode}_{row.inspection_number}_{drop.label}.jpg", picture)


def _draw_pictures(out: Path, tiles: dict[tuple[str, int], list[PlateTile]], codes: ScoreCodes) -> list[Path]:
    pictures = []
    for (plate, number), drops in tiles.items():
        kind = "synthetic wells" if plate == SYNTHETIC_PLATE else "real images"
        path = out / f"{plate}_{number}.png"
        plate_picture(f"{plate}, inspection {number} ({kind})", drops, codes).save(path)
        pictures.append(path)
    return pictures


def _print_end(
    console: Console,
    settings: Settings,
    out: Path,
    pictures: list[Path],
    tiles: dict[tuple[str, int], list[PlateTile]],
    new: int,
    seconds: float,
) -> None:
    counts = Counter(tile.status for drops in tiles.values() for tile in drops)
    console.print(
        "All wells: " + ", ".join(f"{count} {(status or 'not scored').replace('_', ' ')}" for status, count in counts.most_common())
    )
    console.print(f"{new} images scored in this run ({seconds:.0f} s)" if new else "nothing new to score: every image has its result")
    console.print(
        "The shipped model learnt from synthetic wells only: trust its ranking and groups before its classes (models/*/README.md)."
    )
    console.print("Plates with coloured frames:")
    for path in pictures:
        console.print(f"  {path}")
    console.print("Everything else:")
    for what, where in (
        ("settings", out / "crystal-search.toml"),
        ("embedded XtalTrak", settings.xtaltrak.database),
        ("overlays, the best regions drawn", out / "overlays"),
        ("results (ZIP)", settings.results),
        ("CSV files", settings.csv),
        ("ledger", settings.paths.state / "ledger.sqlite"),
    ):
        console.print(f"  {what}: {where}")
    program = Path(sys.argv[0]).parent / "crystal-search"
    console.print(f"How far each stage is: {program} status --settings {out / 'crystal-search.toml'}")
    console.print(
        f"See the plates in a browser: {program} serve --scoring --plate {SYNTHETIC_PLATE} --settings {out / 'crystal-search.toml'}"
    )
    console.print(
        f"It prints the address to open, http://{settings.viewer.host}:{settings.viewer.port}/plates/{SYNTHETIC_PLATE} with a key in it"
    )
