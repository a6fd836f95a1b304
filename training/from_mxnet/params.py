"""MXNet's ``.params`` files: named arrays, as ``mx.nd.save`` writes them."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crystal_search.errors import UsageError

_LIST_MAGIC = 0x112
#: An array's form: the shape's length as unsigned (V1) or signed number (V2, V3), V2 and V3 with a storage type before it.
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_TYPES: dict[int, str] = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}
_DENSE = 0


class _Damaged(Exception):
    """Why a file is none; becomes one line."""


@dataclass(slots=True)
class _Reader:
    content: memoryview
    place: int = 0

    def bytes(self, count: int) -> memoryview:
        if count < 0 or self.place + count > len(self.content):
            raise _Damaged("it ends too early")
        self.place += count
        return self.content[self.place - count : self.place]

    def numbers(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{form}", self.bytes(struct.calcsize(f"<{form}")))

    def number(self, form: str) -> int:
        return int(self.numbers(form)[0])


def read_params(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a checkpoint by name, without the prefixes ``arg:`` and ``aux:``.

    Raises ``UsageError`` with one line for a file that can not be read, is cut short or is of another kind.
    """
    try:
        return _read(_Reader(memoryview(path.read_bytes())))
    except OSError as error:
        raise UsageError(f"{path}: can not be read ({error.strerror})") from error
    except (_Damaged, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{path} is no whole checkpoint of MXNet ({error}): copy it again from where it was trained") from error


def _read(reader: _Reader) -> dict[str, npt.NDArray[Any]]:
    magic, _ = reader.numbers("QQ")
    if magic != _LIST_MAGIC:
        raise _Damaged("it does not begin as one")
    arrays = [_array(reader) for _ in range(_count(reader))]
    names = [bytes(reader.bytes(reader.number("Q"))).decode("utf-8") for _ in range(_count(reader))]
    if len(names) != len(arrays):
        raise _Damaged(f"{len(arrays)} arrays and {len(names)} names")
    return {name.partition(":")[2] or name: array for name, array in zip(names, arrays, strict=True)}


def _count(reader: _Reader) -> int:
    count = reader.number("Q")
    if count > len(reader.content):
        raise _Damaged("it promises more than it holds")
    return count


def _array(reader: _Reader) -> npt.NDArray[Any]:
    magic = reader.number("I")
    if magic in (_V2, _V3):
        if reader.number("i") != _DENSE:
            raise _Damaged("an array is sparse")
        shape = _shape(reader, reader.number("i"), "q")
    elif magic == _V1:
        shape = _shape(reader, reader.number("I"), "q")
    else:  # the oldest form has no magic: the number is the shape's length
        shape = _shape(reader, magic, "I")
    if not shape:
        return np.zeros(0, np.float32)
    reader.numbers("ii")  # the device that it lay on
    kind = reader.number("i")
    if kind not in _TYPES:
        raise _Damaged(f"an array is of the unknown type {kind}")
    dtype = np.dtype(_TYPES[kind])
    return np.frombuffer(reader.bytes(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)


def _shape(reader: _Reader, length: int, form: str) -> tuple[int, ...]:
    if not 0 <= length <= 32:
        raise _Damaged(f"an array of {length} dimensions")
    shape = reader.numbers(f"{length}{form}")
    if any(extent < 0 for extent in shape):
        raise _Damaged("an array with a negative extent")
    return tuple(map(int, shape))
