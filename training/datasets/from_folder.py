"""A folder of images and a CSV file: image, label; where it has them plate, well, inspection, protein, uv, drop_type, um_per_px."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crystal_search.errors import UsageError
from training.datasets.scored_image import CLASS_OF_GROUP, Found, ImageFile, ScoredImage, drop_type_of, plate_and_well
from training.evaluation.judgement import EMPTY_WELL, Judgement, consensus, judgement_of, words_of

_DELIMITERS = ",;\t"
_Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class _Vote:
    """One row of the CSV file."""

    line: int
    row: _Row

    def get(self, column: str) -> str:
        return self.row.get(column, "")


def read_folder(table: Path, folder: Path | None = None) -> Found:
    """The images that ``table`` names, whose paths are relative to ``folder`` (None: to where the table lies).

    Several rows of one image are several people: the majority counts, as in an evaluation. Labels are classes, scores or groups;
    a row with a mistake, an image that is not there and a well that people call empty are left out with one line each. Plate and
    well come from CrystalTrak's name where the file gives none; else the image's folder counts as its plate. Raises ``UsageError``
    for a table that can not be read at all.
    """
    folder = folder or table.parent
    content, votes, problems = _read(table)
    words = words_of(vote.get("label") for _, vote in votes)
    images: list[ScoredImage] = []
    by_name: dict[str, list[tuple[_Vote, Judgement]]] = {}
    for name, vote in votes:
        try:
            said = judgement_of(vote.get("label"), words)
        except ValueError as error:
            problems.append(f"{table} line {vote.line}: {error}")
        else:
            by_name.setdefault(name, []).append((vote, said))
    no_plate = 0
    for name, judged in by_name.items():
        try:
            image, known = _scored(table, folder, name, judged)
        except ValueError as error:
            problems.append(f"{table} line {judged[0][0].line}: {error}")
            continue
        no_plate += not known
        images.append(image)
    notes = [f"{table}: {no_plate} images name no plate: their folder counts as their plate"] if no_plate else []
    return Found(str(table), tuple(images), tuple(problems), tuple(notes), {str(table): hashlib.sha256(content).hexdigest()})


def _read(table: Path) -> tuple[bytes, list[tuple[str, _Vote]], list[str]]:
    """The file's bytes, its rows by image, and one line for each row that is not one."""
    try:
        content = table.read_bytes()
    except OSError as error:
        raise UsageError(f"{table}: can not be read ({error.strerror})") from error
    text = content.decode("utf-8-sig", errors="backslashreplace")
    delimiter = max(_DELIMITERS, key=text.lstrip().partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    votes: list[tuple[str, _Vote]] = []
    problems: list[str] = []
    header: list[str] | None = None
    while True:
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            break
        except csv.Error as error:
            problems.append(f"{table} line {reader.line_num}: this is no CSV ({error})")
            continue
        if not any(cells):
            continue
        if header is None:
            header = cells
            continue
        row = dict(zip(header, cells, strict=False))
        if len(cells) != len(header):
            problems.append(f"{table} line {reader.line_num}: {len(cells)} cells, the header has {len(header)}")
        elif not row.get("image") or not row.get("label"):
            problems.append(f"{table} line {reader.line_num}: no {'label' if row.get('image') else 'image'}")
        else:
            votes.append((row["image"].replace("\\", "/"), _Vote(reader.line_num, row)))
    for column in ("image", "label"):
        if header is None or header.count(column) != 1:
            raise UsageError(f"{table}: needs one column {column!r}; the columns are {', '.join(header or ['none'])}")
    return content, votes, problems


def _scored(table: Path, folder: Path, name: str, judged: list[tuple[_Vote, Judgement]]) -> tuple[ScoredImage, bool]:
    """The image of its rows, and whether its plate is known. Raises ``ValueError``."""
    votes = [vote for vote, _ in judged]
    said = consensus([judgement for _, judgement in judged]).judgement
    if said.empty:
        raise ValueError(f"{name}: {EMPTY_WELL}, which has no drop to cut chops from")
    values = {column: _only(votes, column) for column in ("plate", "well", "protein", "uv", "drop_type", "inspection", "um_per_px")}
    plate, well = plate_and_well(Path(name).name)
    known = bool(values["plate"] or plate)
    return ScoredImage(
        name=name,
        image=_file(folder, name),
        class_name=said.class_name or CLASS_OF_GROUP[said.group],
        plate=values["plate"] or plate or f"folder {Path(name).parent}",
        source=str(table),
        well=values["well"] or well,
        inspection=_number(values, "inspection"),
        uv=_file(folder, values["uv"]) if values["uv"] else None,
        proteins=(values["protein"],) if values["protein"] else (),
        drop_type=drop_type_of(values["drop_type"]),
        um_per_px=_scale(values),
        only_group=said.class_name is None,
    ), known


def _only(votes: list[_Vote], column: str) -> str:
    given = sorted({vote.get(column) for vote in votes} - {""})
    if len(given) > 1:
        raise ValueError(f"{votes[0].get('image')} has more than one {column}: {', '.join(given)}")
    return given[0] if given else ""


def _file(folder: Path, name: str) -> ImageFile:
    path = folder / name.replace("\\", "/")
    if not path.is_file():
        raise ValueError(f"no such file {path}")
    return ImageFile(path)


def _number(values: Mapping[str, str], column: str) -> int | None:
    text = values[column]
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f"{column} {text!r} is not a number")
    return int(text) if text else None


def _scale(values: Mapping[str, str]) -> float | None:
    text = values["um_per_px"]
    try:
        scale = float(text) if text else None
    except ValueError:
        scale = -1.0
    if scale is not None and not 0 < scale <= 1000:
        raise ValueError(f"um_per_px {text!r} is not a scale in micrometres a pixel")
    return scale
