"""Tables of our own in XtalTrak: every ARTscore, the withheld ones too, with its regions and its picture (rule 7, P27, P28).

Nobody but us writes them, so they need neither lock nor protection; whose a row is, its batch says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from crystal_search.xtaltrak import XtalTrak

Box = tuple[int, int, int, int]
Kind = Literal["artscore", "region", "picture"]
#: An image within a batch: XtalTrak's INSPECTID and the image's name.
ImageKey = tuple[int, str]


class Region(msgspec.Struct, frozen=True):
    """One of an image's best regions: its half-open box in px of the image, its class and that class's probability."""

    box: Box
    class_name: str
    probability: float


class Artscore(msgspec.Struct, frozen=True, kw_only=True):
    """What we say of one image. ``taken_at`` is the inspection's date, ISO text to the second; ``regions`` come best first.

    ``status`` is ``scored``, ``unsure`` or ``no_drop``; the latter two have no score.
    """

    inspection_id: int
    image_name: str
    taken_at: str | None
    status: str
    score: str | None
    class_name: str | None
    probability: float | None
    crystal_probability: float | None
    model: str
    model_sha256: str
    drop_box: Box | None
    regions: tuple[Region, ...]

    @property
    def key(self) -> ImageKey:
        return self.inspection_id, self.image_name

    @property
    def columns(self) -> tuple[Any, ...]:
        """Its row of ARTSCORES after the batch, in the order of its statements."""
        best = self.regions[0].box if self.regions else None
        said = (self.status, self.score, self.class_name, self.probability, self.crystal_probability, self.model, self.model_sha256)
        return (*self.key, self.taken_at, *said, *(self.drop_box or (None,) * 4), *(best or (None,) * 4))

    @property
    def region_columns(self) -> tuple[tuple[Any, ...], ...]:
        """Its rows of ARTSCORE_REGIONS after the batch, in the order of its statements."""
        return tuple(
            (*self.key, place, region.class_name, region.probability, *region.box) for place, region in enumerate(self.regions, start=1)
        )


#: Our tables by the stem of their statements, with the parameters of one row after the batch, in the order of ``<stem>_rows.sql``.
_COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "artscore": (
        *("inspection_id", "image_name", "taken_at", "status", "score", "class_name", "probability", "crystal_probability"),
        *("model", "model_sha256", "drop_x0", "drop_y0", "drop_x1", "drop_y1", "best_x0", "best_y0", "best_x1", "best_y1"),
    ),
    "region": ("inspection_id", "image_name", "place", "class_name", "probability", "x0", "y0", "x1", "y1"),
    "picture": ("inspection_id", "image_name", "picture"),
}
#: How many of them, from the first, are the key within a batch.
KEY_COLUMNS: Mapping[Kind, int] = {"artscore": 2, "region": 3, "picture": 2}
_TEXTS = {"image_name", "taken_at", "status", "score", "class_name", "model", "model_sha256"}
_REALS = {"probability", "crystal_probability"}


class ArtscoreTable:
    """The tables of our own through an open XtalTrak. Every call raises ``TryAgainLater`` when the database is away."""

    def __init__(self, xtaltrak: XtalTrak) -> None:
        self._xtaltrak = xtaltrak

    def rows(self, kind: Kind, batch: str) -> list[tuple[Any, ...]]:
        """What the table holds of a batch, by key; of pictures no more than that."""
        return [_plain(_COLUMNS[kind], row) for row in self._xtaltrak.query(f"{kind}_rows", {"batch": batch})]

    def batches(self, kind: Kind) -> Mapping[str, int]:
        """The batches with rows in the table, and how many."""
        return {str(name): int(count) for name, count in self._xtaltrak.query(f"{kind}_batches")}

    def insert(self, kind: Kind, batch: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, in one transaction; none of them may be there."""
        if rows:
            names = _COLUMNS[kind]
            self._xtaltrak.executemany(f"{kind}_insert", [{"batch": batch, **dict(zip(names, row, strict=True))} for row in rows])

    def delete(self, kind: Kind, batch: str) -> int:
        """Delete what the table holds of a batch; how many rows."""
        return self._xtaltrak.execute(f"{kind}_delete", {"batch": batch})

    def make(self) -> None:
        """Make the tables of an embedded XtalTrak of an earlier version; in the lab's the DBA has made them."""
        self._xtaltrak.make_own_tables()


def _plain(names: Sequence[str], row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row whose values compare as ours do, whatever a driver makes of them."""
    return tuple(
        value if value is None else str(value) if name in _TEXTS else float(value) if name in _REALS else int(value)
        for name, value in zip(names, row, strict=False)
    )
