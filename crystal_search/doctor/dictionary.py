"""What the database's own dictionary says of the tables in the mapping: of Oracle's ALL_ views, or of SQLite's pragmas."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from crystal_search.errors import SettingsError
from crystal_search.xtaltrak import XtalTrak

_EVERYTHING = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})


@dataclass(frozen=True, slots=True)
class Place:
    """What a name of the mapping stands for: owner and name in the database."""

    owner: str
    table: str

    def __str__(self) -> str:
        return f"{self.owner}.{self.table}" if self.owner else self.table


@dataclass(frozen=True, slots=True)
class Column:
    """A column. ``length`` in characters and ``digits`` are None where the type has none; ``required``: NOT NULL without a default."""

    name: str
    type: str
    length: int | None
    digits: int | None
    required: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition on a column (with its text), or its reference to another table's key."""

    name: str
    column: str
    condition: str | None


@dataclass(frozen=True, slots=True)
class View:
    text: str
    has_check_option: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """``next_number`` is a number that it may give next; it gives larger ones only, up to ``last``."""

    next_number: int
    last: int
    step: int


class Dictionary:
    """Looks things up as our account sees them; every call may raise what ``XtalTrak.query`` does."""

    def __init__(self, xtaltrak: XtalTrak) -> None:
        self._xtaltrak = xtaltrak
        self.is_oracle = xtaltrak.dialect == "oracle"

    @cached_property
    def user(self) -> str:
        """Our account; empty in SQLite."""
        return str(self._xtaltrak.query("doctor_user")[0][0]) if self.is_oracle else ""

    def place(self, key: str) -> Place | None:
        """Where the table, view or sequence of a key of the mapping is, through synonyms; None when our account sees none."""
        owner, _, table = self._xtaltrak.names[key].rpartition(".")
        place = Place(owner or self.user, table)
        for _ in range(5):  # a synonym may stand for another
            found = self._xtaltrak.query("doctor_object", {"owner": place.owner, "table_name": place.table})
            if not found:
                return None
            if any(kind != "SYNONYM" for _, _, kind in found):
                return place
            place = Place(str(found[0][0]), str(found[0][1]))
        return None

    def columns(self, place: Place) -> dict[str, Column]:
        """The columns by name."""
        rows = self._xtaltrak.query("doctor_columns", _params(place))
        return {
            str(name): Column(str(name), str(kind), length or None, digits, bool(required)) for name, kind, length, digits, required in rows
        }

    def triggers(self, place: Place) -> list[str] | None:
        """The triggers that are on; None when our account may not see them."""
        try:
            rows = self._xtaltrak.query("doctor_triggers", _params(place))
        except SettingsError:  # no grant on DBA_TRIGGERS
            if place.owner != self.user:
                return None
            rows = self._xtaltrak.query("doctor_triggers_own", _params(place))
        return [str(name) for (name,) in rows]

    def unique_keys(self, place: Place) -> dict[str, frozenset[str]]:
        """The columns of everything that has to be unique, by its name."""
        found: dict[str, set[str]] = defaultdict(set)
        for name, column in self._xtaltrak.query("doctor_keys", _params(place)):
            found[str(name)].add(str(column))
        return {name: frozenset(columns) for name, columns in found.items()}

    def rules(self, place: Place) -> list[Rule]:
        """Conditions on single columns, and references to other tables."""
        rows = self._xtaltrak.query("doctor_rules", _params(place))
        return [Rule(str(name), str(column), None if kind == "R" else str(text or "")) for name, kind, column, text in rows]

    def privileges(self, place: Place) -> frozenset[str]:
        """What our account may do there: SELECT, INSERT, UPDATE, DELETE, READ."""
        if not self.is_oracle or place.owner == self.user:
            return _EVERYTHING
        rows = self._xtaltrak.query("doctor_privileges", _params(place))
        return frozenset(str(privilege).removesuffix(" ANY TABLE").removesuffix(" ANY SEQUENCE") for (privilege,) in rows)

    def view(self, place: Place) -> View | None:
        """The view there; None when it is no view, or not Oracle's."""
        rows = self._xtaltrak.query("doctor_view", _params(place)) if self.is_oracle else []
        return View(str(rows[0][0]), rows[0][1] > 0) if rows else None

    def sequence(self, place: Place) -> Sequence | None:
        """The sequence there; None when there is none, or it is not Oracle's."""
        rows = self._xtaltrak.query("doctor_sequence", _params(place)) if self.is_oracle else []
        return Sequence(*(int(value) for value in rows[0])) if rows else None


def _params(place: Place) -> dict[str, str]:
    return {"owner": place.owner, "table_name": place.table}
