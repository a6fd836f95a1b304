"""The first service: results and XtalTrak's present scores become a CSV a batch, so that nobody is annoyed by false positives (P24)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

from crystal_search.errors import TryAgainLater
from crystal_search.ledger import Ledger
from crystal_search.ledger.batches import Batch, ScoredImage, batches_in, finished_batches, move_batch, scored_images
from crystal_search.ledger.pauses import check_not_paused
from crystal_search.ledger.schema import BatchState
from crystal_search.service import Stop
from crystal_search.settings import Settings
from crystal_search.xtaltrak.images import Protect
from crystal_search.xtaltrak.scores import ScoreRow, ScoreTable, protecting_row
from finalizer.batch_csv import write_batch_csv
from finalizer.decision import WRITE, decide, own_row, several_images
from finalizer.own_rows import OnDrop, OwnRows
from finalizer.score_writer import chunks

_log = logging.getLogger(__name__)

#: Images whose drops are looked up together.
_TOGETHER = 1000


def finalize_round(settings: Settings, ledger: Ledger, table: ScoreTable, stop: Stop, once: bool = False) -> None:
    """Write the CSV of every batch that has ended, and of one whose CSV was deleted before its import.

    With ``once`` a round without work is logged. Raises ``TryAgainLater`` when the disk is full or a database away.
    """
    with ledger.read() as connection:
        check_not_paused(connection, "finalize")
        waiting = batches_in(connection, BatchState.HELD, BatchState.APPROVED)
        due = [*finished_batches(connection), *(batch for batch in waiting if not (settings.csv / f"{batch.name}.csv").exists())]
    for batch in due:
        if stop.is_set():
            return
        with ledger.read() as connection:
            check_not_paused(connection, "finalize")
        _finalize(settings, ledger, table, batch)
    if once and not due:
        _log.info("nothing to do")


def _finalize(settings: Settings, ledger: Ledger, table: ScoreTable, batch: Batch) -> None:
    """An open batch moves on when its CSV is there; one that was approved is held again first, as nobody has seen the new CSV."""
    with ledger.read() as connection:
        scored = scored_images(connection, batch)
    own_rows = OwnRows(ledger, table)
    several = several_images(scored, table.protect)
    rows = [row for some in chunks(scored, _TOGETHER) for row in _judged(some, own_rows, table.protect, several)]
    to_write = sum(row[-1] == WRITE for row in rows)
    after = BatchState.HELD if settings.finalizer.hold and to_write else BatchState.APPROVED
    if batch.state is not BatchState.OPEN and not _move(ledger, batch, after):
        return
    try:
        write_batch_csv(settings.csv / f"{batch.name}.csv", rows)
    except OSError as error:
        raise TryAgainLater(f"{error.filename}: can not be written ({error.strerror}); try again later") from error
    if batch.state is BatchState.OPEN and not _move(ledger, batch, after):
        return
    _log.info("batch %s: %d to write, %d withheld, %s", batch.name, to_write, len(rows) - to_write, after)


def _move(ledger: Ledger, batch: Batch, after: BatchState) -> bool:
    with ledger.begin() as connection:
        moved = move_batch(connection, batch, after)
    if not moved:
        _log.info("batch %s: another program moved it at the same moment", batch.name)
    return moved


def _judged(
    scored: Sequence[ScoredImage], own_rows: OwnRows, protect: Protect, several: Mapping[int, str]
) -> Iterator[tuple[ScoredImage, str, str, str]]:
    """Each image with its present score, present scorer, and the decision."""
    on_drops = own_rows.on_drops({image.image.inspection_id for image in scored}, undone_too=True)
    for image in scored:
        on_drop = on_drops[image.image.inspection_id]
        present = None if on_drop is None else _present(image, on_drop, protect)
        shown = ("", "") if present is None else (present.score or "", present.scorer or "")
        decision = decide(image, on_drop, protect)
        yield image, *shown, several.get(image.image.inspection_id, WRITE) if decision == WRITE else decision


def _present(scored: ScoredImage, on_drop: OnDrop, protect: Protect) -> ScoreRow | None:
    """What a user of XtalTrak sees there now: a person's score before ours."""
    person = protecting_row(on_drop.rows, scored.image.inspection_id, scored.image.image_name, on_drop.own, protect)
    return person or own_row(scored, on_drop)
