"""Image files to begin with: small ones of every kind that a camera or a person makes, and those that lie about themselves."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin
from tiny_model import encoded, picture

PNG_START = b"\x89PNG\r\n\x1a\n"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int, depth: int, colour: int, pixels: bytes, *extra: bytes) -> bytes:
    """A PNG file whose header says so; ``pixels`` are what is compressed in it, ``extra`` further chunks."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return PNG_START + header + b"".join(extra) + png_chunk(b"IDAT", zlib.compress(pixels)) + png_chunk(b"IEND", b"")


def jpeg_claiming(content: bytes, width: int, height: int) -> bytes:
    """A JPEG file with another size in its frame header (SOF0 or SOF2)."""
    start = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    return content[: start + 5] + struct.pack(">HH", height, width) + content[start + 9 :]


def _tiff(entries: list[tuple[int, int, int, int]], then: int = 0, data: bytes = bytes(64)) -> bytes:
    """A little-endian TIFF file of one directory; ``then`` is where the next one is said to be (8 is this one again)."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", then)
    return b"II*\0" + struct.pack("<I", 8) + directory + data


def _bilevel_tiff(**tags: int) -> list[tuple[int, int, int, int]]:
    """The entries of a gray 8 x 8 image whose pixels begin behind the directory; ``tags`` are ``t<number>`` with other values."""
    values = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8 + 2 + 12 * 10 + 4, 277: 1, 278: 8, 279: 64, 284: 1}
    values |= {int(name[1:]): value for name, value in tags.items()}
    return [(tag, 4, 1, value) for tag, value in sorted(values.items())]


def _ordinary() -> Iterator[bytes]:
    chance = np.random.default_rng(1)
    noise = Image.fromarray(chance.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    well = picture(("precipitate", 96, 64), size=(64, 48))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "camera"
    exif.get_ifd(0x8769)[0x9286] = b"comment" * 10
    thumbnail: dict[str, Any] = {"exif": exif.tobytes() + encoded(noise.resize((8, 6)), "JPEG"), "comment": b"well A1"}
    for mode in ("L", "RGB", "CMYK"):
        for options in ({}, {"progressive": True}, {"subsampling": 0, "quality": 95}, {"optimize": True}):
            yield encoded(noise.convert(mode), "JPEG", **options)
    yield encoded(well, "JPEG", **thumbnail)
    yield encoded(well, "JPEG", icc_profile=bytes(200), restart_marker_rows=1)
    yield encoded(well.convert("RGB"), "JPEG", dpi=(300, 300))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        yield encoded(noise.convert(mode))
    yield encoded(noise.quantize(16), transparency=bytes(range(0, 256, 16)))
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "well " * 50, zip=True)
    text.add_itxt("Title", "well", "en", "well", zip=True)
    yield encoded(noise, pnginfo=text, icc_profile=bytes(300), exif=exif, dpi=(72, 72))
    yield encoded(noise, save_all=True, append_images=[noise.transpose(Image.Transpose.ROTATE_180)] * 2)
    deep = Image.fromarray(chance.integers(0, 4096, (24, 32), dtype=np.uint16))
    yield encoded(deep)
    yield encoded(deep, "TIFF")
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F"):
        yield encoded(noise.convert("L" if mode == "LAB" else mode), "TIFF")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "tiff_deflate"):
        yield encoded(noise, "TIFF", compression=compression, exif=exif)
    yield encoded(noise.convert("1"), "TIFF", compression="group4")
    yield encoded(noise.convert("1"), "TIFF", compression="group3")
    yield encoded(noise.copy(), "TIFF", save_all=True, append_images=[well.copy(), noise.convert("1")])
    yield encoded(noise, "TIFF", big_tiff=True)
    for floating in (np.zeros((8, 8), np.float32), np.full((8, 8), np.nan, np.float32)):
        yield encoded(Image.fromarray(floating), "TIFF")


def _hostile() -> Iterator[bytes]:
    gray, progressive = (encoded(picture(size=(64, 48)), "JPEG", progressive=later) for later in (False, True))
    for width, height in ((65_500, 65_500), (65_500, 1), (1, 65_500), (65_500, 1221), (0, 0), (0xFFFF, 0xFFFF)):
        yield jpeg_claiming(gray, width, height)
    for width, height in ((65_500, 65_500), (3000, 2000)):
        yield jpeg_claiming(progressive, width, height)
    for width, height in ((2**31 - 1, 2**31 - 1), (65_500, 65_500), (2**31, 1), (0, 0), (2**32 - 1, 1), (3000, 2000)):
        yield png_claiming(width, height, 8, 0, b"")
    for depth, colour in ((16, 6), (1, 3), (3, 0), (8, 9), (0, 0)):
        yield png_claiming(8, 8, depth, colour, bytes(600))
    bomb = zlib.compress(bytes(8 * 2**20), 9)
    yield png_claiming(8, 8, 8, 0, bytes(72), png_chunk(b"zTXt", b"bomb\0\0" + bomb))
    yield png_claiming(8, 8, 8, 0, bytes(72), png_chunk(b"iTXt", b"bomb\0\1\0\0\0" + bomb))
    yield png_claiming(8, 8, 8, 0, bytes(72), png_chunk(b"iCCP", b"bomb\0\0" + bomb))
    yield png_claiming(8, 8, 8, 0, bytes(72), *[png_chunk(b"zTXt", b"many\0\0" + zlib.compress(bytes(60_000)))] * 40)
    yield png_claiming(8, 8, 8, 0, bytes(8 * 2**20))
    yield png_claiming(8, 8, 8, 0, bytes(72), png_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)))
    yield _tiff(_bilevel_tiff(), then=8)
    yield _tiff(_bilevel_tiff(), then=2**32 - 1)
    for width, height, rows, samples in ((2**31, 8, 8, 1), (8, 2**32 - 1, 8, 1), (8, 8, 0, 1), (8, 8, 8, 65_535)):
        yield _tiff(_bilevel_tiff(t256=width, t257=height, t278=rows, t277=samples))
    for depth, length, place in ((64, 64, 134), (8, 2**32 - 1, 134), (8, 64, 2**32 - 1)):
        yield _tiff(_bilevel_tiff(t258=depth, t279=length, t273=place))
    yield _tiff(_bilevel_tiff(t256=65_500, t257=1221, t278=1221, t279=65_500 * 1221))
    yield _tiff([*_bilevel_tiff()[:-1], (330, 4, 1, 8)])
    yield _tiff([*_bilevel_tiff()[:-1], (34_665, 4, 1, 8)])
    yield _tiff([(256, 4, 2**31, 8)] * 9)
    yield _tiff(_bilevel_tiff() * 400)
    yield b""
    yield bytes(1000)
    yield b"\xff\xd8\xff\xd9"
    yield b"\xff\xd8" + b"\xff\xe1\xff\xff" + bytes(65_533) + b"\xff\xd9"
    yield b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) + bytes(40)


def _heavy() -> Iterator[bytes]:
    """Some kilobytes that rightly take a second: all pixels that are allowed, and a little less."""
    yield png_claiming(8000, 9999, 8, 0, bytes(8001 * 9999))
    yield png_claiming(65_500, 1221, 1, 0, bytes(8189 * 1221))
    yield encoded(Image.new("L", (8000, 6000), 90), "JPEG", progressive=True)
    yield encoded(Image.new("RGB", (1200, 40_000), 90), "TIFF", compression="tiff_lzw")
    yield encoded(Image.new("I;16", (6000, 8000), 900), "TIFF", compression="tiff_adobe_deflate")


@cache
def seeds() -> tuple[bytes, ...]:
    """Files of at most 70 KB that are quick to read or to refuse."""
    return (*_ordinary(), *_hostile())


@cache
def heavy_seeds() -> tuple[bytes, ...]:
    return tuple(_heavy())
