"""Ledger against score table: what we noted and is not there, or not so, and what is there and was never noted.

Told is everything; mended is only what is ours beyond doubt. A row that somebody changed or took over may be a person's
judgement by now, and so may one that was never noted: they stay as they are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from crystal_search.ledger import Ledger
from crystal_search.ledger.batches import Batch, batches_in, scored_images
from crystal_search.ledger.schema import BatchState
from crystal_search.ledger.writes import Write, batches_of, note_removing, standing_after, written_as
from crystal_search.settings import Settings
from crystal_search.xtaltrak.scores import ScoreRow, ScoreTable
from finalizer.own_copies import OwnCopies, counts_line
from finalizer.own_rows import OwnRows
from finalizer.score_writer import ScoreWriter, chunks, only_writer
from finalizer.set_autoscore import LOCK_FILE, write_scores

_PAGE = 10_000


@dataclass(slots=True)
class Difference:
    """What a comparison found: rows that are as noted, differences that are ours to mend, those that stay, and how many were mended."""

    agree: int = 0
    to_mend: int = 0
    to_leave: int = 0
    mended: int = 0

    def summary(self, repair: bool) -> str:
        """One line for people."""
        if not (self.to_mend or self.to_leave):
            return f"ledger and XtalTrak agree: {self.agree} rows of ours"
        how = f"{self.mended} mended" if repair else "--repair mends them"
        return (
            f"{self.agree} rows as noted, {self.to_mend} differences that are ours to mend ({how}), {self.to_leave} that stay as they are"
        )


def reconcile(settings: Settings, ledger: Ledger, table: ScoreTable, repair: bool, tell: Callable[[str], object]) -> Difference:
    """Compare what the ledger has as written with the score table and our own tables; ``tell`` gets one line a difference.

    With ``repair``, what is ours is mended: rows that vanished are written again as far as people's scores allow, what lacks in our
    own tables and beside the images too, and what an undone batch left there is deleted. Raises ``TryAgainLater``.
    """
    with only_writer(settings.paths.state / LOCK_FILE):
        writer = ScoreWriter(ledger, table, settings.finalizer.rows_per_transaction)
        writer.settle()
        found = Difference()
        for vanished in _compare_scores(ledger, table, found, tell):
            if repair and vanished:
                _write_again(settings, ledger, table, writer, vanished)
                found.mended += len(vanished)
        for number, inspection in OwnRows(ledger, table).foreign():
            tell(f"not noted   SCOREID {number} of inspection {inspection}: bears our name, and is not ours")
            found.to_leave += 1
        _compare_copies(ledger, OwnCopies(settings, ledger, table.artscores), found, tell, repair)
        return found


def _compare_scores(ledger: Ledger, table: ScoreTable, found: Difference, tell: Callable[[str], object]) -> Iterator[list[Write]]:
    """Page by page the writes whose rows vanished; every difference of the score table is told and counted."""
    after = -(2**62)
    while True:
        with ledger.read() as connection:
            page = standing_after(connection, after, _PAGE)
        if not page:
            return
        after = page[-1].plan.after.score_id
        rows = {row.score_id: row for row in table.between(page[0].plan.after.score_id, after)}
        differing = [write for write in page if rows.get(write.plan.after.score_id) != write.plan.after]
        vanished = [write for write in differing if write.plan.after.score_id not in rows]
        for write in differing:
            tell(_line(write.plan.after, rows.get(write.plan.after.score_id)))
        found.agree += len(page) - len(differing)
        found.to_mend += len(vanished)
        found.to_leave += len(differing) - len(vanished)
        yield vanished


def _line(ours: ScoreRow, row: ScoreRow | None) -> str:
    what = f"{ours.score} of {ours.image_name} (SCOREID {ours.score_id})"
    if row is None:
        return f"vanished    {what}"
    if row.scorer != ours.scorer:
        return f"taken over  {what}: it is {row.scorer or 'nobody'}'s, {row.score or 'without a score'}"
    return f"changed     {what}: it is {row.score or 'without a score'} on {row.image_name or 'no image'}, {row.scored_at or 'no date'}"


def _write_again(settings: Settings, ledger: Ledger, table: ScoreTable, writer: ScoreWriter, vanished: Sequence[Write]) -> None:
    """Note that the rows are gone, and write the scores anew, each for its batch, by the rules of every import."""
    for gone in chunks(vanished, settings.finalizer.rows_per_transaction):
        with ledger.begin() as connection:
            note_removing(connection, written_as(connection, (write.plan.after.score_id for write in gone)))
        writer.settle()
    with ledger.read() as connection:
        owners = batches_of(connection, (write.id for write in vanished))
        batches = {batch.id: batch for batch in batches_in(connection, BatchState.IMPORTED)}
    images: defaultdict[int, set[int]] = defaultdict(set)
    for write in vanished:
        images[owners[write.id]].add(write.plan.image_id)
    for batch_id in sorted(images.keys() & batches.keys()):
        with ledger.read() as connection:
            scored = [image for image in scored_images(connection, batches[batch_id]) if image.id in images[batch_id]]
        for some in chunks(scored, settings.finalizer.rows_per_transaction):
            write_scores(table, OwnRows(ledger, table), writer, batches[batch_id], some)


def _compare_copies(ledger: Ledger, copies: OwnCopies, found: Difference, tell: Callable[[str], object], repair: bool) -> None:
    if not (copies.kinds or copies.files):
        return
    with ledger.read() as connection:
        states = {batch.name: batch for batch in batches_in(connection, *BatchState)}
    for batch in states.values():
        if batch.state is BatchState.IMPORTED:
            _compare_batch(batch, copies, found, tell, repair)
    for kind in copies.kinds:
        for name, count in sorted(copies.batches(kind).items()):
            what = f"{counts_line(Counter({kind: count}))} of batch {name}"
            if name not in states:
                tell(f"not noted   {what}, which this ledger does not know")
                found.to_leave += count
            elif states[name].state is BatchState.UNDONE:
                tell(f"left over   {what}, which is undone")
                found.to_mend += count
                found.mended += copies.delete(kind, name) if repair else 0


def _compare_batch(batch: Batch, copies: OwnCopies, found: Difference, tell: Callable[[str], object], repair: bool) -> None:
    changed, lacking = copies.changed(batch), copies.lacking(batch)
    if any(changed.values()):
        tell(f"changed     {counts_line(changed)} of batch {batch.name}")
        found.to_leave += changed.total()
    if any(lacking.values()):
        tell(f"lacking     {counts_line(lacking)} of batch {batch.name}")
        found.to_mend += lacking.total()
        found.mended += copies.write(batch).total() if repair else 0
