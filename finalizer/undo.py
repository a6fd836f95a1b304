"""Taking a batch back: exactly the rows that it wrote, and only where they are still ours and as we wrote them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from crystal_search.errors import TryAgainLater, UsageError
from crystal_search.ledger import Ledger
from crystal_search.ledger.batches import batch_named, move_batch
from crystal_search.ledger.schema import BatchState
from crystal_search.settings import Settings
from crystal_search.xtaltrak.scores import ScoreTable
from finalizer.own_copies import OwnCopies
from finalizer.own_rows import OwnRows
from finalizer.score_writer import ScoreWriter, only_writer
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
            batch = batch_named(connection, name)
            if batch.state is BatchState.OPEN:
                raise UsageError(f"batch {name} is not finished yet: nothing of it is in XtalTrak")
            if not move_batch(connection, batch, BatchState.UNDONE):
                raise TryAgainLater(f"batch {name}: another program moved it at the same moment, nothing was taken back; try again")
        taken_back, left = writer.take_back(batch.id)
        copies, files = OwnCopies(settings, ledger, table.artscores).take_back(batch)
    lines = [f"left {write.plan.after.image_name} (SCOREID {write.plan.after.score_id}): it changed since" for write in left]
    lines += [f"left {path}: it is not as we wrote it" for path in files]
    return Undone(taken_back, tuple(lines), copies)
