"""Damage that knows nothing of formats: bits, bytes, cuts, copies, and numbers at the edges of what fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

Chance = np.random.Generator
_T = TypeVar("_T")

#: Where programs miscount.
EDGES = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 32_767, 32_768, 65_499, 65_500, 65_501, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def pick(chance: Chance, choices: Sequence[_T]) -> _T:
    return choices[int(chance.integers(len(choices)))]


def number(chance: Chance, size: int) -> bytes:
    """``size`` bytes: an edge, or anything, in either byte order."""
    value = pick(chance, EDGES) if chance.random() < 0.7 else int(chance.integers(2**32))
    return (value % 256**size).to_bytes(size, pick(chance, ("little", "big")))


def _place(chance: Chance, content: bytes) -> int:
    """Half of the time near the start, where the headers are."""
    length = min(len(content), 200) if chance.random() < 0.5 else len(content)
    return int(chance.integers(max(length, 1)))


def flip(chance: Chance, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(int(chance.integers(1, 12))):
        damaged[_place(chance, content)] ^= 1 << int(chance.integers(8))
    return bytes(damaged)


def overwrite(chance: Chance, content: bytes) -> bytes:
    start = _place(chance, content)
    with_what = chance.bytes(int(chance.integers(1, 16)))
    return content[:start] + with_what + content[start + len(with_what) :]


def renumber(chance: Chance, content: bytes) -> bytes:
    start, size = _place(chance, content), pick(chance, (1, 2, 4))
    return content[:start] + number(chance, size) + content[start + size :]


def cut(chance: Chance, content: bytes) -> bytes:
    return content[: int(chance.integers(len(content) + 1))]


def fill(chance: Chance, content: bytes) -> bytes:
    """Cut and filled up with zeros, as a full disk does it."""
    kept = cut(chance, content)
    return kept + bytes(len(content) - len(kept))


def copy(chance: Chance, content: bytes) -> bytes:
    start, to = _place(chance, content), _place(chance, content)
    block = content[start : start + int(chance.integers(1, 400))]
    return content[:to] + block + content[to + (len(block) if chance.random() < 0.5 else 0) :]


def remove(chance: Chance, content: bytes) -> bytes:
    start = _place(chance, content)
    return content[:start] + content[start + int(chance.integers(1, 100)) :]


def insert(chance: Chance, content: bytes) -> bytes:
    start = _place(chance, content)
    return content[:start] + pick(chance, (bytes, chance.bytes))(int(chance.integers(1, 100))) + content[start:]


#: Each takes at least one byte and gives what is left of it.
KINDS: tuple[Callable[[Chance, bytes], bytes], ...] = (flip, overwrite, renumber, cut, fill, copy, remove, insert)


def damage(chance: Chance, content: bytes) -> bytes:
    """``content`` with one to three damages."""
    for _ in range(int(chance.integers(1, 4))):
        if content:
            content = pick(chance, KINDS)(chance, content)
    return content


def splice(chance: Chance, one: bytes, other: bytes) -> bytes:
    """The start of one file and the end of another."""
    return one[: int(chance.integers(len(one) + 1))] + other[int(chance.integers(len(other) + 1)) :]
