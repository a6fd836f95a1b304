"""``crystal-search status``: how far each stage is, and why what stopped did so."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Column, Connection, func, select

from crystal_search.ledger import open_existing_ledger
from crystal_search.ledger.schema import BatchState, ImageState, WorkUnitState, batches, images, refusals, work_units, writes
from crystal_search.settings import load_settings

_LAST = 10


@dataclass(frozen=True, slots=True)
class Reason:
    """Why ``count`` images ended as ``state``: what stands before the colon of their reasons, and one of these."""

    state: str
    kind: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class WrittenBatch:
    """What of a batch was written into XtalTrak's score table; the time is UTC."""

    batch: str
    state: str
    rows: int
    last_at: str


@dataclass(frozen=True, slots=True)
class WaitingBatch:
    """A batch that is not in XtalTrak yet, and what brings it on."""

    batch: str
    state: str
    search: str
    next: str


#: What an admin does, or waits for, in each state that is no end.
_NEXT = {
    BatchState.OPEN: "assimilate, then finalize",
    BatchState.HELD: "look at its CSV, then crystal-search approve {batch}",
    BatchState.APPROVED: "set-autoscore",
}


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that ``status`` shows; the counts have every state, in the order in which they are passed through."""

    images: dict[str, int]
    work_units: dict[str, int]
    batches: dict[str, int]
    reasons: list[Reason]
    refused_results: list[Reason]
    last_writes: list[WrittenBatch]
    waiting: list[WaitingBatch]


def read_status(connection: Connection) -> Status:
    """How far each stage is, as the ledger has it. Reads every image's row: seconds with fifteen million."""
    stopped = [ImageState.REFUSED, ImageState.FAILED]
    reasons = connection.execute(
        select(images.c.state, images.c.reason, func.count())
        .where(images.c.state.in_(stopped))
        .group_by(images.c.state, images.c.reason)
        .order_by(images.c.state, images.c.reason)
    )
    set_aside = connection.execute(select(refusals.c.reason, func.count()).group_by(refusals.c.reason).order_by(refusals.c.reason))
    last = func.max(writes.c.written_at)
    written = connection.execute(
        select(batches.c.name, writes.c.state, func.count(), last)
        .join(batches)
        .group_by(batches.c.name, writes.c.state)
        .order_by(last.desc(), batches.c.name.desc())
        .limit(_LAST)
    )
    waiting = connection.execute(
        select(batches.c.name, batches.c.state, batches.c.search)
        .where(batches.c.state.in_([state.value for state in _NEXT]))
        .order_by(batches.c.id)
        .limit(_LAST)
    )
    return Status(
        images=_count(connection, images.c.state, [state.value for state in ImageState]),
        work_units=_count(connection, work_units.c.state, [state.value for state in WorkUnitState]),
        batches=_count(connection, batches.c.state, [state.value for state in BatchState]),
        reasons=_by_kind([(state, reason or "", count) for state, reason, count in reasons]),
        refused_results=_by_kind([("refused", reason, count) for reason, count in set_aside]),
        last_writes=[WrittenBatch(name, state, rows, at.isoformat(sep=" ", timespec="seconds")) for name, state, rows, at in written],
        waiting=[WaitingBatch(name, state, search, _NEXT[BatchState(state)].format(batch=name)) for name, state, search in waiting],
    )


def _count(connection: Connection, column: Column[str], states: list[str]) -> dict[str, int]:
    found = connection.execute(select(column, func.count()).group_by(column))
    return dict.fromkeys(states, 0) | {row[0]: row[1] for row in found}


def _by_kind(reasons: list[tuple[str, str, int]]) -> list[Reason]:
    """Reasons of the same state and kind as one, the most frequent first."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    examples: dict[tuple[str, str], str] = {}
    for state, reason, count in reasons:
        key = (state, reason.partition(":")[0])
        counts[key] += count
        examples.setdefault(key, reason)
    by_count = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Reason(state, kind, count, examples[state, kind]) for (state, kind), count in by_count]


def _tables(status: Status) -> list[Table]:
    def table(title: str, columns: list[str], rows: list[list[object]]) -> Table:
        made = Table(title=title, title_justify="left")
        for column in columns:
            made.add_column(column, justify="right" if column in ("count", "rows") else "left")
        for row in rows:
            made.add_row(*(Text(str(value)) for value in row))
        return made

    stages = (("Images", status.images), ("Work units", status.work_units), ("Batches", status.batches))
    made = [table(title, ["state", "count"], [[state, count] for state, count in counts.items() if count]) for title, counts in stages]
    if status.waiting:
        lines: list[list[object]] = [[w.batch, w.state, w.search, w.next] for w in status.waiting]
        made.append(table(f"Batches on the way (the first {_LAST})", ["batch", "state", "search", "next"], lines))
    for title, reasons in (("Images that stopped", status.reasons), ("Results that were refused", status.refused_results)):
        if reasons:
            made.append(table(title, ["state", "count", "why, for example"], [[r.state, r.count, r.example] for r in reasons]))
    if status.last_writes:
        rows: list[list[object]] = [[w.batch, w.state, w.rows, w.last_at] for w in status.last_writes]
        made.append(table("Last writes into XtalTrak", ["batch", "state", "rows", "last (UTC)"], rows))
    return made


@click.command()
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def status(settings_file: Path | None, as_json: bool) -> None:
    """Tell how far each stage is, and why images stopped."""
    with open_existing_ledger(load_settings(settings_file).ledger_url) as ledger, ledger.read() as connection:
        found = read_status(connection)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1))
    else:
        console = Console()
        for made in _tables(found):
            console.print(made)
