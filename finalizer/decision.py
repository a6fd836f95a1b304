"""Whether an ARTscore may enter the score table, given what is there. People first (P28, write-back rule 3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from crystal_search.ledger.batches import ScoredImage
from crystal_search.xtaltrak.images import Protect, database_time
from crystal_search.xtaltrak.scores import ScoreRow, protecting_row
from finalizer.own_rows import OnDrop

WRITE = "write"
WITHHOLD = "withhold: "


def decide(scored: ScoredImage, on_drop: OnDrop | None, protect: Protect) -> str:
    """``write``, or ``withhold: `` and why; ``on_drop`` is None when XtalTrak has lost the image's drop."""
    image = scored.image
    if on_drop is None:
        return f"{WITHHOLD}XtalTrak has no such inspection any more"
    if image.image_name not in on_drop.now.images:
        return f"{WITHHOLD}XtalTrak has no such image any more"
    if on_drop.now.place != (image.drop.barcode, image.drop.well.column, image.drop.well.row, image.drop.subwell):
        return f"{WITHHOLD}XtalTrak says that it shows another drop by now"
    if image.inspection.taken_at is None:
        return f"{WITHHOLD}the inspection has no date"
    person = protecting_row(on_drop.rows, image.inspection_id, image.image_name, on_drop.own, protect)
    if person is not None:
        return f"{WITHHOLD}person scored {person.score or 'without a score'}"
    ours = own_row(scored, on_drop)
    if ours is not None and ours.score_id in on_drop.changed:
        return f"{WITHHOLD}somebody changed our score to {ours.score or 'none'}"
    if protect == "drop" and ours is None and (other := _other_image(scored, on_drop)):
        return f"{WITHHOLD}{other} of the same drop and inspection has our score already: {_ONE_IMAGE}"
    return WRITE


_ONE_IMAGE = "name one profile in [[search]]"


def several_images(scored: Iterable[ScoredImage], protect: Protect) -> dict[int, str]:
    """Why images are withheld that are not the only one of their drop and inspection, by inspection: a drop shows one ARTscore."""
    if protect != "drop":
        return {}
    counts = Counter(image.image.inspection_id for image in scored)
    return {
        number: f"{WITHHOLD}{count} images of this drop at one inspection: {_ONE_IMAGE}" for number, count in counts.items() if count > 1
    }


def _other_image(scored: ScoredImage, on_drop: OnDrop) -> str | None:
    """The name of another image of the same inspection that has a score of ours."""
    of_inspection = (row for row in on_drop.rows if row.score_id in on_drop.own and row.inspection_id == scored.image.inspection_id)
    return next((row.image_name for row in of_inspection if row.image_name != scored.image.image_name), None)


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
