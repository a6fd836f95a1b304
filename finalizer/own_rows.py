"""Which rows of the score table are ours: those that the ledger says we wrote, never just any that bears our scorer's name."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from crystal_search.ledger import Ledger
from crystal_search.ledger.writes import ours_among, standing_between
from crystal_search.xtaltrak.scores import DropNow, ScoreRow, ScoreTable, protecting_row

_PAGE = 10_000


class OnDrop(msgspec.Struct, frozen=True, gc=False):
    """What XtalTrak has of an inspection's drop now, the numbers of the scores that are ours, and of those that somebody changed."""

    now: DropNow
    own: frozenset[int]
    changed: frozenset[int]

    @property
    def rows(self) -> Sequence[ScoreRow]:
        return self.now.rows


def _on_drop(now: DropNow, ours: frozenset[int], changed: frozenset[int]) -> OnDrop:
    numbers = {row.score_id for row in now.rows}
    return OnDrop(now, ours & numbers, changed & numbers)


class OwnRows:
    """Looks into the score table first and into the ledger then, where a row of ours is noted before it is written."""

    def __init__(self, ledger: Ledger, table: ScoreTable) -> None:
        self._ledger = ledger
        self._table = table

    def on_drops(self, inspection_ids: Collection[int], undone_too: bool = False) -> dict[int, OnDrop | None]:
        """What is on the drop of each of those inspections; None where XtalTrak has no such inspection.

        ``undone_too``: see ``ours_among``.
        """
        found = self._table.of_drops(inspection_ids)
        named = {row.score_id: row for now in found.values() if now for row in now.rows if row.scorer == self._table.scorer}
        ours: frozenset[int] = frozenset()
        changed = ours
        if named:
            with self._ledger.read() as connection:
                ours, changed = ours_among(connection, named.values(), undone_too)
        return {number: None if now is None else _on_drop(now, ours, changed) for number, now in found.items()}

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
