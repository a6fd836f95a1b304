"""The second service: the CSV files of approved batches enter XtalTrak's score table, beside what people said, never over it (P25, P28).

The CSV may be hours old, so it only proposes. What is written is decided again from the rows that are there, and once more by
the statements themselves under the table's lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from crystal_search.errors import TryAgainLater
from crystal_search.ledger import Ledger
from crystal_search.ledger.batches import Batch, ScoredImage, batches_in, move_batch, scored_images
from crystal_search.ledger.pauses import check_not_paused
from crystal_search.ledger.schema import BatchState
from crystal_search.ledger.writes import Plan
from crystal_search.plate import Drop
from crystal_search.service import Stop
from crystal_search.settings import Settings
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.batch_csv import BatchCsvError, read_batch_csv
from finalizer.decision import WRITE, decide, own_row, several_images, wanted_row
from finalizer.own_copies import OwnCopies, counts_line
from finalizer.own_rows import OnDrop, OwnRows
from finalizer.score_writer import ScoreWriter, chunks, only_writer
from finalizer.watch import Watch

_log = logging.getLogger(__name__)

#: The only program that writes scores holds a lock on this file in the state folder.
LOCK_FILE = "score-table.lock"
#: A row that a person or a clash of numbers keeps out between plan and write is planned again, this often.
_TRIES = 5
#: Rows that are planned, noted and settled together; under one lock go fewer.
_TOGETHER = 2500


def set_autoscore_round(
    settings: Settings,
    ledger: Ledger,
    table: ScoreTable,
    stop: Stop,
    once: bool = False,
    warn: Callable[[str], None] = _log.warning,
    watch: Watch | None = None,
) -> list[str]:
    """Settle what a kill left, make room for people who have scored since, import every approved batch.

    ``watch`` is what a service remembers from round to round; without it everything is looked at. ``warn`` gets a line about rows
    that bear our scorer's name and are not ours; with ``once`` a round without work is logged.
    Returns one line for each batch whose CSV can not be trusted; nothing of it is written. Raises ``TryAgainLater``.
    """
    mistakes: list[str] = []
    with ledger.read() as connection:
        check_not_paused(connection, "set-autoscore")
    with only_writer(settings.paths.state / LOCK_FILE):
        writer = ScoreWriter(ledger, table, settings.finalizer.rows_per_transaction)
        settled = writer.settle()
        watch = watch or Watch()
        displaced = watch.displaced(ledger, table)
        if warning := OwnRows(ledger, table).warning(watch.foreign):
            warn(warning)
        taken_out = writer.take_out(displaced)
        with ledger.read() as connection:
            approved = batches_in(connection, BatchState.APPROVED)
        if once and not (settled or taken_out or approved):
            _log.info("nothing to do")
        for batch in approved:
            if stop.is_set():
                break
            with ledger.read() as connection:
                check_not_paused(connection, "set-autoscore")
            try:
                _import(settings, ledger, table, writer, batch, stop)
            except BatchCsvError as error:
                mistakes.append(str(error))
    return mistakes


def _import(settings: Settings, ledger: Ledger, table: ScoreTable, writer: ScoreWriter, batch: Batch, stop: Stop) -> None:
    written = 0
    chosen = _read(settings, ledger, batch)
    kept = OwnCopies(settings, ledger, table.artscores).write(batch)
    for some in chunks(chosen, _TOGETHER):
        if stop.is_set():
            return
        written += write_scores(table, OwnRows(ledger, table), writer, batch, some)
    with ledger.begin() as connection:
        if not move_batch(connection, batch, BatchState.IMPORTED):
            _log.warning("batch %s: another program moved it while it was imported", batch.name)
    beside = f"; for us: {counts_line(kept)}" if kept else ""
    _log.info("batch %s: imported, %d rows written, %d as they were or withheld%s", batch.name, written, len(chosen) - written, beside)


def _read(settings: Settings, ledger: Ledger, batch: Batch) -> list[ScoredImage]:
    """What the CSV says to write, with the scores that this site uses."""
    with ledger.read() as connection:
        scored = scored_images(connection, batch)
    chosen = read_batch_csv(settings.csv / f"{batch.name}.csv", scored)
    several = several_images(chosen, settings.finalizer.protect)
    for number, reason in several.items():
        _log.warning("batch %s: inspection %d: %s", batch.name, number, reason)
    single = (image for image in chosen if image.image.inspection_id not in several)
    return [_with_score(image, settings.xtaltrak.score_codes.of(image.class_name)) for image in single]


def _with_score(image: ScoredImage, score: str) -> ScoredImage:
    return image if image.score == score else msgspec.structs.replace(image, score=score)


def write_scores(table: ScoreTable, own_rows: OwnRows, writer: ScoreWriter, batch: Batch, chosen: Sequence[ScoredImage]) -> int:
    """Write what may be written of ``chosen``; returns the number of rows."""
    written: set[int] = set()
    for _ in range(_TRIES):
        proposals = _proposals([scored for scored in chosen if scored.id not in written], own_rows, table)
        if not proposals:
            return len(written)
        written |= writer.write(batch.id, _numbered(proposals, table))
        chosen = [scored for scored, _ in proposals]
    raise TryAgainLater(f"batch {batch.name}: other programs keep changing the score table; the rest is written next time")


def _proposals(chosen: Sequence[ScoredImage], own_rows: OwnRows, table: ScoreTable) -> list[tuple[ScoredImage, Plan]]:
    """What is to be written for images, given what is there now; a new row has no number yet."""
    on_drops = own_rows.on_drops({scored.image.inspection_id for scored in chosen})
    found = ((scored, _proposal(scored, on_drops[scored.image.inspection_id], table)) for scored in chosen)
    return [(scored, plan) for scored, plan in found if plan is not None]


def _proposal(scored: ScoredImage, on_drop: OnDrop | None, table: ScoreTable) -> Plan | None:
    if on_drop is None or decide(scored, on_drop, table.protect) != WRITE:
        return None
    before = own_row(scored, on_drop)
    if before is None:
        return Plan(scored.id, None, wanted_row(scored, 0, table.scorer), on_drop.own)
    if before.score == scored.score:
        return None
    return Plan(scored.id, before, wanted_row(scored, before.score_id, table.scorer), on_drop.own)


def _numbered(proposals: Sequence[tuple[ScoredImage, Plan]], table: ScoreTable) -> list[Plan]:
    """The plans, new rows with numbers of our own; each knows the new ones on its drop as ours."""
    new = [scored for scored, plan in proposals if plan.before is None]
    numbers = dict(zip((scored.id for scored in new), table.next_ids(len(new)), strict=True))
    beside: dict[Drop, set[int]] = {}
    for scored in new:
        beside.setdefault(scored.image.drop, set()).add(numbers[scored.id])
    return [
        replace(
            plan,
            after=plan.after if plan.before is not None else wanted_row(scored, numbers[scored.id], table.scorer),
            own=plan.own.union(beside.get(scored.image.drop, ())),
        )
        for scored, plan in proposals
    ]


def difference(settings: Settings, ledger: Ledger, table: ScoreTable) -> list[str]:
    """What a round would change if every held batch were approved, one line a row; nothing is written."""
    own_rows = OwnRows(ledger, table)
    foreign = own_rows.foreign()
    lines = [warning] if (warning := own_rows.warning(foreign)) else []
    lines += [f"take out   {row.score} of {row.image_name}: a person has scored the drop" for row, _ in own_rows.displaced(foreign)]
    with ledger.read() as connection:
        waiting = batches_in(connection, BatchState.HELD, BatchState.APPROVED)
    copies = OwnCopies(settings, ledger, table.artscores)
    for batch in waiting:
        try:
            chosen = _read(settings, ledger, batch)
        except BatchCsvError as error:
            lines.append(str(error))
            continue
        plans = [found for some in chunks(chosen, _TOGETHER) for found in _proposals(some, own_rows, table)]
        lines += [_line(batch, scored, plan) for scored, plan in plans]
        lines.append(f"batch {batch.name} ({batch.state}): {len(plans)} rows to write")
        if any((lacking := copies.lacking(batch)).values()):
            lines.append(f"batch {batch.name} ({batch.state}): for us: {counts_line(lacking)}")
    return lines


def _line(batch: Batch, scored: ScoredImage, plan: Plan) -> str:
    change = f"insert     {scored.score}" if plan.before is None else f"update {plan.before.score} to {scored.score}"
    image = scored.image
    return (
        f"{change} of {image.drop.barcode} {image.drop.label} inspection {image.inspection.number}, {image.image_name} (batch {batch.name})"
    )
