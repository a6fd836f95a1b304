"""Two streams, people's scores and the network's crystals, merged by inspection: what either calls a crystal is a hit."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from crystal_search.classes import Group
from crystal_search.ledger.crystals import AutomaticScore
from crystal_search.plate import Drop, Inspection
from crystal_search.xtaltrak.people import PersonScore


@dataclass(frozen=True, slots=True)
class Hit:
    """An image with a crystal, by people (``manual``, the newest score of it), by the network, or by both.

    ``image_name`` is None where a person scored the inspection as a whole and the network has no result of it.
    """

    inspection_id: int
    drop: Drop
    inspection: Inspection
    image_name: str | None
    manual: PersonScore | None
    automatic: AutomaticScore | None

    @property
    def is_manual_crystal(self) -> bool:
        return _is_crystal(self.manual)


#: The network's result for an image (or, without a name, for an inspection) that it does not call a crystal.
LookUp = Callable[[int, str | None], AutomaticScore | None]


def find_hits(people: Iterable[PersonScore], crystals: Iterable[AutomaticScore], look_up: LookUp) -> Iterator[Hit]:
    """Every hit, by inspection. Both streams come by inspection; of neither more than one inspection is held."""
    by_inspection = groupby(people, key=lambda score: score.inspection_id)
    crystals_of = groupby(crystals, key=lambda found: found.image.inspection_id)
    said = ((number, list(scores), list[AutomaticScore]()) for number, scores in by_inspection)
    found = ((number, list[PersonScore](), list(images)) for number, images in crystals_of)
    merged = heapq.merge(said, found, key=lambda item: item[0])
    for inspection_id, items in groupby(merged, key=lambda item: item[0]):
        scores: list[PersonScore] = []
        images: list[AutomaticScore] = []
        for _, some_scores, some_images in items:
            scores += some_scores
            images += some_images
        yield from _of_inspection(inspection_id, scores, images, look_up)


def _of_inspection(inspection_id: int, said: list[PersonScore], found: list[AutomaticScore], look_up: LookUp) -> Iterator[Hit]:
    """First what the network calls a crystal, then what people alone do. A score of the whole inspection is about every image."""
    for automatic in found:
        image = automatic.image
        about = [score for score in said if score.image_name in (None, image.image_name)]
        yield Hit(inspection_id, image.drop, image.inspection, image.image_name, _newest(about), automatic)
    names = {automatic.image.image_name for automatic in found}
    alone: dict[str | None, list[PersonScore]] = {}
    for score in said:
        if score.image_name not in names and not (score.image_name is None and names):
            alone.setdefault(score.image_name, []).append(score)
    for name, about in alone.items():
        manual = _newest(about)
        if manual is not None and _is_crystal(manual):
            looked_up = look_up(inspection_id, name)
            shown = name or (looked_up.image.image_name if looked_up else None)
            yield Hit(inspection_id, manual.drop, manual.inspection, shown, manual, looked_up)


def _newest(scores: list[PersonScore]) -> PersonScore | None:
    return max(scores, key=lambda score: (score.scored_at or "", score.score_id), default=None)


def _is_crystal(score: PersonScore | None) -> bool:
    return score is not None and score.drop_class is not None and score.drop_class.group is Group.CRYSTAL
