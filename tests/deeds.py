"""What people did to the score table, remembered, so that it can be done again in a lab without us."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from scored_lab import ScoreTuple

#: The rows that a person deleted, and those that they have now; complete enough to be done again where we are not.
Deed = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]
Content = Counter[tuple[Any, ...]]


def content(rows: Iterable[ScoreTuple]) -> Content:
    """Rows without their numbers."""
    return Counter(row[1:] for row in rows)


@dataclass
class Deeds:
    """All deeds in order."""

    done: list[Deed] = field(default_factory=list)

    def note(self, before: Content, after: Content) -> None:
        """People's rows before and after a deed."""
        self.done.append((list((before - after).elements()), list((after - before).elements())))

    def alone(self) -> Content:
        """What people would have in a lab without us."""
        have: Content = Counter()
        for gone, new in self.done:
            assert not Counter(gone) - have, "a person's row changed behind that person's back"
            have = have - Counter(gone) + Counter(new)
        return have
