"""Images on the disk, and what is kept of them: thumbnails of plates, and screen-size copies of the drops that somebody looks at.

Both lie in the cache under a name that the file's path, size and time of change make: an image that changes on the disk gets new ones.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from crystal_search.archives import MAX_SIDE
from crystal_search.errors import CrystalSearchError
from viewer.errors import NotFound
from viewer.plates import is_barcode, is_plain_name

_log = logging.getLogger(__name__)

THUMBNAIL = (320, 240)
SCREEN = (1280, 1280)
#: Tiles of a sheet, which shows many drops in one file: one request instead of 48.
TILE = (160, 120)
SHEET_COLUMNS = 8
SHEET_TILES = 48
_BACKGROUND = (23, 25, 28)
_MOST_PIXELS = 200_000_000
_PROCESSORS = max(2, os.cpu_count() or 2)
#: At most so many images are decoded at a time: each takes tens of megabytes.
_DECODERS = threading.BoundedSemaphore(_PROCESSORS)
#: Longest sides and JPEG quality of what is kept of an image.
_KINDS = {"thumbnail": (THUMBNAIL, 82), "screen": (SCREEN, 85)}

Stamp = tuple[int, int]


class BrokenImage(CrystalSearchError):
    """A file that is there and no readable image."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image's file with its stamp (time of change in ns, bytes)."""

    path: Path
    stamp: Stamp

    @property
    def key(self) -> str:
        """40 hex digits that change when the file does."""
        return hashlib.sha256(repr((str(self.path), self.stamp)).encode()).hexdigest()[:40]


def image_folder(root: Path, barcode: str, number: int) -> Path:
    """``<root>/<barcode>/<number>``. Raises ``NotFound`` for a barcode that is no plain name."""
    if not is_barcode(barcode):
        raise NotFound(f"{barcode[:40]!r} is not a barcode")
    return root / barcode / str(int(number))


def listing(folder: Path) -> dict[str, Stamp]:
    """Every file of an inspection with its stamp; none for a folder that is not there or can not be read."""
    found: dict[str, Stamp] = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                status = entry.stat()
                found[entry.name] = (status.st_mtime_ns, status.st_size)
    return found


def picture(folder: Path, name: str) -> Picture:
    """The image's file. Raises ``NotFound`` with one line when it is missing."""
    try:
        if not is_plain_name(name):
            raise FileNotFoundError
        status = (folder / name).stat()
    except (OSError, ValueError):
        raise NotFound(f"the file of image {name[:255]!r} is missing: see {folder.parent.name}/{folder.name} in the image root") from None
    return Picture(folder / name, (status.st_mtime_ns, status.st_size))


