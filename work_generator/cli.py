"""``crystal-search work-generator``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from crystal_search import services
from crystal_search.grid import open_grid
from crystal_search.ledger import Ledger
from crystal_search.ledger.schema import ImageState
from crystal_search.models import check_model, find_model
from crystal_search.service import Stop
from crystal_search.settings import load_settings
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.images import Key
from work_generator.generate import prepare, run_round
from work_generator.generator import Generator


@click.command()
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
@click.option("--once", is_flag=True, help="Do what can be done now, then end.")
@click.option("--rescan", is_flag=True, help="Read every search from the beginning: images may match that did not before.")
@click.option("--retry-refused", is_flag=True, help="Try refused images again: their files may be there now.")
@click.option("--retry-failed", is_flag=True, help="Send failed images again, those too whose work the grid gave up.")
def work_generator(settings_file: Path | None, once: bool, rescan: bool, retry_refused: bool, retry_failed: bool) -> None:
    """Send the images that the search patterns find to the grid.

    A search goes on where it ended. An image that is refused (file missing, empty or unreadable, name malformed) is noted in the
    ledger with the reason, and the rest goes out; `crystal-search status` tells the reasons. Once what was wrong is mended,
    --retry-refused and --retry-failed let the images that stopped go out again.
    """
    settings = load_settings(settings_file)
    check_model(find_model(settings.scoring.model), settings.scoring.step)
    grid = open_grid(settings)
    positions: dict[str, Key] = {}
    marks: dict[int, tuple[int, int]] = {}
    did: Counter[str] = Counter()
    said: dict[int, str] = {}
    retry = [state for state, asked in ((ImageState.REFUSED, retry_refused), (ImageState.FAILED, retry_failed)) if asked]
    to_prepare = True

    def one_round(stop: Stop, ledger: Ledger) -> bool:
        nonlocal to_prepare
        with open_xtaltrak(settings.xtaltrak) as xtaltrak:
            generator = Generator(settings, ledger, xtaltrak, grid, stop, positions, marks=marks, did=did, said=said)
            if to_prepare:
                prepare(generator, rescan=rescan, retry=retry)
                to_prepare = False
            return run_round(generator)

    services.run(settings, "work-generator", one_round, once, alone=False)
    if once and not did and not any(said.values()):
        click.echo("nothing to do: the searches find no image that is not in the ledger, and no work waits to go out")
