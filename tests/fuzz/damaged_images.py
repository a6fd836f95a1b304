"""Image files with damage that knows their format, so that it gets past checksums and into the decoders."""

from __future__ import annotations

import struct
import zlib

from .damage import Chance, damage, number, pick, splice
from .images import PNG_START, heavy_seeds, png_chunk, seeds

#: One file in so many begins as one that takes a second even undamaged.
HEAVY_EVERY = 400
_CHUNKS = b"IHDR PLTE IDAT IEND tRNS gAMA iCCP zTXt iTXt tEXt eXIf acTL fcTL fdAT pHYs cHRM".split()
_MARKERS = bytes.fromhex("c0 c1 c2 c3 c4 c9 ca da db dd e0 e1 e2 ee fe d0 d9 01")
_TAGS = (*range(254, 348), 512, 513, 514, 529, 530, 531, 532, 33_723, 34_377, 34_665, 34_675, 34_853)
_VALUES = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 34_712, 32_773, 32_946, 50_000, 50_001)


def damaged_image(chance: Chance) -> bytes:
    """An image file, in most cases a damaged one."""
    if chance.integers(HEAVY_EVERY) == 0:
        content = pick(chance, heavy_seeds())
        return content if chance.random() < 0.5 else _by_format(chance, content)
    content = pick(chance, seeds())
    how = chance.random()
    if how < 0.03:
        return content
    if how < 0.35:
        return damage(chance, content)
    if how < 0.42:
        return splice(chance, content, pick(chance, seeds()))
    for _ in range(int(chance.integers(1, 4))):
        content = _by_format(chance, content)
    return content


def _by_format(chance: Chance, content: bytes) -> bytes:
    if content.startswith(PNG_START):
        return _damaged_png(chance, content)
    if content.startswith(b"\xff\xd8"):
        return _damaged_jpeg(chance, content)
    if content.startswith((b"II*\0", b"MM\0*")):
        return _damaged_tiff(chance, content)
    return damage(chance, content) if content else chance.bytes(int(chance.integers(1, 200)))


def _damaged_png(chance: Chance, content: bytes) -> bytes:
    """Chunks swapped, repeated, lost, renamed or damaged, all with a right checksum; sometimes the pixels behind the compression."""
    chunks, position = [], len(PNG_START)
    while position + 8 <= len(content):
        length = int.from_bytes(content[position : position + 4], "big")
        chunks.append((content[position + 4 : position + 8], content[position + 8 : position + 8 + length]))
        position += 12 + length
    if not chunks:
        return damage(chance, content)
    which = int(chance.integers(len(chunks)))
    kind, data = chunks[which]
    how = chance.random()
    if kind == b"IDAT" and len(data) < 100_000 and how < 0.4:
        try:
            data = zlib.compress(damage(chance, zlib.decompressobj().decompress(data, 10**6)))
        except zlib.error:
            data = damage(chance, data)
    elif how < 0.6:
        data = damage(chance, data)
    elif how < 0.7:
        kind = pick(chance, _CHUNKS)
    elif how < 0.8:
        chunks.insert(int(chance.integers(len(chunks) + 1)), (pick(chance, _CHUNKS), chance.bytes(int(chance.integers(40)))))
    elif how < 0.9:
        chunks.insert(int(chance.integers(len(chunks) + 1)), (kind, data))
    else:
        other = int(chance.integers(len(chunks)))
        chunks[which], (kind, data) = chunks[other], chunks[which]
        which = other
    chunks[which] = (kind, data)
    return PNG_START + b"".join(png_chunk(kind, data) for kind, data in chunks)


def _damaged_jpeg(chance: Chance, content: bytes) -> bytes:
    """A segment damaged with a right length, repeated, turned into another, or with another length."""
    segments, position = [], 2
    while position + 4 <= len(content) and content[position] == 0xFF and content[position + 1] != 0xDA:
        length = int.from_bytes(content[position + 2 : position + 4], "big")
        segments.append((position, position + 2 + length))
        position += 2 + length
    if not segments or chance.random() < 0.2:
        return content[:position] + damage(chance, content[position:])
    start, end = pick(chance, segments)
    marker, data = content[start + 1], content[start + 4 : end]
    how = chance.random()
    if how < 0.5:
        data = damage(chance, data)[:65_000]
    elif how < 0.65:
        marker = pick(chance, _MARKERS)
    elif how < 0.8:
        elsewhere = pick(chance, segments)[0]
        return content[:elsewhere] + content[start:end] + content[elsewhere:]
    elif how < 0.9:
        return content[: start + 2] + number(chance, 2) + content[start + 4 :]
    else:
        return content[:start] + content[end:]
    return content[:start] + struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data + content[end:]


def _damaged_tiff(chance: Chance, content: bytes) -> bytes:
    """One entry of the first directory with another tag, type, count or value, or another next directory."""
    order = "<" if content.startswith(b"II") else ">"
    if len(content) < 10:
        return damage(chance, content)
    (first,) = struct.unpack(order + "I", content[4:8])
    if first + 2 > len(content):
        return damage(chance, content)
    (count,) = struct.unpack(order + "H", content[first : first + 2])
    place = first + 2 + 12 * int(chance.integers(max(count, 1)))
    how = chance.random()
    if how < 0.1:
        place, new = first + 2 + 12 * count, struct.pack(order + "I", pick(chance, (first, 8, 0, len(content), 2**32 - 1)))
    elif how < 0.3:
        new = struct.pack(order + "H", pick(chance, _TAGS))
    elif how < 0.4:
        place, new = place + 2, struct.pack(order + "H", int(chance.integers(20)))
    elif how < 0.55:
        place, new = place + 4, number(chance, 4)
    elif how < 0.75:
        place, new = place + 8, struct.pack(order + "I", pick(chance, _VALUES))
    elif how < 0.9:
        place, new = place + 8, number(chance, 4)
    else:
        return content[:200] + damage(chance, content[200:])
    return content[:place] + new + content[place + len(new) :]
