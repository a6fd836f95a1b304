"""From the bytes of a file to an image, as if an enemy had written them."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Named here, or Pillow would load every reader that it has, and at the worst moment: when an image has taken the memory.
from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError  # noqa: F401

from client_app.errors import ImageError, one_line
from crystal_search.archives import MAX_SIDE
from crystal_search.geometry import Box

#: Four times the largest drop image that we know of; checked before anything is decoded. Below Pillow's own limit.
MAX_PIXELS = 80_000_000
#: Few readers, little to attack.
FORMATS = ("JPEG", "PNG", "TIFF")

_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_warnings_lock = threading.Lock()


#: From an image's width and height to the smallest size that is still needed of it.
Wanted = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded image: ``pixels``, perhaps fewer than the ``width`` x ``height`` that the file has, and showing all of it."""

    pixels: Image.Image
    width: int
    height: int

    @property
    def reduced(self) -> float:
        """How many of the file's px one of ``pixels`` stands for, along a side."""
        return self.width / self.pixels.width

    def in_file(self, box: Box) -> Box:
        """A box in ``pixels`` as the box in the file's px."""
        return box.scaled(self.width / self.pixels.width, self.height / self.pixels.height, self.width, self.height)


def decode_image(content: bytes) -> Image.Image:
    """All pixels of the image in ``content``, as ``decode_photo`` does it."""
    return decode_photo(content).pixels


def decode_photo(content: bytes, wanted: Wanted | None = None) -> Photo:
    """The image in ``content``, mode ``L`` or ``RGB``, in its stored orientation (an EXIF rotation is ignored: boxes mean stored pixels).

    16-bit gray is brought to 8 bits by the camera's own bit depth, alpha is dropped, of several pages the first counts. A JPEG of which
    no more than ``wanted`` is needed is decoded at 1/2, 1/4 or 1/8 of its size where that is enough, which is twice as fast. Raises
    ``ImageError`` for anything that is not a whole JPEG, PNG or TIFF image of at most 80 megapixels, and what ``wanted`` raises.
    """
    if not content:
        raise ImageError("the file is empty")
    try:
        image = open_header(content)
        width, height = image.size
        if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
            raise ImageError(f"{width} x {height} px is more than this program reads ({MAX_PIXELS // 1_000_000} megapixels)")
        if content.startswith(_JPEG_START) and content.rfind(_JPEG_END) < content.rfind(_JPEG_SCAN):
            # Pillow notices a file that stops early, but not one that a full disk has filled up with zeros.
            raise ImageError("the JPEG file is incomplete: its end is missing")
        if wanted is not None:
            image.draft(None, wanted(width, height))
        image.load()
        return Photo(_eight_bits(image), width, height)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError("not a JPEG, PNG or TIFF image") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"more pixels than this program reads ({MAX_PIXELS // 1_000_000} megapixels)") from error
    except MemoryError as error:
        raise ImageError("not enough memory to decode the image") from error
    except Exception as error:  # a crafted file makes Pillow raise almost anything
        raise ImageError(f"the image can not be decoded ({one_line(error)})") from error


def open_header(content: bytes) -> Image.Image:
    """The image in ``content`` with its header read and no pixel decoded. Raises almost anything.

    Filters of warnings belong to the whole process, hence the lock.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image.open(io.BytesIO(content), formats=FORMATS)


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "F":
        raise ImageError("pixels are floating-point numbers: store the image with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        pixels = np.asarray(image)
        depth = max(8, int(pixels.max()).bit_length())  # a 12-bit camera fills 12 of the 16 bits
        return Image.fromarray((np.maximum(pixels, 0) >> (depth - 8)).astype(np.uint8))
    if image.mode in ("1", "LA"):
        return image.convert("L")
    if image.mode == "P":
        image = image.convert("RGBA")  # Pillow wants this detour for palettes with transparency
    return image.convert("RGB")
