"""People's scores as the viewer enters them: under the person's own name, beside every other row and never over one (write-back rule 8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from crystal_search import settings
from crystal_search.errors import SettingsError, UsageError
from crystal_search.xtaltrak import XtalTrak, open_xtaltrak
from crystal_search.xtaltrak.scores import ScoreRow, next_ids

#: As long as SCOREDBY may be.
MOST_CHARACTERS = 30


def checked_scorer(person: str, our_scorer: str) -> str:
    """The name under which a person's scores stand. Raises ``UsageError`` for one that can not be, our own scorer's among them."""
    name = person.strip()
    if not name or len(name) > MOST_CHARACTERS or not name.isprintable():
        raise UsageError(f"{person!r}: a name of 1 to {MOST_CHARACTERS} printable characters is needed, as XtalTrak stores it")
    if name.casefold() == our_scorer.casefold():
        raise UsageError(f"{person!r} is the name of the ARTscores (xtaltrak.scorer); no person may have it")
    return name


def check_account(section: settings.XtalTrak, viewer: settings.Viewer) -> None:
    """Raises ``SettingsError`` where people may score into Oracle and no account of the viewer's own is there for it (rule 8)."""
    if section.dialect != "oracle" or not viewer.scoring:
        return
    if not viewer.user:
        raise SettingsError(
            "viewer.user is missing: people's scores go into Oracle through an account of the viewer's own; "
            "`crystal-search dba-script --viewer NAME` prints what the DBA runs for it (docs/how-to/viewer.md)"
        )
    if viewer.user.casefold() == section.user.casefold():
        raise SettingsError(
            f"viewer.user is {viewer.user}, as xtaltrak.user: people's scores need an account that can write nothing else, "
            "and looking one that can not write them (docs/how-to/viewer.md)"
        )


def open_for_people(section: settings.XtalTrak, viewer: settings.Viewer) -> XtalTrak:
    """XtalTrak as people's scores are written: in Oracle through the viewer's own account. Raises as ``open_xtaltrak``."""
    check_account(section, viewer)
    return open_xtaltrak(section, viewer)


class PeopleScores:
    """Writes rows of people, each only with that person's name in the statement itself.

    ``xtaltrak`` is what ``open_for_people`` opens: its account writes the view of people's rows and nothing else. Every call raises
    ``TryAgainLater`` when the database is away; the importer's lock on the table is waited for.
    """

    def __init__(self, xtaltrak: XtalTrak) -> None:
        self._xtaltrak = xtaltrak

    def next_ids(self, count: int) -> list[int]:
        """``count`` numbers for new rows, from the same private sequence as our own rows' numbers, so that no two are alike."""
        return next_ids(self._xtaltrak, count)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction: all rows of one action, or none."""
        with self._xtaltrak.transaction():
            self._xtaltrak.guard_people_rows()
            yield

    def insert(self, rows: Iterable[ScoreRow]) -> int:
        """Add each row, unless its number is taken or XtalTrak has no such image; the rows added."""
        return self._xtaltrak.executemany("person_insert", [msgspec.structs.asdict(row) for row in rows])

    def delete(self, rows: Iterable[ScoreRow]) -> int:
        """Delete each row that is still exactly so and bears that person's name; the rows deleted."""
        return self._xtaltrak.executemany("person_delete", [msgspec.structs.asdict(row) for row in rows])
