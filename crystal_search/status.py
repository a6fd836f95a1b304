"""``crystal-search status``: how far each stage is, and why what stopped did so."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, func, select

from crystal_search.backfill import Backfill, backfill_rows, read_backfill
from crystal_search.digest_memory import next_digest, read_told
from crystal_search.drift import alarm_lines
from crystal_search.errors import TryAgainLater
from crystal_search.grid import open_boinc_grid
from crystal_search.grid.boinc import BoincProgress
from crystal_search.grid.boinc_server import ServerStatus, read_server_status
from crystal_search.grid.boinc_tasks import HOURS, TaskCounts, read_task_counts
from crystal_search.ledger import open_existing_ledger
from crystal_search.ledger.pace import Pace, read_pace
from crystal_search.ledger.pauses import Pause, paused
from crystal_search.ledger.progress import Lag, count_by, read_lag
from crystal_search.ledger.results import utc_now
from crystal_search.ledger.schema import BatchState, ImageState, WorkUnitState, batches, images, refusals, work_units, writes
from crystal_search.settings import Settings, load_settings

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
    pace: Pace
    paused: list[Pause]
    lag: Lag


@dataclass(frozen=True, slots=True)
class BoincStatus:
    """Where the work units are, as our own records have it, how the server is, and what became of the tasks of the last day.

    ``trouble`` and ``tasks_trouble`` say why the server or its database can not be asked.
    """

    progress: BoincProgress
    server: ServerStatus | None = None
    trouble: str | None = None
    tasks: TaskCounts | None = None
    tasks_trouble: str | None = None


def read_boinc_status(settings: Settings) -> BoincStatus | None:
    """The state of a BOINC grid, None where the grid is another one. The server is asked where ``boinc.url`` is set."""
    if settings.grid.kind != "boinc":
        return None
    grid = open_boinc_grid(settings)
    found = BoincStatus(grid.progress())
    try:
        found = replace(found, tasks=read_task_counts(grid.tools))
    except TryAgainLater as error:
        found = replace(found, tasks_trouble=str(error))
    try:
        return replace(found, server=read_server_status(settings.boinc.url)) if settings.boinc.url else found
    except TryAgainLater as error:
        return replace(found, trouble=str(error))


def read_status(connection: Connection) -> Status:
    """How far each stage is, as the ledger has it. Counts every image, through an index: seconds with fifteen million."""
    stopped = [ImageState.REFUSED, ImageState.FAILED]
    reasons = connection.execute(
        select(images.c.state, images.c.reason, func.count())
        .where(images.c.batch_id.in_(select(batches.c.id)), images.c.state.in_(stopped))  # all batches: so that the index serves
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
        images=count_by(connection, images.c.state, [state.value for state in ImageState]),
        work_units=count_by(connection, work_units.c.state, [state.value for state in WorkUnitState]),
        batches=count_by(connection, batches.c.state, [state.value for state in BatchState]),
        reasons=_by_kind([(state, reason or "", count) for state, reason, count in reasons]),
        refused_results=_by_kind([("refused", reason, count) for reason, count in set_aside]),
        last_writes=[WrittenBatch(name, state, rows, at.isoformat(sep=" ", timespec="seconds")) for name, state, rows, at in written],
        waiting=[WaitingBatch(name, state, search, _NEXT[BatchState(state)].format(batch=name)) for name, state, search in waiting],
        pace=read_pace(connection, utc_now()),
        paused=paused(connection),
        lag=read_lag(connection),
    )


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


def read_next_digest(settings: Settings, now: datetime) -> datetime | None:
    """When the finalize service makes the next digest, local time; None where it makes none."""
    told = read_told(settings.digest_memory)
    return next_digest(now, told.at if told else None, settings.digest.hour)


def _tables(status: Status, backfill: Backfill, boinc: BoincStatus | None, digest_at: datetime | None) -> list[Table]:
    def table(title: str, columns: list[str], rows: list[list[object]]) -> Table:
        made = Table(title=title, title_justify="left")
        for column in columns:
            made.add_column(column, justify="right" if column in ("count", "rows") else "left")
        for row in rows:
            made.add_row(*(Text(str(value)) for value in row))
        return made

    stages = (("Images", status.images), ("Work units", status.work_units), ("Batches", status.batches))
    made = [table(title, ["state", "count"], [[state, count] for state, count in counts.items() if count]) for title, counts in stages]
    if status.paused:
        lines: list[list[object]] = [[p.what, p.by, p.since.isoformat(sep=" ", timespec="minutes")] for p in status.paused]
        made.insert(0, table("Paused, until crystal-search resume", ["what", "by", "since (UTC)"], lines))
    if status.pace.images:
        made.append(table("Pace of the last 24 hours", ["what", "count"], _pace_rows(status.pace)))
    if backfill.images_left:
        made.append(table("In XtalTrak, not read yet (estimates)", ["search", "count"], backfill_rows(backfill)))
    if status.lag:
        title = "From the inspection to the score, latest real-time images"
        made.append(table(title, ["until", "half within", "95 % within"], _lag_rows(status.lag)))
    if digest_at:
        made.append(table("Digest", ["next (local time)"], [[digest_at.isoformat(sep=" ", timespec="minutes")]]))
    if boinc:
        made.append(table("BOINC", ["what", "count"], _boinc_rows(boinc)))
    if status.waiting:
        lines = [[w.batch, w.state, w.search, w.next] for w in status.waiting]
        made.append(table(f"Batches on the way (the first {_LAST})", ["batch", "state", "search", "next"], lines))
    for title, reasons in (("Images that stopped", status.reasons), ("Results that were refused", status.refused_results)):
        if reasons:
            made.append(table(title, ["state", "count", "why, for example"], [[r.state, r.count, r.example] for r in reasons]))
    if status.last_writes:
        rows: list[list[object]] = [[w.batch, w.state, w.rows, w.last_at] for w in status.last_writes]
        made.append(table("Last writes into XtalTrak", ["batch", "state", "rows", "last (UTC)"], rows))
    return made


def _pace_rows(pace: Pace) -> list[list[object]]:
    rows: list[list[object]] = [
        ["images back", pace.images],
        ["images an hour", f"{pace.images_per_hour:.0f}"],
        ["images on the way", pace.on_the_way],
    ]
    if pace.end:
        rows.append(["these will be through (UTC)", pace.end.isoformat(sep=" ", timespec="minutes")])
    return rows


def _lag_rows(lag: Lag) -> list[list[object]]:
    what = {"score": "the ARTscore", "xtaltrak": "its row in XtalTrak"}
    return [[what[until], *(str(timedelta(seconds=round(seconds))) for seconds in quantiles.values())] for until, quantiles in lag.items()]


def _boinc_rows(boinc: BoincStatus) -> list[list[object]]:
    rows: list[list[object]] = [
        ["work units that wait to be created", boinc.progress.queued],
        ["work units at BOINC", boinc.progress.at_boinc],
        ["work units that came back and wait for assimilate", boinc.progress.in_inbox],
    ]
    if server := boinc.server:
        rows += [
            ["tasks to be sent (server)", server.tasks_to_send],
            ["tasks on volunteers' computers (server)", server.tasks_in_progress],
            ["waiting for validation (server)", server.waiting_for_validation],
            ["waiting for assimilation (server)", server.waiting_for_assimilation],
            ["computers with recent credit (server)", server.computers],
        ]
        rows += [[f"daemon {daemon}", "not running"] for daemon in server.daemons_down]
    if tasks := boinc.tasks:
        rows += [
            [f"computers that had tasks in the last {HOURS} h", tasks.computers],
            ["tasks that were valid", tasks.valid],
            ["tasks that were refused", tasks.refused],
            ["tasks that failed on the computer", tasks.errors],
            ["tasks that never came back", tasks.lost],
            ["error rate", f"{100 * tasks.bad_share:.1f} %"],
        ]
        rows += [
            [f"computer {c.id} ({c.name}): valid {c.valid}, refused {c.refused}, failed {c.errors}, lost {c.lost}", c.bad]
            for c in tasks.worst
        ]
    rows += [[trouble, ""] for trouble in (boinc.trouble, boinc.tasks_trouble) if trouble]
    return rows


@click.command()
@click.option("--settings", "settings_file", type=click.Path(path_type=Path), help="Settings file; default crystal-search.toml.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def status(settings_file: Path | None, as_json: bool) -> None:
    """Tell how far each stage is, how fast, and why images stopped."""
    settings = load_settings(settings_file)
    with open_existing_ledger(settings.ledger_url) as ledger, ledger.read() as connection:
        found, drifts = read_status(connection), alarm_lines(connection)
        backfill = read_backfill(settings, connection, found.pace, utc_now())
    boinc = read_boinc_status(settings)
    digest_at = read_next_digest(settings, datetime.now())
    if as_json:
        besides = {"backfill": asdict(backfill), "boinc": asdict(boinc) if boinc else None, "next_digest": digest_at, "drift": drifts}
        content = asdict(found) | besides
        click.echo(json.dumps(content, indent=1, default=lambda at: at.isoformat(sep=" ", timespec="seconds")))
    else:
        console = Console()
        for made in _tables(found, backfill, boinc, digest_at):
            console.print(made)
        for line in drifts:
            console.print(line, style="bold yellow", markup=False)
