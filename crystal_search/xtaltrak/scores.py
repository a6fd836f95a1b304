"""XtalTrak's score table as we may use it: we read every row, and write none but our own (write-back rules 1 and 3, P28).

Our own are the rows that the ledger says we wrote. A row that merely bears our scorer's name is treated as a person's: a person
may be called so, or an earlier system. That holds statement by statement: whatever writes carries our own scorer's name in its
text, and looks for people's scores in the same statement, under the table's lock. What was seen before the lock is only a plan.
The database sees to it too: what is written goes through a view that shows and takes rows of our scorer only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec

from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.artscores import ArtscoreTable
from crystal_search.xtaltrak.images import Protect

#: Inspections that are read together are no further apart, and no more, than this.
_GAP, _RUN = 8, 1000


class ScoreRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the score table. ``scored_at`` is ISO text to the second; a person's row may lack anything but its number."""

    score_id: int
    inspection_id: int
    image_name: str | None
    score: str | None
    scored_at: str | None
    scorer: str | None

    def to_json(self) -> str:
        """The same text for the same row."""
        return _ENCODER.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> ScoreRow:
        return _DECODER.decode(text)

    @property
    def identity(self) -> tuple[int, int, str | None, str | None, str | None]:
        """What stays the same when our row gets another score; its date is the inspection's, a person's is not."""
        return self.score_id, self.inspection_id, self.image_name, self.scored_at, self.scorer

    @property
    def sha256(self) -> str:
        """SHA-256 of ``to_json``, hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


_ENCODER, _DECODER = msgspec.json.Encoder(order="sorted"), msgspec.json.Decoder(ScoreRow)


def protecting_row(
    rows: Iterable[ScoreRow], inspection_id: int, image_name: str, own: Collection[int], protect: Protect
) -> ScoreRow | None:
    """The person's row, among those of a drop, that keeps our score of an image out; None when nothing does.

    ``own`` are the numbers of our own rows; every other row is a person's. Of several the one nearest to the image is returned,
    then the newest.
    """
    people = [row for row in rows if row.score_id not in own and (protect == "drop" or _is_on(row, inspection_id, image_name))]
    return max(people, key=lambda row: (_is_on(row, inspection_id, image_name), row.scored_at or "", row.score_id), default=None)


def _is_on(row: ScoreRow, inspection_id: int, image_name: str) -> bool:
    """Whether a row scores this very image; one without an image's name scores all of its inspection."""
    return row.inspection_id == inspection_id and row.image_name in (None, image_name)


class DropNow(NamedTuple):
    """What XtalTrak has now of an inspection: its drop (barcode, column, row, subwell), its images' names, and every score on that drop.

    The scores are those of all inspections of the drop.
    """

    place: tuple[Any, ...]
    images: Collection[str | None]
    rows: Sequence[ScoreRow]


def next_ids(xtaltrak: XtalTrak, count: int) -> list[int]:
    """``count`` numbers from our private sequence; those that are not used are lost, which harms nobody."""
    with xtaltrak.transaction():
        numbers: list[int] = []
        while len(numbers) < count:
            for first, how_many in xtaltrak.query("score_next_ids", {"how_many": count - len(numbers)}):
                numbers += range(int(first), int(first) + int(how_many))
        return numbers


