"""A person scores: one key press is one action, entered once however often it is sent, and undone as one."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from crystal_search.errors import TryAgainLater
from crystal_search.ledger.entered import latest_action, note_action, note_state, rows_of_action
from crystal_search.ledger.schema import WriteState
from crystal_search.xtaltrak.images import database_time
from crystal_search.xtaltrak.person_rows import checked_scorer
from crystal_search.xtaltrak.scores import ScoreRow, score_row
from viewer.errors import BadRequest, NotAllowed, NotFound
from viewer.evaluations import Score, scores_on_drop
from viewer.lab import Lab
from viewer.person import Person, Role
from viewer.plates import find_plate, is_plain_name

#: As many as the largest plate has wells.
MOST_DROPS = 1536
_ACTION = re.compile(r"[A-Za-z0-9-]{8,36}")


@dataclass(frozen=True, slots=True)
class Entered:
    """What an action did: the rows that stand now, and what other people entered that the browser did not know of."""

    action: str
    rows: tuple[ScoreRow, ...]
    others: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class TakenBack:
    """An action that was undone: the rows that are gone, and those that changed since and were left."""

    action: str
    rows: tuple[ScoreRow, ...]
    left: tuple[ScoreRow, ...]


def enter(lab: Lab, person: Person, action: str, score: str, drops: Sequence[tuple[int, str]], known: Collection[int]) -> Entered:
    """Enter ``score`` for images of drops (INSPECTID, name) under the person's name.

    ``known`` are the numbers of the scores that the person's screen showed. Raises ``BadRequest``, ``NotAllowed``, ``NotFound``, and
    ``TryAgainLater`` when a database is away: the same action may then be sent again.
    """
    scorer = _scorer(lab, person)
    if not _ACTION.fullmatch(action):
        raise BadRequest("an action needs a number of its own of 8 to 36 letters, digits and -")
    if not 0 < len(set(drops)) == len(drops) <= MOST_DROPS:
        raise BadRequest(f"score 1 to {MOST_DROPS} drops at a time, each once")
    try:
        codes = lab.codes
        text = score if score in codes.all else codes.of(codes.class_of(score).name)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    for inspection_id, image_name in drops:
        check_image(lab, person, inspection_id, image_name)
    with lab.ledger.read() as connection:
        noted = rows_of_action(connection, scorer, action)
    if not noted:
        noted = _plan(lab, scorer, action, text, drops)
    waiting = [row for row, state in noted if state is WriteState.PLANNED]
    if waiting:
        with lab.people_scores() as people, people.writing():
            people.insert(waiting)
        _settle(lab, waiting)
    standing = tuple(row for row, state in noted if state in (WriteState.PLANNED, WriteState.WRITTEN))
    return Entered(action, standing, tuple(_others(lab, scorer, [key for key, _ in drops], known)))


def take_back(lab: Lab, person: Person, action: str | None) -> TakenBack:
    """Undo an action of the person, the latest that stands when none is named. Raises as ``enter``."""
    scorer = _scorer(lab, person)
    with lab.ledger.read() as connection:
        chosen = action or latest_action(connection, scorer)
        noted = rows_of_action(connection, scorer, chosen) if chosen else []
    rows = [row for row, state in noted if state in (WriteState.WRITTEN, WriteState.REMOVING)]
    if not chosen or not rows:
        raise NotFound("nothing of yours to undo")
    with lab.ledger.begin() as connection:
        note_state(connection, [row.score_id for row in rows], WriteState.REMOVING)
    with lab.people_scores() as people, people.writing():
        people.delete(rows)
    left = tuple(row for row in rows if _standing(lab, row) is not None)
    with lab.ledger.begin() as connection:
        note_state(connection, [row.score_id for row in rows], WriteState.UNDONE)
    return TakenBack(chosen, tuple(row for row in rows if row not in left), left)


def check_image(lab: Lab, person: Person, inspection_id: int, image_name: str) -> tuple[str, int]:
    """Barcode and inspection of an image that the person may see. Raises ``NotFound``."""
    if not 0 < inspection_id < 2**63 or not is_plain_name(image_name):
        raise NotFound("no such image")
    rows = lab.query("viewer_inspection", {"inspection_id": inspection_id})
    if not any(row[2] == image_name for row in rows):
        raise NotFound(f"no image {image_name[:255]!r} of drop {inspection_id} that you may see")
    find_plate(lab, person, str(rows[0][0]))
    return str(rows[0][0]), int(rows[0][1])


def _scorer(lab: Lab, person: Person) -> str:
    if not lab.settings.viewer.scoring:
        raise NotAllowed("scoring is off: an admin sets viewer.scoring = true in crystal-search.toml")
    if not person.may(Role.SCORER):
        raise NotAllowed(f"{person.name} may look but not score: an admin gives the role scorer")
    return checked_scorer(person.name, lab.settings.xtaltrak.scorer)


def _plan(lab: Lab, scorer: str, action: str, score: str, drops: Sequence[tuple[int, str]]) -> list[tuple[ScoreRow, WriteState]]:
    with lab.people_scores() as people:
        numbers = people.next_ids(len(drops))
    now = database_time(datetime.now())
    rows = [
        ScoreRow(score_id=number, inspection_id=inspection_id, image_name=image_name, score=score, scored_at=now, scorer=scorer)
        for number, (inspection_id, image_name) in zip(numbers, drops, strict=True)
    ]
    try:
        with lab.ledger.begin() as connection:
            note_action(connection, action, rows)
    except IntegrityError:  # the same action came twice at once, and the other one was quicker
        with lab.ledger.read() as connection:
            return rows_of_action(connection, scorer, action)
    return [(row, WriteState.PLANNED) for row in rows]


def _settle(lab: Lab, rows: Sequence[ScoreRow]) -> None:
    missing = [row for row in rows if _standing(lab, row) != row]
    with lab.ledger.begin() as connection:
        note_state(connection, [row.score_id for row in rows if row not in missing], WriteState.WRITTEN)
    if missing:
        raise TryAgainLater(f"{len(missing)} scores did not enter XtalTrak; they are kept, try again")


def _standing(lab: Lab, row: ScoreRow) -> ScoreRow | None:
    found = lab.query("score_row", {"score_id": row.score_id})
    return score_row(found[0]) if found else None


def _others(lab: Lab, scorer: str, inspection_ids: Sequence[int], known: Collection[int]) -> list[Score]:
    """What other people entered on those drops at that inspection that is not among ``known``."""
    return [
        score
        for inspection_id in inspection_ids
        for score in scores_on_drop(lab, inspection_id)
        if score.inspection_id == inspection_id and not score.is_ours and score.scorer != scorer and score.score_id not in known
    ]
