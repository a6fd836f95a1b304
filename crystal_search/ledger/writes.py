"""Every write into XtalTrak's score table, noted before it is made: what was there, what was written, what became of it.

No transaction spans both databases. So a write is noted as planned (or, on the way back, removing) and committed here, then
made there, then settled here by a look into the score table; a kill in between changes nothing but the time of that look.
Every function is one step of a transaction that the caller begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from crystal_search.ledger.bulk import execute_many
from crystal_search.ledger.results import utc_now
from crystal_search.ledger.schema import WriteState, writes
from crystal_search.xtaltrak.scores import ScoreRow


class Action(StrEnum):
    INSERT = "insert"
    UPDATE = "update"


#: Written into the statement as it stands: only so does SQLite see that the index of the unsettled writes serves.
_UNSETTLED: ColumnElement[bool] = writes.c.state.in_(
    bindparam("unsettled", [WriteState.PLANNED.value, WriteState.REMOVING.value], expanding=True, literal_execute=True)
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A row that shall be in the score table: ``after``, in the place of ``before`` where our own row is there already.

    ``own`` are the numbers of our own rows on the drop, which do not stand in its way; it is not noted.
    """

    image_id: int
    before: ScoreRow | None
    after: ScoreRow
    own: frozenset[int] = field(default=frozenset(), compare=False)

    @property
    def action(self) -> Action:
        return Action.INSERT if self.before is None else Action.UPDATE


class Write(msgspec.Struct, frozen=True, gc=False):
    """A noted write."""

    id: int
    state: WriteState
    plan: Plan


def note_plans(connection: Connection, batch_id: int, plans: Iterable[Plan]) -> None:
    """Note what is about to be written."""
    now = utc_now()
    execute_many(
        connection,
        _INSERT,
        [
            {
                "batch_id": batch_id,
                "image_id": plan.image_id,
                "score_id": plan.after.score_id,
                "inspection_id": plan.after.inspection_id,
                "action": plan.action.value,
                "before": plan.before and plan.before.to_json(),
                "after": (after := plan.after.to_json()),
                "payload_sha256": hashlib.sha256(after.encode()).hexdigest(),
                "state": WriteState.PLANNED.value,
                "written_at": now,
            }
            for plan in plans
        ],
    )


_INSERT = insert(writes)


def settle_plans(connection: Connection, written: Sequence[int], missed: Sequence[int]) -> None:
    """Note what became of the writes that are planned under those numbers; one that was never made is forgotten."""
    for numbers, change in ((written, update(writes).values(state=WriteState.WRITTEN)), (missed, delete(writes))):
        for some in _pieces(numbers):
            connection.execute(change.where(writes.c.score_id.in_(some), writes.c.state == WriteState.PLANNED))


def written_by(connection: Connection, batch_id: int) -> Sequence[Write]:
    """What a batch wrote and was not taken out again, the latest first."""
    return _select(connection, (writes.c.batch_id == batch_id) & (writes.c.state == WriteState.WRITTEN))[::-1]


def written_as(connection: Connection, score_ids: Iterable[int]) -> Sequence[Write]:
    """What was written, and not taken out again, under any of those numbers."""
    return _select(connection, writes.c.score_id.in_(list(score_ids)) & (writes.c.state == WriteState.WRITTEN))


def written_over(connection: Connection, written: Iterable[Write]) -> set[int]:
    """The ids of those writes in whose row a later write of ours stands, even if that brought the same score back."""
    ids = {write.id: write.plan.after.score_id for write in written}
    last = (
        select(writes.c.score_id, func.max(writes.c.id))
        .where(writes.c.score_id.in_(set(ids.values())), writes.c.state == WriteState.WRITTEN)
        .group_by(writes.c.score_id)
    )
    latest = {row[0]: row[1] for row in connection.execute(last)}
    return {write for write, score_id in ids.items() if latest.get(score_id, write) != write}


def batches_of(connection: Connection, write_ids: Iterable[int]) -> dict[int, int]:
    """The batch of each of those writes."""
    rows = connection.execute(select(writes.c.id, writes.c.batch_id).where(writes.c.id.in_(list(write_ids))))
    return {row.id: row.batch_id for row in rows}


def standing_after(connection: Connection, score_id: int, limit: int) -> Sequence[Write]:
    """What shall stand in the score table under the next ``limit`` numbers after ``score_id``, by number: the last write of each."""
    written = writes.c.state == WriteState.WRITTEN
    numbers = (
        select(writes.c.score_id)
        .where(written, writes.c.score_id > score_id)
        .distinct()
        .order_by(writes.c.score_id)
        .limit(limit)
        .subquery()
    )
    last = {write.plan.after.score_id: write for write in _select(connection, written & writes.c.score_id.in_(select(numbers.c.score_id)))}
    return [last[number] for number in sorted(last)]


