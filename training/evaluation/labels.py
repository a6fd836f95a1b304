"""The labels file: what people said about which image, one row a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crystal_search.crystaltrak_names import MalformedNameError, parse_image_name
from crystal_search.csv_table import Line, read_csv
from crystal_search.errors import UsageError
from training.evaluation.judgement import Consensus, Judgement, Words, consensus, judgement_of, words_of
from training.evaluation.matching import file_name, normal_path

#: What a column of the labels file can be for, and its name where ``--column`` does not give another.
ROLES = ("image", "label", "plate", "well", "scorer", "source", "um_per_px")


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image, where it belongs, and each person's judgement; empty text where the file does not say.

    ``um_per_px`` is the scale as the file writes it, which may be anything: an evaluation does not need it."""

    image: str
    plate: str
    well: str
    source: str
    judgements: tuple[Judgement, ...]
    consensus: Consensus
    um_per_px: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """A labels file. ``unlabelled`` images have a row without a label; ``scored_again`` are images that one person scored twice."""

    path: str
    words: Words
    images: dict[str, LabelledImage]
    unlabelled: tuple[str, ...]
    scored_again: tuple[str, ...]


def read_labels(path: Path, columns: Mapping[str, str] | None = None, words: Words | None = None) -> Labels:
    """The labels in ``path``. ``columns`` names columns by role, where they are not called as the role; ``words`` None: see ``words_of``.

    Rows of one image are several people; where a column names them, the last row of a person counts. Plate and well come from
    CrystalTrak's file name where the file gives none. Raises ``UsageError`` with one line for what ``read_csv`` refuses, an unknown
    label, an image on two plates or in two wells, and a file without any label.
    """
    named = {role: (columns or {}).get(role, role) for role in ROLES}
    lines = read_csv(path, {named["image"], named["label"]} | set((columns or {}).values()))
    votes: dict[str, dict[str, tuple[Line, str]]] = {}
    unlabelled: list[str] = []
    scored_again: list[str] = []
    for line in lines:
        image = normal_path(line.cells[named["image"]])
        if not image:
            raise UsageError(f"{path} line {line.number}: no image named")
        label = line.cells[named["label"]]
        if not label:
            unlabelled.append(image)
            continue
        people = votes.setdefault(image, {})
        person = line.cells.get(named["scorer"], "") or f"line {line.number}"
        if person in people:
            scored_again.append(image)
        people[person] = line, label
    if not votes:
        raise UsageError(f"{path}: no row has a label in column {named['label']!r}")
    reading = words or words_of(label for people in votes.values() for _, label in people.values())
    images = {image: _labelled(path, image, list(people.values()), named, reading) for image, people in votes.items()}
    return Labels(str(path), reading, images, tuple(unlabelled), tuple(scored_again))


def _labelled(path: Path, image: str, votes: list[tuple[Line, str]], named: Mapping[str, str], words: Words) -> LabelledImage:
    judgements = tuple(_judgement(path, line, label, words) for line, label in votes)
    lines = [line for line, _ in votes]
    plate, well = (_only(path, image, role, lines, named[role]) for role in ("plate", "well"))
    sources = {line.cells.get(named["source"], "") for line in lines}
    if not plate:
        plate, inferred = _from_name(image)
        well = well or inferred
    scale = lines[-1].cells.get(named["um_per_px"], "")
    return LabelledImage(image, plate, well, " + ".join(sorted(filter(None, sources))), judgements, consensus(judgements), scale)


def _judgement(path: Path, line: Line, label: str, words: Words) -> Judgement:
    try:
        return judgement_of(label, words)
    except ValueError as error:
        raise UsageError(f"{path} line {line.number}: {error}") from error


def _only(path: Path, image: str, role: str, lines: list[Line], column: str) -> str:
    """The one plate or well that an image's rows name."""
    given = {line.cells.get(column, ""): line.number for line in lines}
    given.pop("", None)
    if len(given) > 1:
        raise UsageError(f"{path} line {max(given.values())}: {image} has more than one {role}: {', '.join(sorted(given))}")
    return next(iter(given), "")


def _from_name(image: str) -> tuple[str, str]:
    """Plate and well as CrystalTrak's file name tells them, empty for any other name."""
    try:
        drop = parse_image_name(file_name(image)).drop
    except MalformedNameError:
        return "", ""
    return drop.barcode, drop.well.label
