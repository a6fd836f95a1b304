"""What the ledger notes of scores that people entered in the viewer: before they are written, and what became of them.

Every function is one step of a transaction that the caller begins. The order is that of our own writes (decision 0006): noted as
planned, written into XtalTrak, settled by a look into the score table. A kill in between is settled when the action comes again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from crystal_search.ledger.results import utc_now
from crystal_search.ledger.schema import WriteState
from crystal_search.ledger.viewer_tables import viewer_scores
from crystal_search.xtaltrak.scores import ScoreRow


def rows_of_action(connection: Connection, person: str, action: str) -> list[tuple[ScoreRow, WriteState]]:
    """The rows that an action of a person was to enter, with their states; none when it is unknown."""
    return _rows(connection, (viewer_scores.c.person == person) & (viewer_scores.c.action == action))


def latest_action(connection: Connection, person: str) -> str | None:
    """The person's latest action that still stands, or None."""
    return connection.execute(
        select(viewer_scores.c.action)
        .where(viewer_scores.c.person == person, viewer_scores.c.state.in_([WriteState.WRITTEN, WriteState.REMOVING]))
        .order_by(viewer_scores.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()


def note_action(connection: Connection, action: str, rows: Sequence[ScoreRow]) -> None:
    """Note rows that are about to be written."""
    now = utc_now()
    connection.execute(
        insert(viewer_scores),
        [
            {
                "person": row.scorer,
                "action": action,
                "score_id": row.score_id,
                "inspection_id": row.inspection_id,
                "image_name": row.image_name,
                "score": row.score,
                "scored_at": row.scored_at,
                "state": WriteState.PLANNED,
                "entered_at": now,
            }
            for row in rows
        ],
    )


def note_state(connection: Connection, score_ids: Iterable[int], state: WriteState) -> None:
    """Note what became of rows."""
    connection.execute(update(viewer_scores).where(viewer_scores.c.score_id.in_(list(score_ids))).values(state=state))


def _rows(connection: Connection, which: Any) -> list[tuple[ScoreRow, WriteState]]:
    found = connection.execute(select(viewer_scores).where(which).order_by(viewer_scores.c.id))
    return [
        (
            ScoreRow(
                score_id=row.score_id,
                inspection_id=row.inspection_id,
                image_name=row.image_name,
                score=row.score,
                scored_at=row.scored_at,
                scorer=row.person,
            ),
            WriteState(row.state),
        )
        for row in found
    ]
