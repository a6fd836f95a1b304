"""The finalizer's commands: two services, and what a person says to them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from crystal_search import services
from crystal_search.doctor.examine import what_forbids_writing
from crystal_search.doctor.guard import WriteGuard
from crystal_search.errors import EXIT_SOME_FAILED, CrystalSearchError, TryAgainLater, UsageError
from crystal_search.ledger import Ledger, open_existing_ledger, open_ledger
from crystal_search.ledger.batches import batch_named, batches_in, move_batch
from crystal_search.ledger.schema import BatchState
from crystal_search.leftovers import sweep_partials
from crystal_search.pausing import user
from crystal_search.service import Stop
from crystal_search.settings import Settings, load_settings
from crystal_search.xtaltrak import open_xtaltrak
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.batch_csv import BatchCsvError, csv_lines, says_write
from finalizer.digest.cli import DailyDigest
from finalizer.finalize import finalize_round
from finalizer.own_copies import counts_line
from finalizer.reconcile import reconcile as compare
from finalizer.set_autoscore import difference, set_autoscore_round
from finalizer.undo import undo_batch, what_undo_would_do
from finalizer.watch import Watch

_settings_option = click.option(
    "--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml."
)
_once_option = click.option("--once", is_flag=True, help="End when nothing is left to do now, instead of looping.")


@contextmanager
def _score_table(settings: Settings) -> Iterator[ScoreTable]:
    """Opened for each round, so that a service outlives its database's night."""
    with open_xtaltrak(settings.xtaltrak) as xtaltrak:
        yield ScoreTable(xtaltrak, settings.finalizer.protect)


@click.command()
@_settings_option
@_once_option
def finalize(settings_file: Path | None, once: bool) -> None:
    """Write the CSV of every batch that has come back."""
    settings = load_settings(settings_file)
    sweep_partials(settings.csv)

    daily = DailyDigest(settings)

    def one_round(stop: Stop, ledger: Ledger) -> None:
        with _score_table(settings) as table:
            finalize_round(settings, ledger, table, stop, once)
        if not once and not stop.is_set():
            daily.if_due(ledger)

    services.run(settings, "finalize", one_round, once, tells_of_ledger=True)


@click.command()
@click.argument("batch", required=False)
@_settings_option
def approve(batch: str | None, settings_file: Path | None) -> None:
    """Let the CSV of BATCH into XtalTrak; without BATCH, list what waits for approval."""
    settings = load_settings(settings_file)
    with open_existing_ledger(settings.ledger_url) as ledger:
        if batch is None:
            _list_held(settings, ledger)
            return
        with ledger.begin() as connection:
            found = batch_named(connection, batch)
            if found.state is not BatchState.HELD:
                raise UsageError(f"batch {batch} is {found.state}, it does not wait for approval")
            if not (path := settings.csv / f"{batch}.csv").exists():
                raise UsageError(f"{path}: is not there, so nobody can have looked at it; `crystal-search finalize` writes it anew")
            if not move_batch(connection, found, BatchState.APPROVED, approved_by=user()):
                raise TryAgainLater(f"batch {batch}: another program moved it at the same moment, it is not approved; try again")
    click.echo(f"batch {batch} is approved; set-autoscore writes it")


def _list_held(settings: Settings, ledger: Ledger) -> None:
    with ledger.read() as connection:
        held = batches_in(connection, BatchState.HELD)
    for found in held:
        path = settings.csv / f"{found.name}.csv"
        click.echo(f"{found.name}  {_rows_to_write(path)} rows to write  {path}")
    if not held:
        click.echo("no batch waits for approval")


def _rows_to_write(path: Path) -> str:
    try:
        return str(sum(map(says_write, csv_lines(path))))
    except BatchCsvError:
        return "unknown"


@click.command("set-autoscore")
@_settings_option
@_once_option
@click.option("--dry-run", is_flag=True, help="Print what would change, and change nothing.")
def set_autoscore(settings_file: Path | None, once: bool, dry_run: bool) -> None:
    """Write the scores of approved batches into XtalTrak, beside people's and never over them."""
    settings = load_settings(settings_file)
    if dry_run:
        with open_ledger(settings.ledger_url) as ledger, _score_table(settings) as table:
            for finding in what_forbids_writing(settings.xtaltrak, table.xtaltrak):
                click.echo(f"nothing would be written: {finding.what}")
            for line in difference(settings, ledger, table):
                click.echo(line)
    else:
        _import_loop(settings, once)


def _import_loop(settings: Settings, once: bool) -> None:
    """With ``once``, a CSV that can not be trusted ends the program after the others are written; else it is logged once.

    So is the same warning.
    """
    log = logging.getLogger("set-autoscore")
    known: set[str] = set()
    warned: set[str] = set()
    guard, watch = WriteGuard(settings.xtaltrak), Watch()

    def warn(line: str) -> None:
        if line not in warned:
            log.warning("%s", line)
        warned.add(line)

    def one_round(stop: Stop, ledger: Ledger) -> None:
        with _score_table(settings) as table:
            guard.check(table.xtaltrak)
            mistakes = set(set_autoscore_round(settings, ledger, table, stop, once, warn, watch))
        if mistakes and once:
            raise CrystalSearchError("\n".join(sorted(mistakes)))
        for line in sorted(mistakes - known):
            log.error("%s", line)
        known.clear()
        known.update(mistakes)

    services.run(settings, "set-autoscore", one_round, once)


@click.command()
@click.argument("batch")
@_settings_option
@click.option("--dry-run", is_flag=True, help="Print what would be taken back, and change nothing.")
def undo(batch: str, settings_file: Path | None, dry_run: bool) -> None:
    """Take back what BATCH wrote into XtalTrak; what changed since, and every person's row, is left alone."""
    settings = load_settings(settings_file)
    with open_existing_ledger(settings.ledger_url) as ledger, _score_table(settings) as table:
        if dry_run:
            for line in what_undo_would_do(settings, ledger, table, batch):
                click.echo(line)
            return
        undone = undo_batch(settings, ledger, table, batch)
    for line in undone.left:
        click.echo(line)
    beside = f"; of ours: {counts_line(undone.copies)} removed" if any(undone.copies.values()) else ""
    click.echo(f"batch {batch}: {undone.taken_back} rows taken back, {len(undone.left)} left{beside}")
    if undone.left:
        raise click.exceptions.Exit(EXIT_SOME_FAILED)


@click.command("reconcile")
@_settings_option
@click.option("--repair", is_flag=True, help="Mend what is ours; what somebody changed stays as it is.")
def reconcile(settings_file: Path | None, repair: bool) -> None:
    """Compare the ledger with XtalTrak: rows of ours that vanished or were changed, and rows that nobody noted."""
    settings = load_settings(settings_file)
    with open_existing_ledger(settings.ledger_url) as ledger, _score_table(settings) as table:
        if repair:
            WriteGuard(settings.xtaltrak).check(table.xtaltrak)
        found = compare(settings, ledger, table, repair, click.echo)
    click.echo(found.summary(repair))
    if found.to_leave or found.to_mend > found.mended:
        raise click.exceptions.Exit(EXIT_SOME_FAILED)
