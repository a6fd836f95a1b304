"""A batch's CSV: what shall enter the score table, for people to look at before it does (P24, P25).

It is written once and read with suspicion: what it says of an image has to be what the ledger says, line by line. Only the
last three columns, which tell what XtalTrak held at that moment and what follows from it, are free, and of these only a
``withhold`` counts: a person may hold an image back by hand, and nobody can add one. What a spreadsheet program does to a file
without being asked is forgiven as far as it changes no value: a byte order mark, semicolons, ``1`` for ``01``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from crystal_search.atomic import write_atomically
from crystal_search.classes import class_of_score
from crystal_search.errors import CrystalSearchError
from crystal_search.ledger.batches import ScoredImage
from crystal_search.xtaltrak.images import database_time
from finalizer.decision import WITHHOLD, WRITE

_FACTS = (
    "inspection_id",
    "image_name",
    "barcode",
    "inspection",
    "inspected_at",
    "well",
    "subwell",
    "score",
    "class",
    "probability",
    "crystal_probability",
    "model",
)
COLUMNS = (*_FACTS, "present_score", "present_scorer", "decision")
_MAX_BYTES = 64 * 1024 * 1024  # 10 000 images make 3 MB


#: The scored images of a batch and what the ledger says of them, by inspection and image name.
_Expected = dict[tuple[str, ...], tuple[ScoredImage, tuple[str, ...]]]


class BatchCsvError(CrystalSearchError):
    """A batch's CSV that is not what the finalizer wrote; the message names the first line that is wrong."""


def write_batch_csv(path: Path, rows: Iterable[tuple[ScoredImage, str, str, str]]) -> None:
    """Write image, present score, present scorer and decision of each row, atomically. Raises ``TryAgainLater`` on a full disk."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows((*_facts(scored), *judged) for scored, *judged in rows)
    write_atomically(path, text.getvalue().encode())


def read_batch_csv(path: Path, expected: Sequence[ScoredImage]) -> list[ScoredImage]:
    """The images of the batch that its CSV says to write.

    ``expected`` are the scored images of the batch. Raises ``BatchCsvError`` for wrong columns, an unknown score, a line twice,
    missing or of another batch, and one that does not say what the ledger says; nothing of such a file may be written.
    """
    lines = csv_lines(path)
    if not lines or tuple(lines[0]) != COLUMNS:
        raise _error(path, f"the first line is not {','.join(COLUMNS)}")
    images = {facts[:2]: (scored, facts) for scored in expected if (facts := _facts(scored))}
    chosen: list[ScoredImage] = []
    seen: set[tuple[str, ...]] = set()
    for number, line in enumerate(lines[1:], 2):
        scored = _checked(path, number, line, images)
        if (key := tuple(line[:2])) in seen:
            raise _error(path, f"line {number}: {line[1]} of inspection {line[0]} is there twice")
        seen.add(key)
        if says_write(line):
            chosen.append(scored)
    if missing := images.keys() - seen:
        raise _error(path, f"{len(missing)} images of the batch are missing, the first is {min(missing)[1]}")
    return chosen


def says_write(line: Sequence[str]) -> bool:
    """Whether a line's decision is to write."""
    return line[-1:] == [WRITE]


def csv_lines(path: Path) -> list[list[str]]:
    """The cells of each line, between commas or semicolons. Raises ``BatchCsvError`` for a file that can not be read."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise _error(path, "too large")
        text = path.read_bytes().decode("utf-8-sig")
        delimiter = ";" if ";" in text.partition("\n")[0] else ","
        return list(csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter))
    except FileNotFoundError:
        raise BatchCsvError(f"{path}: is not there; nothing of it was written. `crystal-search finalize` writes it anew") from None
    except OSError as error:
        raise _error(path, f"can not be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _error(path, f"is not a readable CSV file ({error})") from error


def _checked(path: Path, number: int, line: list[str], images: _Expected) -> ScoredImage:
    """The image that a line is about, after comparing them."""
    if len(line) != len(COLUMNS):
        raise _error(path, f"line {number}: {len(line)} columns, not {len(COLUMNS)}")
    scored, facts = images.get(tuple(line[:2]), (None, ()))
    if scored is None or tuple(line[: len(_FACTS)]) != facts:
        _compare(path, number, line, scored, facts)
        assert scored is not None
    if not says_write(line) and line[-1].partition(":")[0].strip() != WITHHOLD.partition(":")[0]:
        raise _error(path, f"line {number}: decision is {line[-1][:80]!r}, not '{WRITE}', 'withhold' or '{WITHHOLD}...'")
    return scored


def _compare(path: Path, number: int, line: list[str], scored: ScoredImage | None, facts: tuple[str, ...]) -> None:
    """Find what a line says that the ledger does not."""
    try:
        class_of_score(line[_FACTS.index("score")])
    except ValueError as error:
        raise _error(path, f"line {number}: {error}") from error
    if scored is None:
        raise _error(path, f"line {number}: {line[1][:80]!r} of inspection {line[0][:20]} is no scored image of this batch")
    for column, ours, theirs in zip(_FACTS, facts, line, strict=False):
        if ours != theirs and not (column == "score" and class_of_score(ours) == class_of_score(theirs)):
            raise _error(path, f"line {number}: {column} is {theirs[:80]!r}, the ledger has {ours!r}")


def _facts(scored: ScoredImage) -> tuple[str, ...]:
    """The columns that the ledger answers for, as text that reads back as the same."""
    image = scored.image
    taken_at = image.inspection.taken_at
    return (
        str(image.inspection_id),
        image.image_name,
        image.drop.barcode,
        str(image.inspection.number),
        "" if taken_at is None else database_time(taken_at),
        image.drop.well.label,
        str(image.drop.subwell),
        scored.score,
        scored.class_name,
        repr(scored.probability),
        repr(scored.crystal_probability),
        scored.model,
    )


def _error(path: Path, reason: str) -> BatchCsvError:
    return BatchCsvError(
        f"{path}: {reason}; nothing of it was written. A spreadsheet program that reformats numbers and dates when it saves is the "
        "likely cause: change only decisions, in a text editor, or with all columns opened as text. Without the file as it was, "
        "`crystal-search finalize` writes a new one once this one is moved away, without what was withheld by hand"
    )
