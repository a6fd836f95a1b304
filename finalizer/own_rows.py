"""Which rows of the score table are ours: those that the ledger says we wrote, never just any that bears our scorer's name."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from crystal_search.ledger import Ledger
from crystal_search.ledger.writes import ours_among, standing_between
from crystal_search.xtaltrak.scores import ScoreRow, ScoreTable, protecting_row

_PAGE = 10_000


class OnDrop(msgspec.Struct, frozen=True, gc=False):
    """Every score on a drop, and the numbers of those that are ours."""

    rows: tuple[ScoreRow, ...]
    own: frozenset[int]


def _on_drop(rows: Sequence[ScoreRow], ours: frozenset[int]) -> OnDrop:
    return OnDrop(tuple(rows), frozenset(row.score_id for row in rows if row.score_id in ours))


class OwnRows:
    """Looks into the score table first and into the ledger then, where a row of ours is noted before it is written."""

    def __init__(self, ledger: Ledger, table: ScoreTable) -> None:
        self._ledger = ledger
        self._table = table

    def on_drop(self, inspection_id: int, undone_too: bool = False) -> OnDrop | None:
        """The scores on an inspection's drop; None when XtalTrak has no such inspection. ``undone_too``: see ``ours_among``."""
        return self.on_drops([inspection_id], undone_too)[inspection_id]

    def on_drops(self, inspection_ids: Collection[int], undone_too: bool = False) -> dict[int, OnDrop | None]:
        """``on_drop`` of each of those inspections."""
        found = self._table.of_drops(inspection_ids)
        named = {row.score_id: row for rows in found.values() if rows for row in rows if row.scorer == self._table.scorer}
        ours: frozenset[int] = frozenset()
        if named:
            with self._ledger.read() as connection:
                ours = ours_among(connection, named.values(), undone_too)
        return {number: None if rows is None else _on_drop(rows, ours) for number, rows in found.items()}

    def foreign(self) -> list[tuple[int, int]]:
        """Number and inspection of the rows under our scorer's name that we did not write."""
        foreign: list[tuple[int, int]] = []
        after = -(2**62)
        while page := self._table.named(after, _PAGE):
            after = page[-1][0]
            with self._ledger.read() as connection:
                ours = standing_between(connection, page[0][0], after)
            foreign += [row for row in page if row not in ours]
        return foreign

    def displaced(self, foreign: Collection[tuple[int, int]]) -> list[tuple[ScoreRow, frozenset[int]]]:
        """Our rows where a person has scored, or somebody under our name; with each the numbers of our rows on its drop."""
        numbers = {number for number, _ in foreign}
        inspections = {inspection_id for _, inspection_id in foreign}
        inspections |= {row.inspection_id for row in self._table.displaced() if row.score_id not in numbers}
        return self.kept_out(inspections)

    def kept_out(self, inspections: Collection[int]) -> list[tuple[ScoreRow, frozenset[int]]]:
        """Our rows that somebody's score keeps out, on the drops of those inspections; with each the numbers of our rows on its drop."""
        found: dict[int, tuple[ScoreRow, frozenset[int]]] = {}
        for on_drop in self.on_drops(inspections).values():
            for row in on_drop.rows if on_drop else ():
                if on_drop and row.score_id in on_drop.own and self._is_kept_out(on_drop, row):
                    found[row.score_id] = (row, on_drop.own)
        return [found[number] for number in sorted(found)]

    def _is_kept_out(self, on_drop: OnDrop, row: ScoreRow) -> bool:
        return protecting_row(on_drop.rows, row.inspection_id, row.image_name or "", on_drop.own, self._table.protect) is not None

    def warning(self, foreign: Collection[tuple[int, int]]) -> str | None:
        """One line for the log about rows under our name that are not ours."""
        if not foreign:
            return None
        return (
            f"I_SCORES holds {len(foreign)} rows of scorer {self._table.scorer!r} that this ledger did not write: they are left as they "
            "are; if a person uses that name, choose another xtaltrak.scorer"
        )
