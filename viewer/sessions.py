"""Sign-ins: a random token in the browser's cookie, its hash in the ledger, and a second token that every change has to bring (CSRF)."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, delete, insert, select

from crystal_search.ledger.results import utc_now
from crystal_search.ledger.viewer_tables import viewer_sessions
from viewer.person import Person, Role


@dataclass(frozen=True, slots=True)
class Session:
    """Whose sign-in it is; ``role`` is that of the moment of signing in."""

    person: str
    role: Role
    csrf: str


def start_session(connection: Connection, person: Person, hours: float) -> tuple[str, Session]:
    """The token for the browser's cookie, and its session; what has expired is cleared away."""
    now = utc_now()
    connection.execute(delete(viewer_sessions).where(viewer_sessions.c.expires_at < now))
    token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
    connection.execute(
        insert(viewer_sessions).values(
            token_sha256=_hash(token), person=person.name, role=person.role, csrf=csrf, expires_at=now + timedelta(hours=hours)
        )
    )
    return token, Session(person.name, person.role, csrf)


def find_session(connection: Connection, token: str | None) -> Session | None:
    """The session of a cookie that has not expired."""
    if not token:
        return None
    row = connection.execute(
        select(viewer_sessions).where(viewer_sessions.c.token_sha256 == _hash(token), viewer_sessions.c.expires_at > utc_now())
    ).one_or_none()
    return None if row is None else Session(row.person, Role(row.role), row.csrf)


def end_session(connection: Connection, token: str | None) -> None:
    """Sign out; a session that is not there is no error."""
    if token:
        connection.execute(delete(viewer_sessions).where(viewer_sessions.c.token_sha256 == _hash(token)))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
