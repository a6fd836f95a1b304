"""What is worth a look now: plates with new images, the likeliest crystals across plates, and where a person and the ARTscore differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from viewer.evaluations import ArtScore, Score, artscores_of, disagree, is_crystal, marks_of, scores_on_plate
from viewer.lab import Lab
from viewer.marks import plates_seen
from viewer.person import Person
from viewer.plate_view import drop_tile, shown_image, split_scores
from viewer.plates import DropImages, RecentInspection, drops_of, recent_inspections

#: "Look at these wells to find 95 % of the crystals."
SHARE = 0.95
_MOST_LISTED = 300


@dataclass(frozen=True, slots=True)
class _Candidate:
    recent: RecentInspection
    drop: DropImages
    art: ArtScore | None
    people: Sequence[Score]


def worklist(lab: Lab, person: Person, blind: bool) -> dict[str, Any]:
    """The work list of a person from the newest inspections of plates that the settings ask for."""
    recents = recent_inspections(lab, person, lab.settings.viewer.worklist_inspections)
    drops = {recent: drops_of(lab, recent.plate.barcode, recent.number) for recent in recents}
    people = {barcode: split_scores(scores_on_plate(lab, barcode))[0] for barcode in {recent.plate.barcode for recent in recents}}
    with lab.ledger.read() as connection:
        arts = artscores_of(connection, lab.codes, (drop.inspection_id for found in drops.values() for drop in found))
        seen = plates_seen(connection, person, people)
        marks = marks_of(connection, (art.image_id for art in arts.values()))
    every = [
        _Candidate(recent, drop, arts.get(drop.inspection_id), people[recent.plate.barcode].get(drop.inspection_id, []))
        for recent in recents
        for drop in drops[recent]
    ]
    by_recent: dict[RecentInspection, list[_Candidate]] = {recent: [] for recent in recents}
    for candidate in every:
        by_recent[candidate.recent].append(candidate)
    answer: dict[str, Any] = {
        "plates": [_plate(recent, found, (recent.plate.barcode, recent.number) in seen, blind) for recent, found in by_recent.items()],
        "blind": blind,
    }
    if not blind:
        answer |= _crystals(person, _newest_of_each_drop(every))
        differing = [c for c in every if disagree(c.art, c.people[-1] if c.people else None)]
        called_wrong = [c for c in every if c.art is not None and marks.get(c.art.image_id)]
        answer["disagreements"] = [_tile(person, c) for c in differing[:_MOST_LISTED]]
        answer["wrong"] = [_tile(person, c) for c in called_wrong[:_MOST_LISTED]]
    return answer


def wells_for_share(probabilities: Sequence[float], share: float) -> int:
    """How many of the largest probabilities make up ``share`` of their sum: so many wells hold that share of the expected crystals.

    >>> wells_for_share([0.9, 0.05, 0.9, 0.1, 0.05], 0.95)
    3
    """
    left = share * sum(probabilities)
    for count, probability in enumerate(sorted(probabilities, reverse=True)):
        if left <= 1e-12:
            return count
        left -= probability
    return len(probabilities)


def _newest_of_each_drop(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """One candidate a drop: ``candidates`` come newest inspection first."""
    found: dict[Any, _Candidate] = {}
    for candidate in candidates:
        found.setdefault(candidate.drop.drop, candidate)
    return list(found.values())


def _crystals(person: Person, candidates: Sequence[_Candidate]) -> dict[str, Any]:
    """The likeliest crystals that no person has scored at that inspection, the likeliest first."""
    open_ones = [c for c in candidates if not c.people and c.art is not None and c.art.crystal_probability]
    ranked = sorted(open_ones, key=lambda c: c.art.crystal_probability or 0.0 if c.art else 0.0, reverse=True)
    probabilities = [c.art.crystal_probability or 0.0 for c in ranked if c.art]
    count = wells_for_share(probabilities, SHARE)
    return {
        "crystals": [_tile(person, c) for c in ranked[: min(count, _MOST_LISTED)]],
        "crystalWells": count,
        "crystalShare": SHARE,
        "expectedCrystals": round(sum(probabilities), 1),
        "openDrops": len(open_ones),
        "allDrops": len(candidates),
    }


def _tile(person: Person, candidate: _Candidate) -> dict[str, Any]:
    tile = drop_tile(candidate.drop, shown_image(candidate.drop, candidate.art), candidate.art, candidate.people, person, False)
    return tile | {
        "barcode": candidate.recent.plate.barcode,
        "plateName": candidate.recent.plate.name,
        "inspection": candidate.recent.number,
    }


def _plate(recent: RecentInspection, candidates: Sequence[_Candidate], opened: bool, blind: bool) -> dict[str, Any]:
    groups = Counter(c.art.group or c.art.state for c in candidates if c.art is not None)
    crystals = [c for c in candidates if c.art is not None and is_crystal(c.art.group)]
    likeliest = max(((c.art.crystal_probability or 0.0, c.drop.drop.label) for c in candidates if c.art is not None), default=(0.0, ""))
    return {
        "barcode": recent.plate.barcode,
        "name": recent.plate.name,
        "project": recent.plate.project,
        "inspection": recent.number,
        "takenAt": recent.taken_at,
        "new": not opened,
        "drops": len(candidates),
        "scoredByPeople": sum(bool(c.people) for c in candidates),
        "groups": {} if blind else dict(groups),
        "crystals": None if blind else len(crystals),
        "likeliest": None if blind else {"probability": likeliest[0], "label": likeliest[1]},
        "peopleCrystals": sum(any(is_crystal(score.group) for score in c.people) for c in candidates),
    }
