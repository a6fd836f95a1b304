"""The assimilator's commands: ``assimilate`` drives the grid and takes in what comes back, ``validate-service`` answers BOINC's entry
scripts, ``retention`` deletes what has had its time.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import click

from assimilator.assimilate import assimilate as assimilate_events
from assimilator.compare import DEFAULT_TOLERANCE
from assimilator.retention import delete_expired, expired
from assimilator.service import DEFAULT_ADDRESS, ValidationServer
from assimilator.validate import validator
from crystal_search import services
from crystal_search.errors import SettingsError, TryAgainLater, UsageError
from crystal_search.grid import open_grid
from crystal_search.ledger import Ledger, open_existing_ledger
from crystal_search.ledger.results import utc_now
from crystal_search.leftovers import sweep_partials
from crystal_search.service import Stop, stopped_by_signals
from crystal_search.settings import load_settings

#: While work is out, the pause between two looks at the grid: its clients wait for us to start the next one.
_POLL_SECONDS = 0.2
#: A look at a long queue takes a while; the pause is at least this many times as long.
_PAUSE_FACTOR = 10
#: Retention counts in days.
_RETENTION_SECONDS = 3600.0
#: So often the validation service looks whether its listener lives.
_LOOK_SECONDS = 5.0


def pause_after(seconds: float, longest: float) -> float:
    """Seconds until the next look at the grid; the last one took ``seconds``, perhaps to create a hundred work units of many."""
    return max(_POLL_SECONDS, min(_PAUSE_FACTOR * seconds, longest))


@click.command()
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
@click.option("--once", is_flag=True, help="End when the grid has nothing left, instead of looping.")
def assimilate(settings_file: Path | None, once: bool) -> None:
    """Take results from the grid into results/ and the ledger."""
    settings = load_settings(settings_file)
    log = logging.getLogger("assimilate")
    grid = open_grid(settings, validator(settings.work_units))
    sweep_partials(settings.results, settings.refused)
    last = 0

    def one_round(stop: Stop, ledger: Ledger) -> bool:
        nonlocal last
        begun = time.monotonic()
        try:
            events = assimilate_events(settings, ledger, grid, stop)
        except SettingsError as error:
            if once:
                raise
            raise TryAgainLater(str(error)) from error  # somebody may mend the model meanwhile
        still_out = grid.open_work_units()
        if still_out != last:
            log.info("work units out: %d", still_out)
        last = still_out
        if not events and still_out:
            stop.wait(pause_after(time.monotonic() - begun, settings.generator.poll_seconds))
        return bool(events or still_out)

    services.run(settings, "assimilate", one_round, once)


@click.command()
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
@click.option("--once", is_flag=True, help="End after one look, instead of looking every hour.")
@click.option("--dry-run", is_flag=True, help="List what would be deleted, and delete nothing.")
def retention(settings_file: Path | None, once: bool, dry_run: bool) -> None:
    """Delete results whose time is over: settings [retention]. Scores stay."""
    settings = load_settings(settings_file)
    if dry_run:
        with open_existing_ledger(settings.ledger_url) as ledger:
            files = list(expired(settings, ledger, utc_now()))
        for file in files:
            click.echo(f"{file.path}  {file.size} bytes  {file.why}")
        click.echo(f"files: {len(files)}, {sum(file.size for file in files) / 1e6:.1f} MB")
        return

    def one_round(stop: Stop, ledger: Ledger) -> bool:
        return bool(delete_expired(settings, ledger, utc_now(), stop)) and not once

    services.run(settings, "retention", one_round, once, alone=False, seconds=_RETENTION_SECONDS)


@click.command(name="validate-service")
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
@click.option(
    "--listen", default=":".join(map(str, DEFAULT_ADDRESS)), show_default=True, help="Address and port; it is for the internal network."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=DEFAULT_TOLERANCE,
    show_default=True,
    help="How far the probabilities of two results of one work unit may be apart.",
)
@click.option("--connections", type=click.IntRange(1, 4096), default=256, show_default=True, help="Requests at a time; more have to wait.")
@click.option(
    "--spool", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Folder for results being looked at [default: /tmp]."
)
def validate_service(settings_file: Path | None, listen: str, tolerance: float, connections: int, spool: Path | None) -> None:
    """Say whether results are valid, to BOINC's entry scripts, over HTTP."""
    settings = load_settings(settings_file)
    log = logging.getLogger("validate")
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise UsageError(f"--listen {listen!r}: not an address and a port, such as 127.0.0.1:8470")
    try:
        server = ValidationServer((host, int(port)), settings.work_units, tolerance=tolerance, connections=connections, spool=spool)
    except OSError as error:
        raise TryAgainLater(f"--listen {listen}: can not listen there ({error.strerror})") from error
    with stopped_by_signals() as stop:
        thread = threading.Thread(target=server.serve_forever, name="requests", daemon=True)
        thread.start()
        log.info("listening on %s:%d", *server.server_address[:2])
        while thread.is_alive() and not stop.wait(_LOOK_SECONDS):
            pass
        server.stop()
    log.info("stopped by a signal")