class PictureCache:
    """Thumbnails, screen-size copies and sheets in a folder that may be emptied at any time."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._written = 0
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}
        self._tile_makers = ThreadPoolExecutor(_PROCESSORS, "tiles")

    def thumbnail(self, of: Picture) -> bytes:
        """A JPEG of at most 320 x 240 px. Raises ``BrokenImage``."""
        return self._copy(of, "thumbnail")

    def screen(self, of: Picture) -> bytes:
        """A JPEG of at most 1280 x 1280 px. Raises ``BrokenImage``."""
        return self._copy(of, "screen")

    def sheet(self, version: str, tiles: Sequence[Picture | None]) -> bytes:
        """A JPEG with the tiles in rows of ``SHEET_COLUMNS``; a missing or broken image is a dark tile."""

        def make() -> bytes:
            rows = -(-len(tiles) // SHEET_COLUMNS)
            sheet = Image.new("RGB", (SHEET_COLUMNS * TILE[0], rows * TILE[1]), _BACKGROUND)
            for place, shown in enumerate(self._tile_makers.map(self._tile, tiles)):
                if shown is not None:
                    corner = (place % SHEET_COLUMNS * TILE[0], place // SHEET_COLUMNS * TILE[1])
                    sheet.paste(shown, (corner[0] + (TILE[0] - shown.width) // 2, corner[1] + (TILE[1] - shown.height) // 2))
            return _jpeg(sheet, 82)

        return self._kept(self._path(version, "sheet"), make)

    def has_sheet(self, version: str) -> bool:
        """Whether that sheet is kept."""
        return self._path(version, "sheet").exists()

    def prune(self) -> int:
        """Delete what was used longest ago until the rest fits; the number of files deleted."""
        files = sorted(_files(self._folder), key=lambda file: file[1])
        excess = sum(size for _, _, size in files) - self._most_bytes
        deleted = 0
        for path, _, size in files:
            if excess <= 0:
                break
            try:
                path.unlink()
                deleted += 1
            except FileNotFoundError:  # somebody else was quicker; its room is free all the same
                pass
            except OSError as error:
                _log.warning("%s: can not be deleted (%s)", path, error.strerror)
                continue
            excess -= size
        return deleted

    def _tile(self, of: Picture | None) -> Image.Image | None:
        if of is None:
            return None
        try:
            with Image.open(BytesIO(self.thumbnail(of))) as small:
                small.draft("RGB", TILE)
                shown = small.convert("RGB")
        except (BrokenImage, OSError):
            return None
        shown.thumbnail(TILE, Image.Resampling.BILINEAR, reducing_gap=2.0)
        return shown

    def _copy(self, of: Picture, kind: str) -> bytes:
        return self._kept(self._path(of.key, kind), lambda: _reduced_copy(of.path, *_KINDS[kind]))

    def _kept(self, path: Path, make: Callable[[], bytes]) -> bytes:
        """The file's content, which ``make`` makes where it is not there (any more). It may be deleted at any moment."""
        with suppress(OSError):
            return _used(path)
        with self._once(path.name):
            with suppress(OSError):
                return _used(path)
            content = make()
            self._write(path, content)
            return content

    def _path(self, key: str, kind: str) -> Path:
        return self._folder / key[:2] / f"{key}.{kind}.jpg"

    def _write(self, path: Path, content: bytes) -> None:
        """Into place in one step; it needs no sync, since it can be made again. A full disk only makes the viewer slower."""
        partial = path.with_name(f".{path.name}.{threading.get_ident()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(content)
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            _log.warning("%s: a thumbnail can not be kept (%s)", self._folder, error.strerror)
            return
        with self._lock:
            self._written += len(content)
            full, self._written = self._written > self._most_bytes // 10, self._written % (self._most_bytes // 10 + 1)
        if full:
            self.prune()

    @contextmanager
    def _once(self, key: str) -> Iterator[None]:
        """Two requests for the same picture make it once."""
        with self._lock:
            lock = self._busy.setdefault(key, threading.Lock())
        try:
            with lock:
                yield
        finally:
            with self._lock:
                self._busy.pop(key, None)


def sheet_version(tiles: Sequence[Picture | None]) -> str:
    """40 hex digits that name a sheet by what is on it."""
    return hashlib.sha256(repr([(str(tile.path), tile.stamp) if tile else None for tile in tiles]).encode()).hexdigest()[:40]


def _reduced_copy(path: Path, size: tuple[int, int], quality: int) -> bytes:
    """A JPEG that fits into ``size``; libjpeg itself decodes to about that, which is several times faster."""
    with _DECODERS:
        try:
            with Image.open(path) as image:
                if max(image.size) > MAX_SIDE or image.width * image.height > _MOST_PIXELS:
                    raise BrokenImage(f"{path.name}: {image.width} x {image.height} px is no image of an imager")
                image.draft("RGB", _asked(image.size, size))
                copy = image.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise BrokenImage(f"{path.name}: the file is no readable image; copy it again from the imager") from error
        copy.thumbnail(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
        return _jpeg(copy, quality)


def _asked(of: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """What to ask libjpeg for, which halves sizes: a tenth less than the copy will do, where it saves three quarters of the work.

    >>> _asked((2560, 1920), (1280, 1280))
    (1152, 864)
    """
    factor = 0.9 * min(1.0, size[0] / of[0], size[1] / of[1])
    return max(1, int(of[0] * factor)), max(1, int(of[1] * factor))


def _jpeg(image: Image.Image, quality: int) -> bytes:
    written = BytesIO()
    image.save(written, "JPEG", quality=quality)
    return written.getvalue()


def _used(path: Path) -> bytes:
    """The file's content; notes that it was used, which file systems do at most once a day. An empty one is what a power cut left."""
    content = path.read_bytes()
    if not content:
        raise FileNotFoundError(path)
    with suppress(OSError):
        os.utime(path, (time.time(), path.stat().st_mtime))
    return content


def _files(folder: Path) -> Iterator[tuple[Path, float, int]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = (Path(parent) / name).stat()
                yield Path(parent) / name, status.st_atime, status.st_size
