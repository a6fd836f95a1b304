"""Taking a batch back: exactly the rows that it wrote, and only where they are still ours and as we wrote them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from crystal_search.errors import TryAgainLater, UsageError
from crystal_search.ledger import Ledger
from crystal_search.ledger.batches import Batch, batch_named, move_batch
from crystal_search.ledger.schema import BatchState
from crystal_search.ledger.writes import Write
from crystal_search.settings import Settings
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.own_copies import OwnCopies, counts_line
from finalizer.own_rows import OwnRows
from finalizer.score_writer import Fate, ScoreWriter, only_writer
from finalizer.set_autoscore import LOCK_FILE


@dataclass(frozen=True, slots=True)
class Undone:
    """How many rows were taken back, how much of what is ours alone, and a line for each row or file left because it changed since."""

    taken_back: int
    left: tuple[str, ...]
    copies: Counter[str]


def undo_batch(settings: Settings, ledger: Ledger, table: ScoreTable, name: str) -> Undone:
    """Take back what a batch wrote: rows that it inserted are deleted, rows that it updated get their former score.

    The batch is undone first, so that no import goes on with it. A second time there is nothing left to do. Raises
    ``UsageError`` for a batch that is not known or whose work units are still out, ``TryAgainLater``.
    """
    with only_writer(settings.paths.state / LOCK_FILE):
        writer = ScoreWriter(ledger, table, settings.finalizer.rows_per_transaction)
        writer.settle()
        writer.take_out_displaced(OwnRows(ledger, table).foreign())
        with ledger.begin() as connection:
            batch = _finished(batch_named(connection, name))
            if not move_batch(connection, batch, BatchState.UNDONE):
                raise TryAgainLater(f"batch {name}: another program moved it at the same moment, nothing was taken back; try again")
        taken_back, left = writer.take_back(batch.id)
        copies, files = OwnCopies(settings, ledger, table.artscores).take_back(batch)
    lines = [f"left {_row(write)}: {_why_left(write, table.scorer)}" for write in left]
    lines += [f"left {line}" for line in files]
    return Undone(taken_back, tuple(lines), copies)


def what_undo_would_do(settings: Settings, ledger: Ledger, table: ScoreTable, name: str) -> list[str]:
    """One line for each row that ``undo_batch`` would change or leave, and a summary; nothing is written. Raises as it does."""
    with ledger.read() as connection:
        batch = _finished(batch_named(connection, name))
    own_rows = OwnRows(ledger, table)
    displaced = {row.score_id: row for row, _ in own_rows.displaced(own_rows.foreign())}
    lines = [f"take out   {row.score} of {row.image_name}: a person has scored the drop" for row in displaced.values()]
    found = ScoreWriter(ledger, table, settings.finalizer.rows_per_transaction).would_take_back(batch.id)
    fates = {write: fate for write, fate in found if write.plan.after.score_id not in displaced}
    lines += [_line(write, fate, table.scorer) for write, fate in fates.items() if fate is not Fate.GONE]
    copies = OwnCopies(settings, ledger, table.artscores).there(batch)
    beside = f"; of ours: {counts_line(copies)} would be removed" if copies else ""
    kept = sum(fate is Fate.LEFT for fate in fates.values())
    back = sum(fate is Fate.TAKEN_BACK for fate in fates.values())
    return [*lines, f"batch {name}: {back} rows would be taken back, {kept} left{beside}"]


def _line(write: Write, fate: Fate, scorer: str) -> str:
    before, after = write.plan.before, write.plan.after
    if fate is Fate.LEFT:
        return f"leave      {_row(write)}: {_why_left(write, scorer)}"
    return (
        f"delete     {after.score} of {_row(write)}" if before is None else f"give back  {before.score} for {after.score} of {_row(write)}"
    )


def _row(write: Write) -> str:
    return f"{write.plan.after.image_name} (SCOREID {write.plan.after.score_id})"


def _why_left(write: Write, scorer: str) -> str:
    ours = write.plan.after.scorer
    return "it changed since" if ours == scorer else f"it was written as {ours}, and xtaltrak.scorer is {scorer}"


def _finished(batch: Batch) -> Batch:
    if batch.state is BatchState.OPEN:
        raise UsageError(f"batch {batch.name} is not finished yet: nothing of it is in XtalTrak")
    return batch
