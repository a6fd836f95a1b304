"""The viewer's users in the ledger.

Every function is one step of a transaction that the caller begins.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, Row, delete, insert, select, update

from crystal_search.errors import UsageError
from crystal_search.ledger.results import utc_now
from crystal_search.ledger.viewer_tables import viewer_sessions, viewer_users
from viewer.passwords import is_password
from viewer.person import Person, Role


def save_user(
    connection: Connection, name: str, role: Role | None, password: str | None, projects: Sequence[str] | None, all_projects: bool
) -> bool:
    """Add a user, or change what is given of one who is there; True when the user is new. Who is there is signed out.

    ``password`` is a hash. Raises ``UsageError`` for a new user without a role.
    """
    known = connection.execute(select(viewer_users.c.name).where(viewer_users.c.name == name)).first() is not None
    values: dict[str, object] = {"disabled": False}
    if role:
        values["role"] = role
    if password:
        values["password"] = password
    if projects or all_projects:
        values["projects"] = None if all_projects else json.dumps(sorted(projects or ()))
    if known:
        connection.execute(update(viewer_users).where(viewer_users.c.name == name).values(**values))
        sign_out_everywhere(connection, name)
        return False
    if role is None:
        raise UsageError(f"{name} is a new user: give --role viewer, scorer or admin")
    connection.execute(insert(viewer_users).values(name=name, created_at=utc_now(), **values))
    return True


def disable_user(connection: Connection, name: str) -> None:
    """Let a user in no more; what that person scored stays. Raises ``UsageError`` for nobody."""
    if not connection.execute(update(viewer_users).where(viewer_users.c.name == name).values(disabled=True)).rowcount:
        raise UsageError(f"no user {name!r}; `crystal-search viewer-user list` names them")
    sign_out_everywhere(connection, name)


def sign_out_everywhere(connection: Connection, name: str) -> None:
    connection.execute(delete(viewer_sessions).where(viewer_sessions.c.person == name))


def all_users(connection: Connection) -> list[tuple[Person, bool]]:
    """Every user by name, and whether that one may come in."""
    rows = connection.execute(select(viewer_users).order_by(viewer_users.c.name))
    return [(_person(row), not row.disabled) for row in rows]


def user_named(connection: Connection, name: str) -> Person | None:
    """The user of that name who may come in, or None."""
    row = connection.execute(select(viewer_users).where(viewer_users.c.name == name, viewer_users.c.disabled.is_(False))).one_or_none()
    return None if row is None else _person(row)


def user_with_password(connection: Connection, name: str, password: str) -> Person | None:
    """The user of that name and password who may come in, or None."""
    row = connection.execute(select(viewer_users).where(viewer_users.c.name == name, viewer_users.c.disabled.is_(False))).one_or_none()
    right = is_password(password, None if row is None else row.password)
    return _person(row) if row is not None and right else None


def _person(row: Row[tuple[object, ...]]) -> Person:
    return Person(row.name, Role(row.role), None if row.projects is None else frozenset(json.loads(row.projects)))
