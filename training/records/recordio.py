"""MXNet's record files: ``.rec`` with images and labels, ``.idx`` with their places, ``.lst`` with their names, as its im2rec writes them.

A record is a magic number, a word with a flag (3 bits) and the length (29 bits), the data, and zeros up to a multiple of four. Where the
data hold the magic number at a multiple of four, they are cut there and the number is left out: flags 1, 2, 3 are a first, middle and last
part, 0 is a whole record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from crystal_search.atomic import atomic_file
from crystal_search.errors import UsageError

MAGIC = struct.pack("<I", 0xCED7230A)
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_MOST = 1 << 29
#: Flag (0: one label, here; else so many after the header), label, number, a second number that is not used.
_HEADER = struct.Struct("<IfQQ")


@dataclass(frozen=True, slots=True)
class Record:
    """One image: its number, its label and the image file, such as JPEG."""

    number: int
    label: float
    image: bytes


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Writes ``path`` (.rec) and its .idx; returns how many records there are. Raises ``TryAgainLater`` on a full disk."""
    places: list[str] = []
    with atomic_file(path) as file:
        for record in records:
            places.append(f"{record.number}\t{file.tell()}\n")
            _write(file, _HEADER.pack(0, record.label, record.number, 0) + record.image)
    with atomic_file(path.with_suffix(".idx")) as file:
        file.write("".join(places).encode("ascii"))
    return len(places)


def _write(file: BinaryIO, data: bytes) -> None:
    if len(data) >= _MOST:
        raise ValueError(f"{len(data)} bytes do not fit into one record")
    parts = _parts(data)
    for number, part in enumerate(parts):
        flag = _WHOLE if len(parts) == 1 else _FIRST if number == 0 else _LAST if number == len(parts) - 1 else _MIDDLE
        file.write(MAGIC + struct.pack("<I", flag << 29 | len(part)) + part + b"\0" * (-len(part) % 4))


def _parts(data: bytes) -> list[bytes]:
    """``data`` without the magic numbers at multiples of four, cut there."""
    cuts = []
    place = data.find(MAGIC)
    while place >= 0:
        if place % 4 == 0:
            cuts.append(place)
        place = data.find(MAGIC, place + (4 if place % 4 == 0 else 1))
    edges = [0, *(cut + 4 for cut in cuts)], [*cuts, len(data)]
    return [data[start:end] for start, end in zip(*edges, strict=True)]


def read_records(path: Path) -> Iterator[Record]:
    """The records of a .rec file, in the file's order. Its .idx is not needed; where it is there, it tells whether the file was cut off
    between two records.

    Raises ``UsageError`` with one line for a file that can not be read, is cut short, or holds something else.
    """
    count = 0
    try:
        with path.open("rb") as file:
            for place, data in _whole(path, file):
                yield _record(path, place, data)
                count += 1
        index = path.with_suffix(".idx")
        named = sum(bool(line.strip()) for line in index.read_bytes().splitlines()) if index.is_file() else count
    except OSError as error:
        raise UsageError(f"{path}: can not be read ({error.strerror})") from error
    if named != count:
        raise UsageError(
            f"{path}: it holds {count} records and {index.name} names {named}: copy both again from where they were made, or, if the "
            f"{index.suffix} is of another file, move that away"
        )


def _whole(path: Path, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Where each record begins, and its data put together."""
    parts: list[bytes] = []
    start = 0
    while head := file.read(8):
        place = file.tell() - len(head)
        if len(head) < 8 or head[:4] != MAGIC:
            raise UsageError(f"{path}: no record begins at byte {place}: the file is cut short, damaged, or no record file of MXNet")
        (word,) = struct.unpack("<I", head[4:])
        flag, length = word >> 29, word & _MOST - 1
        part = file.read(length + -length % 4)
        if len(part) < length:
            raise UsageError(f"{path}: the file ends within the record at byte {place}: copy it again from where it was made")
        if flag not in (_WHOLE, _FIRST, _MIDDLE, _LAST) or (flag in (_MIDDLE, _LAST)) != bool(parts):
            raise UsageError(f"{path}: the record at byte {place} is no part of the one before: the file is damaged")
        start = start if parts else place
        parts.append(part[:length])
        if flag in (_WHOLE, _LAST):
            yield start, MAGIC.join(parts)
            parts = []
    if parts:
        raise UsageError(f"{path}: the file ends within the record at byte {start}: copy it again from where it was made")


def _record(path: Path, place: int, data: bytes) -> Record:
    if len(data) < _HEADER.size:
        raise UsageError(f"{path}: the record at byte {place} has {len(data)} bytes, too few for an image")
    flag, label, number, _ = _HEADER.unpack_from(data)
    # Records for detectors begin with the length of their header, which would pass for a class.
    if flag > 1:
        raise UsageError(f"{path}: the record at byte {place} has {flag} labels: only records with one, its class, can be taken")
    labels = 4 * flag
    if len(data) < _HEADER.size + labels:
        raise UsageError(f"{path}: the record at byte {place} ends before its label")
    if flag:
        (label,) = struct.unpack_from("<f", data, _HEADER.size)
    return Record(int(number), float(label), data[_HEADER.size + labels :])