def ours_among(connection: Connection, rows: Iterable[ScoreRow], undone_too: bool = False) -> tuple[frozenset[int], frozenset[int]]:
    """The numbers of those rows of the score table that we wrote: all but the score is as in a write of ours.

    Then those among them whose score is none that we wrote. A row that was taken out again and is there nevertheless is somebody
    else's, except to one who looked into the score table while another program of ours was at work (``undone_too``).
    """
    found = {row.score_id: row for row in rows}
    ours: set[int] = set()
    as_written: set[int] = set()
    for some in _pieces(sorted(found)):
        which = writes.c.score_id.in_(some)
        noted = select(writes.c.after).where(which if undone_too else which & (writes.c.state != WriteState.UNDONE))
        for text in connection.execute(noted).scalars().all():
            after = ScoreRow.from_json(text)
            row = found[after.score_id]
            if row.identity == after.identity:
                ours.add(row.score_id)
            if row == after:
                as_written.add(row.score_id)
    return frozenset(ours), frozenset(ours - as_written)


def _pieces(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """So many numbers as a statement takes."""
    return (numbers[start : start + 500] for start in range(0, len(numbers), 500))


def number_range(connection: Connection) -> tuple[int, int] | None:
    """The smallest and the largest number under which we ever wrote; None when there is none."""
    first = connection.execute(select(func.min(writes.c.score_id))).scalar()
    last = connection.execute(select(func.max(writes.c.score_id))).scalar()
    return None if first is None or last is None else (first, last)


def standing_between(connection: Connection, first: int, last: int) -> set[tuple[int, int]]:
    """Number and inspection of what we wrote, and did not take out again, under the numbers from ``first`` to ``last``."""
    which = writes.c.score_id.between(first, last) & (writes.c.state != WriteState.UNDONE)
    return {
        (number, inspection) for number, inspection in connection.execute(select(writes.c.score_id, writes.c.inspection_id).where(which))
    }


def note_removing(connection: Connection, noted: Iterable[Write]) -> None:
    """Note what is about to be taken out."""
    ids = [{"write": write.id} for write in noted]
    if ids:
        removing = update(writes).where(writes.c.id == bindparam("write"), writes.c.state == WriteState.WRITTEN)
        connection.execute(removing.values(state=WriteState.REMOVING), ids)


def unsettled(connection: Connection) -> Sequence[Write]:
    """What was planned or about to be taken out, of which nobody has noted yet whether it was done."""
    return _select(connection, _UNSETTLED)


def outcome(write: Write, row: ScoreRow | None) -> WriteState | None:
    """What the score table's ``row`` of that number says of an unsettled write; None when a planned one was never made."""
    if row == write.plan.after:
        return WriteState.WRITTEN
    if write.state is WriteState.PLANNED:
        return None
    if row is None or row == write.plan.before or row.identity != write.plan.after.identity:
        return WriteState.UNDONE  # also where somebody took our row over, or a new row of theirs got its number
    return WriteState.WRITTEN  # somebody changed our row since; it is not what we would take back


def note_outcomes(connection: Connection, outcomes: Sequence[tuple[Write, WriteState | None]]) -> None:
    """Note what became of unsettled writes; one that was never made is forgotten."""
    now = utc_now()
    groups: dict[tuple[WriteState, WriteState | None], list[int]] = {}
    for write, found in outcomes:
        groups.setdefault((write.state, found), []).append(write.id)
    for (seen, state), ids in groups.items():
        for some in _pieces(ids):
            these = writes.c.id.in_(some) & (writes.c.state == seen)
            if state is None:
                connection.execute(delete(writes).where(these))
            else:
                undone_at = {"undone_at": now} if state is WriteState.UNDONE else {}
                connection.execute(update(writes).where(these).values(state=state, **undone_at))


def _select(connection: Connection, which: ColumnElement[bool]) -> list[Write]:
    rows = connection.execute(
        select(writes.c.id, writes.c.state, writes.c.image_id, writes.c.before, writes.c.after).where(which).order_by(writes.c.id)
    )
    return [
        Write(
            number,
            WriteState(state),
            Plan(image, None if before is None else ScoreRow.from_json(before), ScoreRow.from_json(after)),
        )
        for number, state, image, before, after in rows.all()
    ]
