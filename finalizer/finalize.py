"""The first service: results and XtalTrak's present scores become a CSV a batch, so that nobody is annoyed by false positives (P24)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from crystal_search.errors import TryAgainLater
from crystal_search.ledger import Ledger
from crystal_search.ledger.batches import Batch, ScoredImage, batches_in, finished_batches, move_batch, scored_images
from crystal_search.ledger.schema import BatchState
from crystal_search.service import Stop
from crystal_search.settings import Settings
from crystal_search.xtaltrak.scores import ScoreRow, ScoreTable, protecting_row
from finalizer.batch_csv import write_batch_csv
from finalizer.decision import WRITE, decide, own_row

_log = logging.getLogger(__name__)


def finalize_round(settings: Settings, ledger: Ledger, table: ScoreTable, stop: Stop) -> None:
    """Write the CSV of every batch that has ended, and of one whose CSV was deleted before its import.

    Raises ``TryAgainLater`` when the disk is full or a database away.
    """
    with ledger.read() as connection:
        waiting = batches_in(connection, BatchState.HELD, BatchState.APPROVED)
        due = [*finished_batches(connection), *(batch for batch in waiting if not (settings.csv / f"{batch.name}.csv").exists())]
    for batch in due:
        if stop.is_set():
            return
        _finalize(settings, ledger, table, batch)


def _finalize(settings: Settings, ledger: Ledger, table: ScoreTable, batch: Batch) -> None:
    with ledger.read() as connection:
        scored = scored_images(connection, batch)
    rows = [(image, *_judged(image, table)) for image in scored]
    to_write = sum(row[-1] == WRITE for row in rows)
    try:
        write_batch_csv(settings.csv / f"{batch.name}.csv", rows)
    except OSError as error:
        raise TryAgainLater(f"{error.filename}: can not be written ({error.strerror}); try again later") from error
    after = BatchState.HELD if settings.finalizer.hold and to_write else BatchState.APPROVED
    with ledger.begin() as connection:
        move_batch(connection, batch, after)
    _log.info("batch %s: %d to write, %d withheld, %s", batch.name, to_write, len(rows) - to_write, after)


def _judged(scored: ScoredImage, table: ScoreTable) -> tuple[str, str, str]:
    """Present score, present scorer, and the decision."""
    on_drop = table.of_drop(scored.image.inspection_id)
    present = _present(scored, on_drop or [], table)
    shown = ("", "") if present is None else (present.score or "", present.scorer or "")
    return *shown, decide(scored, on_drop, table.scorer, table.protect)


def _present(scored: ScoredImage, on_drop: Sequence[ScoreRow], table: ScoreTable) -> ScoreRow | None:
    """What a user of XtalTrak sees there now: a person's score before ours."""
    person = protecting_row(on_drop, scored.image.inspection_id, scored.image.image_name, table.scorer, table.protect)
    return person or own_row(scored, on_drop, table.scorer)
