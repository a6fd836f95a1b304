"""``crystal-search pause`` and ``crystal-search resume``."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import click

from crystal_search.ledger import open_ledger
from crystal_search.ledger.pauses import EVERYTHING, WHAT
from crystal_search.ledger.pauses import pause as note_pause
from crystal_search.ledger.pauses import resume as end_pause
from crystal_search.settings import load_settings

_what = click.argument("what", type=click.Choice(WHAT), default=EVERYTHING)
_settings = click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")


@click.command()
@_what
@_settings
def pause(what: str, settings_file: Path | None) -> None:
    """Let WHAT rest until `crystal-search resume`: a service, the work of one priority, or everything.

    Programs that run end the step they are at; what is out on the grid goes on there and waits to be taken in.
    """
    settings = load_settings(settings_file)
    with open_ledger(settings.ledger_url) as ledger, ledger.begin() as connection:
        new = note_pause(connection, what, user())
    click.echo(f"{what} is paused" if new else f"{what} was paused already")


@click.command()
@_what
@_settings
def resume(what: str, settings_file: Path | None) -> None:
    """Let WHAT go on; without WHAT, all that is paused."""
    settings = load_settings(settings_file)
    with open_ledger(settings.ledger_url) as ledger, ledger.begin() as connection:
        ended = end_pause(connection, what)
    for one in ended:
        click.echo(f"{one} goes on")
    if not ended:
        click.echo("nothing was paused" if what == EVERYTHING else f"{what} was not paused")


def user() -> str:
    """Who runs us, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"
