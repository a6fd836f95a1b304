"""Bad images: each is one clear line. Good ones of every kind arrive as 8-bit gray or colour."""

from __future__ import annotations

import random
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_model import encoded

from client_app.decode import MAX_PIXELS, decode_image, decode_photo
from client_app.errors import ImageError
from crystal_search.geometry import Box

NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8))


def refuse(content: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=words) as error:
        decode_image(content)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]


@pytest.mark.parametrize(("kind", "mode"), [*(("PNG", mode) for mode in MODES), *(("TIFF", mode) for mode in MODES), ("TIFF", "CMYK")])
def test_every_usual_kind_of_pixels_is_read(kind: str, mode: str) -> None:
    image = Image.fromarray(np.arange(4800, dtype=np.uint16).reshape(60, 80)) if mode == "I;16" else NOISE.convert(mode)
    decoded = decode_image(encoded(image, kind))
    assert decoded.size == (80, 60)
    assert decoded.mode == ("L" if mode in ("1", "L", "LA", "I;16") else "RGB")


def test_a_palette_with_transparency_is_read() -> None:
    decoded = decode_image(encoded(NOISE.quantize(16), transparency=bytes(range(0, 256, 16))))
    assert decoded.mode == "RGB"


def test_alpha_is_dropped_not_blended() -> None:
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert decode_image(encoded(image)).getpixel((0, 0)) == (10, 20, 30)


@pytest.mark.parametrize("kind", [".png", ".tiff"])
@pytest.mark.parametrize(("largest", "shift"), [(255, 0), (1023, 2), (4095, 4), (65535, 8)])
def test_16_bit_gray_keeps_the_cameras_bit_depth(kind: str, largest: int, shift: int) -> None:
    """A 12-bit camera fills 4095 of 65535 values: its white must not end as near black. Written by OpenCV, read by us."""
    pixels = np.linspace(0, largest, 4800).astype(np.uint16).reshape(60, 80)
    decoded = np.asarray(decode_image(cv2.imencode(kind, pixels)[1].tobytes()))
    np.testing.assert_array_equal(decoded, pixels >> shift)
    assert decoded.max() == 255


@pytest.mark.parametrize("kind", [".png", ".tiff"])
def test_16_bit_colour_is_read(kind: str) -> None:
    pixels = np.full((6, 8, 3), 0x8000, dtype=np.uint16)
    assert decode_image(cv2.imencode(kind, pixels)[1].tobytes()).getpixel((0, 0)) == (128, 128, 128)


def test_boxes_mean_stored_pixels_so_an_exif_rotation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    assert decode_image(encoded(NOISE, "JPEG", exif=exif)).size == (80, 60)


def test_floating_point_pixels_are_refused() -> None:
    refuse(encoded(Image.new("F", (5, 5)), "TIFF"), "floating-point")


@pytest.mark.parametrize("content", [b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"PK\x03\x04", bytes(1000)])
def test_what_is_no_image(content: bytes) -> None:
    refuse(content, "not a JPEG, PNG or TIFF image")


def test_formats_that_nobody_needs_are_not_read() -> None:
    refuse(encoded(NOISE, "GIF"), "not a JPEG, PNG or TIFF image")


def test_an_empty_file() -> None:
    refuse(b"", "the file is empty")


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("filled", [False, True])
def test_an_incomplete_jpeg_is_never_half_read(progressive: bool, filled: bool) -> None:
    """Cut anywhere, or, as after a full disk, filled up with zeros: Pillow alone does not notice the latter."""
    content = encoded(NOISE, "JPEG", progressive=progressive)
    for cut in [*range(0, len(content), 41), *range(len(content) - 10, len(content))]:
        with pytest.raises(ImageError):
            decode_image(content[:cut] + (bytes(len(content) - cut) if filled else b""))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_an_incomplete_png_or_tiff_is_never_half_read(kind: str) -> None:
    content = encoded(NOISE, kind)
    for cut in range(0, len(content) - 200, 977):
        with pytest.raises(ImageError):
            decode_image(content[:cut])


def test_bytes_after_the_end_of_a_jpeg_do_no_harm() -> None:
    assert decode_image(encoded(NOISE, "JPEG") + bytes(100)).size == (80, 60)


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height"), [(9000, 9000), (10_000, 10_000), (60_000, 60_000), (65_501, 1), (1, 65_501), (2**31 - 1, 2**31 - 1)]
)
def test_absurd_sizes_are_refused_before_anything_is_decoded(width: int, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    refuse(png_that_claims(width, height), "megapixels")


def test_the_limit_itself_is_not_absurd() -> None:
    """Beyond the size check the empty pixel data are noticed."""
    assert 8000 * (MAX_PIXELS // 8000) == MAX_PIXELS
    refuse(png_that_claims(8000, MAX_PIXELS // 8000), "can not be decoded")


@settings(max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "TIFF"]), st.randoms(use_true_random=False), st.integers(1, 20))
def test_damage_ends_as_an_image_error_or_as_an_image(kind: str, chance: random.Random, flips: int) -> None:
    content = bytearray(encoded(NOISE, kind))
    for _ in range(flips):
        content[chance.randrange(len(content))] = chance.randrange(256)
    try:
        assert decode_image(bytes(content)).mode in ("L", "RGB")
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right


# ---- no more than is needed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wanted", "size"), [((80, 60), (80, 60)), ((41, 30), (80, 60)), ((40, 30), (40, 30)), ((9, 8), (20, 15))])
def test_a_jpeg_is_decoded_at_the_smallest_size_that_is_enough(wanted: tuple[int, int], size: tuple[int, int]) -> None:
    """JPEG knows halves, quarters and eighths. An eighth of 80 x 60 px has 7.5 rows, too few where 8 are needed."""
    photo = decode_photo(encoded(NOISE, "JPEG"), lambda width, height: wanted)
    assert (photo.width, photo.height) == (80, 60)
    assert photo.pixels.size == size
    assert photo.reduced == 80 / size[0]


def test_other_formats_are_decoded_whole() -> None:
    assert decode_photo(encoded(NOISE), lambda width, height: (8, 6)).pixels.size == (80, 60)


def test_a_reduced_jpeg_is_the_image_with_its_pixels_averaged() -> None:
    """Blocks of 2 x 2 px of a smooth picture; compression and rounding cost a few gray values."""
    y, x = np.mgrid[0:480, 0:640]
    smooth = (128 + 60 * np.sin(x / 40) + 50 * np.cos(y / 30)).astype(np.uint8)
    photo = decode_photo(encoded(Image.fromarray(smooth), "JPEG", quality=95), lambda width, height: (width // 2, height // 2))
    averaged = smooth.reshape(240, 2, 320, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(np.asarray(photo.pixels, np.float64), averaged, atol=4)


def test_boxes_come_back_in_the_files_pixels() -> None:
    photo = decode_photo(encoded(NOISE, "JPEG"), lambda width, height: (40, 30))
    assert photo.in_file(Box(3, 5, 40, 30)) == Box(6, 10, 80, 60)


def test_what_the_size_is_asked_of_may_refuse_the_image() -> None:
    def refuse(width: int, height: int) -> tuple[int, int]:
        raise ImageError(f"{width} x {height} px are absurd")

    with pytest.raises(ImageError, match="80 x 60 px are absurd"):
        decode_photo(encoded(NOISE, "JPEG"), refuse)
