"""Who looks, and what that one may do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Each may what those before it may: look; score and mark; see the grid's errors and approve batches."""

    VIEWER = "viewer"
    SCORER = "scorer"
    ADMIN = "admin"


_RANK = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, slots=True)
class Person:
    """A person who has signed in. ``projects`` are XtalTrak's project names; None: every plate, those without a project too."""

    name: str
    role: Role
    projects: frozenset[str] | None = None

    def may(self, role: Role) -> bool:
        """Whether this person may what ``role`` may.

        >>> Person("Berta", Role.SCORER).may(Role.VIEWER), Person("Berta", Role.SCORER).may(Role.ADMIN)
        (True, False)
        """
        return _RANK[self.role] >= _RANK[role]

    def sees(self, project: str | None) -> bool:
        """Whether plates of that project may be shown.

        >>> Person("Berta", Role.VIEWER, frozenset({"kinases"})).sees(None)
        False
        """
        return self.projects is None or project in self.projects
