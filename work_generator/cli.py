"""``crystal-search work-generator``."""

from __future__ import annotations

from pathlib import Path

import click

from crystal_search.grid import open_grid
from crystal_search.ledger import open_ledger
from crystal_search.service import Stop, run_service
from crystal_search.settings import load_settings
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.images import Key
from work_generator.generate import Generator, prepare, run_round


@click.command()
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
@click.option("--once", is_flag=True, help="Do what can be done now, then end.")
@click.option("--rescan", is_flag=True, help="Read every search from the beginning: images may match that did not before.")
@click.option("--retry-refused", is_flag=True, help="Try refused images again: their files may be there now.")
def work_generator(settings_file: Path | None, once: bool, rescan: bool, retry_refused: bool) -> None:
    """Send the images that the search patterns find to the grid.

    A search goes on where it ended. An image that is refused (file missing, empty or unreadable, name malformed) is noted in the
    ledger with the reason, and the rest goes out; `crystal-search status` tells the reasons.
    """
    settings = load_settings(settings_file)
    grid = open_grid(settings)
    positions: dict[str, Key] = {}
    to_prepare = rescan or retry_refused

    with open_ledger(settings.ledger_url) as ledger:

        def one_round(stop: Stop) -> bool:
            nonlocal to_prepare
            with open_xtaltrak(settings.xtaltrak) as xtaltrak:
                generator = Generator(settings, ledger, xtaltrak, grid, stop, positions)
                if to_prepare:
                    prepare(generator, rescan=rescan, retry_refused=retry_refused)
                    to_prepare = False
                return run_round(generator)

        run_service("work-generator", one_round, once, settings.generator.poll_seconds)
