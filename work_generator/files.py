"""Rows of XtalTrak matched with the files on disk (P23): where an image lies, and why one can not go out."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from crystal_search.archives import MAX_WORK_UNIT_BYTES, Manifest, sha256_hex, write_work_unit
from crystal_search.crystaltrak_names import ImageName, MalformedNameError, parse_image_name
from crystal_search.errors import TryAgainLater
from crystal_search.ledger.images import QueuedImage
from crystal_search.plate import Drop, InspectionImage
from work_generator.bare import UnreadableImageError, bare_image

#: What the images of one work unit may take; the rest of its 64 MB is for the manifest and the ZIP's headers.
MAX_IMAGE_BYTES = MAX_WORK_UNIT_BYTES - 1024 * 1024

#: Why an image whose file is not there is refused.
MISSING = "missing: no such file below the image root"


class RefusedImageError(Exception):
    """An image that does not go out. The message is ``<kind>: <why>``, without the image's name, so that it can be counted."""


@dataclass(frozen=True, slots=True)
class BareFile:
    """An image ready to travel: its extension and bytes, without anything but pixels."""

    extension: str
    content: bytes


#: An image is claimed, chosen and packed one after the other.
_parsed = lru_cache(maxsize=16_384)(parse_image_name)


def read_name(image_name: str, drop: Drop) -> ImageName:
    """What an image's name tells, if it is CrystalTrak's and names the drop that XtalTrak says it shows.

    Raises ``RefusedImageError``.
    """
    if "/" in image_name or "\0" in image_name:
        raise RefusedImageError("malformed name: a path, not a file name")
    try:
        name = _parsed(image_name)
    except MalformedNameError as error:
        raise RefusedImageError(f"malformed name: {str(error).removeprefix(f'{image_name!r}: ')}") from error
    if name.drop is not drop and name.drop != drop:
        raise RefusedImageError(
            f"contradiction: the name says plate {name.drop.barcode} drop {name.drop.label}, XtalTrak {drop.barcode} {drop.label}"
        )
    return name


def name_problem(image: InspectionImage) -> str | None:
    """Why an image can not go out by its name; None where it can."""
    try:
        read_name(image.image_name, image.drop)
    except RefusedImageError as error:
        return str(error)
    return None


def image_path(image_root: Path, drop: Drop, inspection_number: int, image_name: str) -> Path:
    """``<image root>/<barcode>/<inspection number>/<name>``; for a name that ``read_name`` has accepted."""
    return image_root / drop.barcode / str(inspection_number) / image_name


def file_size(path: Path, image_root: Path) -> int:
    """The size of an image's file in bytes, at least 1 and small enough for a work unit.

    Raises ``RefusedImageError``; ``TryAgainLater`` when it is the image root that is away, or its disk or server fails.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _refused(error, image_root) from error
    if size == 0:
        raise RefusedImageError("empty: the file has no content")
    if size > MAX_IMAGE_BYTES:
        raise RefusedImageError(f"too large: more than {MAX_IMAGE_BYTES // 2**20} MB")
    return size


def read_bare(path: Path, image_root: Path) -> BareFile:
    """The image without anything but pixels. Raises as ``file_size`` does."""
    file_size(path, image_root)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _refused(error, image_root) from error
    try:
        bare = BareFile(*bare_image(content))
    except UnreadableImageError as error:
        raise RefusedImageError(f"unreadable: {error}") from error
    if len(bare.content) > MAX_IMAGE_BYTES:
        raise RefusedImageError(f"too large: more than {MAX_IMAGE_BYTES // 2**20} MB as PNG")
    return bare


def file_mark(path: Path, image_root: Path) -> tuple[int, int] | None:
    """What changes when a file does; None when it can not be looked at. Raises ``TryAgainLater`` as ``file_size`` does."""
    try:
        found = path.stat()
    except OSError as error:
        _refused(error, image_root)
        return None
    return found.st_mtime_ns, found.st_size


def _refused(error: OSError, image_root: Path) -> RefusedImageError:
    """What is wrong with one file. Raises ``TryAgainLater`` when it is its disk or server that fails."""
    check_image_root(image_root)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return RefusedImageError(MISSING)
    if isinstance(error, PermissionError | IsADirectoryError) or error.errno in (errno.ELOOP, errno.ENAMETOOLONG):
        return RefusedImageError(f"unreadable: {error.strerror}")
    raise TryAgainLater(f"{error.filename}: can not be read ({error.strerror}); try again later") from error


def check_image_root(image_root: Path) -> None:
    """Raise ``TryAgainLater`` when the image root can not be read or is empty, as the place of a file server that is away is."""
    try:
        empty = next(image_root.iterdir(), None) is None
    except OSError as error:
        raise TryAgainLater(f"image root {image_root}: can not be read ({error.strerror}); is it mounted? (paths.images)") from error
    if empty:
        raise TryAgainLater(f"image root {image_root}: is empty; is it mounted? (paths.images)")


class ImageStore(Protocol):
    """Where images are read and work units written; ``benchmark archive`` puts small stand-ins in its place."""

    def check(self) -> None:
        """Raise ``TryAgainLater`` when images can not be read now."""

    def size(self, image: QueuedImage) -> int:
        """The size of an image's file in bytes. Raises ``RefusedImageError``, ``TryAgainLater``."""

    def read(self, image: QueuedImage) -> BareFile:
        """The image as it travels. Raises ``RefusedImageError``, ``TryAgainLater``."""

    def mark(self, image: QueuedImage) -> tuple[int, int] | None:
        """What changes when the image's file does; None when it can not be looked at. Raises ``TryAgainLater``."""

    def is_packed(self, work_unit: str) -> bool:
        """Whether the work unit's ZIP is there."""

    def pack(self, manifest: Manifest, contents: Mapping[str, bytes]) -> str:
        """Write a work unit; the SHA-256 of its ZIP."""

    def path(self, work_unit: str) -> Path:
        """The work unit's ZIP."""


@dataclass(frozen=True, slots=True)
class Disk:
    """Images below the image root, work units in a folder."""

    image_root: Path
    work_units: Path

    def check(self) -> None:
        check_image_root(self.image_root)

    def size(self, image: QueuedImage) -> int:
        return file_size(self._image(image), self.image_root)

    def read(self, image: QueuedImage) -> BareFile:
        return read_bare(self._image(image), self.image_root)

    def mark(self, image: QueuedImage) -> tuple[int, int] | None:
        return file_mark(self._image(image), self.image_root)

    def is_packed(self, work_unit: str) -> bool:
        return self.path(work_unit).is_file()

    def pack(self, manifest: Manifest, contents: Mapping[str, bytes]) -> str:
        path = self.path(manifest.name)
        write_work_unit(path, manifest, contents)
        return sha256_hex(path.read_bytes())

    def path(self, work_unit: str) -> Path:
        return self.work_units / f"{work_unit}.zip"

    def _image(self, image: QueuedImage) -> Path:
        return image_path(self.image_root, image.drop, image.inspection_number, image.image_name)
