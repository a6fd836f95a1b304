"""Whether an ARTscore may enter the score table, given what is there. People first (P28, write-back rule 3)."""

from __future__ import annotations

from crystal_search.ledger.batches import ScoredImage
from crystal_search.xtaltrak.images import Protect, database_time
from crystal_search.xtaltrak.scores import ScoreRow, protecting_row
from finalizer.own_rows import OnDrop

WRITE = "write"
WITHHOLD = "withhold: "


def decide(scored: ScoredImage, on_drop: OnDrop | None, protect: Protect) -> str:
    """``write``, or ``withhold: `` and why; ``on_drop`` is None when XtalTrak has lost the image's drop."""
    if on_drop is None:
        return f"{WITHHOLD}XtalTrak has no such inspection any more"
    if scored.image.inspection.taken_at is None:
        return f"{WITHHOLD}the inspection has no date"
    person = protecting_row(on_drop.rows, scored.image.inspection_id, scored.image.image_name, on_drop.own, protect)
    if person is not None:
        return f"{WITHHOLD}person scored {person.score or 'without a score'}"
    return WRITE


def own_row(scored: ScoredImage, on_drop: OnDrop) -> ScoreRow | None:
    """Our row of that image, the latest of several, or None."""
    key = (scored.image.inspection_id, scored.image.image_name)
    return next((row for row in reversed(on_drop.rows) if row.score_id in on_drop.own and (row.inspection_id, row.image_name) == key), None)


def wanted_row(scored: ScoredImage, score_id: int, scorer: str) -> ScoreRow:
    """The row that says what our ARTscore says, dated to the inspection so that any person's score of it is newer (P28)."""
    taken_at = scored.image.inspection.taken_at
    assert taken_at is not None, "decide() withholds an image without a date"
    return ScoreRow(
        score_id=score_id,
        inspection_id=scored.image.inspection_id,
        image_name=scored.image.image_name,
        score=scored.score,
        scored_at=database_time(taken_at),
        scorer=scorer,
    )
