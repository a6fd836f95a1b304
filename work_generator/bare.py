"""Image files reduced to their pixels: what a volunteer sees tells nothing about plate, lab or camera.

JPEG and PNG are filtered segment by segment, so that the compressed pixels stay as they are; TIFF, whose tags are woven into
the file, is written anew as PNG. Whether the pixels can be decoded to the end is for the client to find out.
"""

from __future__ import annotations

import io
import re
import struct
import warnings

from PIL import Image

from crystal_search.archives import MAX_SIDE

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: What PNG holds as it is; other TIFFs (floating point, CMYK, 32 bit) would change.
_TIFF_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"}

# JPEG markers (ITU-T T.81, table B.1)
_SOI, _EOI, _SOS, _APP0, _APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xEE
#: Frames, tables and scans: all that a decoder needs beside two application markers.
_JPEG_PIXELS = {*range(0xC0, 0xD0), 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF} - {0xC8}
#: Within a scan FF is data when 00 follows or a restart marker; FF before a marker is filling.
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


class UnreadableImageError(ValueError):
    """Not an image that can be sent; the message says why in one line."""


def bare_image(content: bytes) -> tuple[str, bytes]:
    """The extension (``jpg`` or ``png``, by content) and the bytes of an image without anything but its pixels.

    Colour profiles, EXIF, comments, text, thumbnails and whatever follows the image are left out; decoded pixels are the same.
    Raises ``UnreadableImageError`` for what is no JPEG, PNG or TIFF with a header that can be read.
    """
    if content.startswith(b"\xff\xd8\xff"):
        extension, bare = "jpg", _bare_jpeg(content)
    elif content.startswith(_PNG_SIGNATURE):
        extension, bare = "png", _bare_png(content)
    elif content.startswith(_TIFF_SIGNATURES):
        extension, bare = "png", _png_of_tiff(content)
    else:
        raise UnreadableImageError("neither JPEG, PNG nor TIFF")
    with _opened(bare):
        return extension, bare


def _opened(content: bytes) -> Image.Image:
    """The image with its header read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd tags; they do not go out
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "TIFF"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UnreadableImageError(f"more than {Image.MAX_IMAGE_PIXELS} pixels") from error
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error, OverflowError, EOFError) as error:
        raise UnreadableImageError("its header can not be read") from error
    if max(image.size) > MAX_SIDE:
        raise UnreadableImageError(f"{image.width} x {image.height} pixels, at most {MAX_SIDE} on a side")
    return image


def _bare_jpeg(content: bytes) -> bytes:
    kept = [content[:2]]
    at = 2
    while True:
        while content[at : at + 2] == b"\xff\xff":
            at += 1
        if content[at : at + 1] != b"\xff" or at + 1 == len(content):
            raise UnreadableImageError("damaged JPEG: a marker is missing")
        marker = content[at + 1]
        if marker == _EOI:
            return b"".join([*kept, content[at : at + 2]])
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        payload = content[at + 4 : end]
        if end < at + 4 or end > len(content):
            raise UnreadableImageError("damaged JPEG: a segment is cut off")
        if marker in _JPEG_PIXELS:
            kept.append(content[at:end])
        elif marker == _APP0 and payload.startswith(b"JFIF\0") and len(payload) >= 14:
            kept.append(_segment(marker, payload[:12] + b"\0\0"))  # no thumbnail
        elif marker == _APP14 and payload.startswith(b"Adobe") and len(payload) >= 12:
            kept.append(_segment(marker, payload[:12]))
        at = end
        if marker == _SOS:
            found = _SCAN_END.search(content, at)
            if found is None:  # cut off: the client says how far it can be decoded
                return b"".join([*kept, content[at:]])
            at = found.start()
            kept.append(content[end:at])


def _segment(marker: int, payload: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(payload) + 2).to_bytes(2, "big") + payload


def _bare_png(content: bytes) -> bytes:
    kept = [_PNG_SIGNATURE]
    at = len(_PNG_SIGNATURE)
    while at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        kind = content[at + 4 : at + 8]
        if kind in _PNG_PIXELS:
            kept.append(content[at:end])
        if kind == b"IEND":
            break
        at = end
    return b"".join(kept)


def _png_of_tiff(content: bytes) -> bytes:
    with _opened(content) as image:
        if image.mode not in _TIFF_MODES:
            raise UnreadableImageError(f"TIFF with pixels of kind {image.mode}, which PNG can not hold")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                written = io.BytesIO()
                image.save(written, "PNG", compress_level=1)
        except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
            raise UnreadableImageError("damaged TIFF") from error
    return _bare_png(written.getvalue())