class ScoreTable:
    """The score table through an open XtalTrak. Every call raises ``TryAgainLater`` when the database is away."""

    def __init__(self, xtaltrak: XtalTrak, protect: Protect) -> None:
        self.xtaltrak = xtaltrak
        self._by_drop = int(protect == "drop")
        self.protect: Protect = protect
        self.scorer = xtaltrak.scorer
        self.artscores = ArtscoreTable(xtaltrak)

    def of_drop(self, inspection_id: int) -> DropNow | None:
        """What there is now of the drop of an inspection; None when XtalTrak has no such inspection."""
        return self.of_drops([inspection_id])[inspection_id]

    def of_drops(self, inspection_ids: Collection[int]) -> dict[int, DropNow | None]:
        """``of_drop`` of each of those inspections, in two queries where they lie close together, as those of a batch do."""
        found: dict[int, DropNow | None] = {}
        for first, last, some in _runs(inspection_ids):
            between = {"first": first, "last": last}
            places: dict[int, tuple[Any, ...]] = {}
            images: dict[int, set[str]] = {}
            for number, *place, image_name in self.xtaltrak.query("images_between", between):
                places[int(number)] = tuple(place)
                images.setdefault(int(number), set()).add(image_name)
            rows: dict[int, list[ScoreRow]] = {}
            for number, *columns in self.xtaltrak.query("score_drops", between):
                rows.setdefault(int(number), []).append(score_row(tuple(columns)))
            for number in some:
                there = number in places
                found[number] = DropNow(places[number], images[number], rows.get(number, ())) if there else None
        return found

    def row(self, score_id: int) -> ScoreRow | None:
        """The row of that number, whoever's it is."""
        rows = self.xtaltrak.query("score_row", {"score_id": score_id})
        return score_row(rows[0]) if rows else None

    def between(self, first: int, last: int) -> list[ScoreRow]:
        """The rows whose numbers lie from ``first`` to ``last``, whoever's they are."""
        return [score_row(row) for row in self.xtaltrak.query("score_between", {"first": first, "last": last})]

    def last_number(self, first: int, last: int) -> int | None:
        """The largest number from ``first`` to ``last``, whoever's row it is; None when there is none."""
        ((number,),) = self.xtaltrak.query("score_last_number", {"first": first, "last": last})
        return None if number is None else int(number)

    def named(self, after: int, limit: int) -> list[tuple[int, int]]:
        """Number and inspection of the next rows that bear our scorer's name, by number; somebody else may have written them."""
        rows = self.xtaltrak.query("score_named", {"scorer": self.scorer, "after": after, "max_rows": limit})
        return [(int(number), int(inspection_id)) for number, inspection_id in rows]

    def displaced(self) -> list[ScoreRow]:
        """The rows that bear our scorer's name where somebody of another name has scored."""
        return [score_row(row) for row in self.xtaltrak.query("score_displaced", {"scorer": self.scorer, "by_drop": self._by_drop})]

    def next_ids(self, count: int) -> list[int]:
        """``count`` numbers for new rows; those that are not used are lost, which harms nobody."""
        return next_ids(self.xtaltrak, count)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A transaction in which nobody else writes scores."""
        with self.xtaltrak.transaction():
            self.xtaltrak.execute("score_lock")
            self.xtaltrak.guard_own_rows()
            yield

    def insert(self, rows: Iterable[tuple[ScoreRow, Collection[int]]]) -> None:
        """Insert each row, unless a person's or our own score of it is there.

        Here and below the numbers beside a row are those of our own rows on its drop.
        """
        self.xtaltrak.executemany("score_insert", [{**_payload(row), **self._protection(own)} for row, own in rows])

    def update(self, changes: Iterable[tuple[ScoreRow, ScoreRow, Collection[int]]]) -> None:
        """Change each of our rows from what it was to what it shall be, unless it changed meanwhile or a person has scored."""
        self.xtaltrak.executemany(
            "score_update", [{**_payload(after), "before_score": before.score, **self._protection(own)} for before, after, own in changes]
        )

    def delete(self, rows: Iterable[ScoreRow]) -> None:
        """Delete each row that is still exactly so, and ours."""
        self.xtaltrak.executemany("score_delete", [_payload(row) for row in rows])

    def restore(self, changes: Iterable[tuple[ScoreRow, ScoreRow]]) -> None:
        """Give each row that is still exactly as the second its former score and date, those of the first."""
        self.xtaltrak.executemany(
            "score_restore",
            [{**_payload(after), "before_score": before.score, "before_scored_at": before.scored_at} for before, after in changes],
        )

    def take_out(self, rows: Iterable[tuple[ScoreRow, Collection[int]]]) -> None:
        """Delete each of our rows where a person has scored."""
        self.xtaltrak.executemany(
            "score_take_out",
            [
                {
                    "score_id": row.score_id,
                    "inspection_id": row.inspection_id,
                    "image_name": row.image_name,
                    "scorer": self.scorer,
                    **self._protection(own),
                }
                for row, own in rows
            ],
        )

    def _protection(self, own: Collection[int]) -> dict[str, Any]:
        """What a statement needs to tell people's rows; never an empty text, which is NULL to Oracle."""
        return {"by_drop": self._by_drop, "own_ids": "".join([",", *(f"{number}," for number in sorted(own))])}


def _runs(numbers: Collection[int]) -> Iterator[tuple[int, int, list[int]]]:
    """First, last and all of each run of numbers that lie so close together that whatever is between them may be read too."""
    run: list[int] = []
    for number in sorted(set(numbers)):
        if run and (number - run[-1] > _GAP or len(run) == _RUN):
            yield run[0], run[-1], run
            run = []
        run.append(number)
    if run:
        yield run[0], run[-1], run


def score_row(columns: tuple[Any, ...]) -> ScoreRow:
    """A row as the statements give it: number, inspection, image, score, date, scorer."""
    score_id, inspection_id, image_name, score, scored_at, scorer = columns
    return ScoreRow(
        score_id=int(score_id),
        inspection_id=int(inspection_id),
        image_name=_text(image_name),
        score=_text(score),
        scored_at=_text(scored_at),
        scorer=_text(scorer),
    )


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _payload(row: ScoreRow) -> dict[str, Any]:
    return msgspec.structs.asdict(row)
