"""What a volunteer gets to see: pixels, unchanged, and nothing else."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from work_generator.bare import UnreadableImageError, bare_image

SECRET = b"Plate-of-Anna"


def pixels(mode: str = "RGB", size: tuple[int, int] = (48, 40)) -> Image.Image:
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(noise, "RGBA").convert(mode) if mode != "I;16" else Image.fromarray(noise.view("<u2")[..., 0])


def exif() -> bytes:
    tags = Image.Exif()
    tags[0x010E] = SECRET.decode()  # ImageDescription
    tags[0x0112] = 6  # Orientation: pixels are stored as they are, whatever it says
    return tags.tobytes()


def written(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def png_chunks(content: bytes) -> list[bytes]:
    """The kinds of the chunks to the end of the bytes, read by the standard's rule: length, kind, data, checksum."""
    at, found = 8, []
    while at < len(content):
        found.append(content[at + 4 : at + 8])
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    assert at == len(content)
    return found


def jpeg_markers(content: bytes) -> list[int]:
    """The markers before the first scan, read by the standard's rule: FF, marker, length."""
    at, found = 2, []
    while content[at + 1] != 0xDA:
        found.append(content[at + 1])
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return found


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 2}, {"subsampling": 0}], ids=str
)
def test_jpeg_keeps_its_pixels_and_loses_everything_else(mode: str, options: dict[str, object]) -> None:
    content = written(
        pixels(mode),
        "JPEG",
        quality=80,
        exif=exif(),
        comment=SECRET,
        icc_profile=b"profile " + SECRET,
        xmp=SECRET,
        dpi=(300, 300),
        **options,
    )
    content += b"trailer " + SECRET
    assert content.count(SECRET) >= 4
    extension, bare = bare_image(content)
    assert extension == "jpg"
    assert SECRET not in bare
    assert set(jpeg_markers(bare)) <= {0xE0, 0xEE, 0xDB, 0xC0, 0xC2, 0xC4, 0xDD}
    assert bare.endswith(b"\xff\xd9")
    assert np.array_equal(decoded(bare), decoded(content))
    with Image.open(io.BytesIO(bare)) as image:
        assert not image.getexif()
        assert not {"exif", "comment", "icc_profile", "xmp"} & image.info.keys()


def test_a_jpeg_thumbnail_is_left_out() -> None:
    plain = written(pixels("L"), "JPEG")
    jfif = b"\xff\xe0" + struct.pack(">H", 16 + 3) + plain[6:18] + b"\1\1" + b"RGB"  # a thumbnail of one pixel
    jfxx = b"\xff\xe0" + struct.pack(">H", 7 + len(SECRET)) + b"JFXX\0" + SECRET
    assert plain[:6] == b"\xff\xd8\xff\xe0\0\x10"
    _, bare = bare_image(plain[:2] + jfif + jfxx + plain[20:])
    assert bare == plain


def test_bare_again_changes_nothing() -> None:
    for content in (written(pixels(), "JPEG", exif=exif()), written(pixels(), "PNG", exif=exif())):
        _, once = bare_image(content)
        assert bare_image(once)[1] == once


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_png_keeps_its_pixels_and_loses_everything_else(mode: str) -> None:
    info = PngInfo()
    info.add_text("Title", SECRET.decode())
    info.add_text("Comment", SECRET.decode(), zip=True)
    info.add_itxt("Author", SECRET.decode())
    content = written(pixels(mode), "PNG", pnginfo=info, exif=exif(), icc_profile=SECRET, dpi=(300, 300)) + SECRET
    extension, bare = bare_image(content)
    assert extension == "png"
    assert set(png_chunks(bare)) <= {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
    assert np.array_equal(decoded(bare), decoded(content))


@pytest.mark.parametrize(("mode", "transparency"), [("P", 3), ("L", 7), ("RGB", (1, 2, 3))])
def test_transparency_belongs_to_the_pixels(mode: str, transparency: object) -> None:
    content = written(pixels(mode), "PNG", transparency=transparency)
    assert b"tRNS" in png_chunks(content)
    _, bare = bare_image(content)
    with Image.open(io.BytesIO(bare)) as after, Image.open(io.BytesIO(content)) as before:
        assert after.convert("RGBA").tobytes() == before.convert("RGBA").tobytes()


def test_a_second_picture_behind_the_first_is_left_out() -> None:
    first, second = written(pixels("L"), "PNG"), written(pixels("RGB"), "PNG")
    assert bare_image(first + second[8:])[1] == first
    first, second = written(pixels("L"), "JPEG"), written(pixels("RGB"), "JPEG")
    assert bare_image(first + second)[1] == first


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_tiff_goes_out_as_png_with_the_same_pixels(mode: str, compression: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's about odd tags
        content = written(pixels(mode), "TIFF", compression=compression, tiffinfo={0x010E: SECRET.decode()}, icc_profile=SECRET)
    assert SECRET in content
    extension, bare = bare_image(content)
    assert extension == "png"
    assert set(png_chunks(bare)) <= {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
    assert np.array_equal(decoded(bare), decoded(content))


@pytest.mark.parametrize(("mode", "why"), [("F", "kind F"), ("CMYK", "kind CMYK")])
def test_a_tiff_that_png_can_not_hold(mode: str, why: str) -> None:
    image = Image.new(mode, (4, 4))
    with pytest.raises(UnreadableImageError, match=why):
        bare_image(written(image, "TIFF"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "neither JPEG, PNG nor TIFF"),
        (b"no image", "neither JPEG, PNG nor TIFF"),
        (b"GIF89a" + b"\0" * 100, "neither JPEG, PNG nor TIFF"),
        (b"\xff\xd8\xff", "damaged JPEG"),
        (b"\xff\xd8\xff\xe0\xff\xff" + b"\0" * 100, "cut off"),
        (b"\xff\xd8\xff\xe0\0\1" + b"\0" * 100, "cut off"),
        (b"\xff\xd8\xff\xd9", "header can not be read"),
        (b"\x89PNG\r\n\x1a\n", "header can not be read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "header can not be read"),
        (b"II*\0" + b"\xff" * 50, "header can not be read"),
    ],
)
def test_what_is_no_image(content: bytes, why: str) -> None:
    with pytest.raises(UnreadableImageError, match=why):
        bare_image(content)


def test_a_picture_of_absurd_size_is_refused_by_its_header() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(UnreadableImageError, match="pixels"):
        bare_image(b"\x89PNG\r\n\x1a\n" + chunk + written(pixels(), "PNG")[33:])


SAMPLES = [written(pixels(size=(20, 16)), kind) for kind in ("JPEG", "PNG", "TIFF")]


@hypothesis_settings(max_examples=150)
@given(
    sample=st.sampled_from(SAMPLES), at=st.integers(0, 2000), noise=st.binary(min_size=1, max_size=4), cut=st.none() | st.integers(0, 2000)
)
def test_damaged_files_are_refused_or_pass_but_never_anything_else(sample: bytes, at: int, noise: bytes, cut: int | None) -> None:
    at %= len(sample)
    damaged = (sample[:at] + noise + sample[at + len(noise) :])[:cut]
    with contextlib.suppress(UnreadableImageError):
        extension, bare = bare_image(damaged)
        assert extension in ("jpg", "png")
        assert bare
