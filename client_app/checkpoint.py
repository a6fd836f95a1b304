"""What a killed client has already done, one file an image, so that the next one goes on where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path

import msgspec

from crystal_search.archives import ImageResult
from crystal_search.atomic import write_atomically
from crystal_search.errors import TryAgainLater

_DIGEST_BYTES = 32


class Saved(msgspec.Struct, frozen=True):
    """A finished image, its overlay as JPEG where there is one, and the execution provider that the model had used by then."""

    result: ImageResult
    overlay: bytes | None
    provider: str


class _File(msgspec.Struct, frozen=True):
    key: str
    saved: Saved


class Checkpoint:
    """Finished images in ``folder``, valid for one ``key`` (work unit, model, client version) only.

    Each file is a SHA-256 and what it covers. A file that is damaged or belongs to another key counts as absent.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key

    def load(self, image_id: str) -> Saved | None:
        """What ``save`` kept for this image, or None."""
        try:
            content = self._path(image_id).read_bytes()
        except OSError:
            return None
        digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(payload).digest() != digest:
            return None
        try:
            file = msgspec.msgpack.decode(payload, type=_File)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # whole, but not written by this version of this program
            return None
        if file.key != self._key or file.saved.result.id != image_id:
            return None
        return file.saved

    def save(self, saved: Saved) -> None:
        """Keep a finished image. Raises ``TryAgainLater`` where that is not possible."""
        payload = msgspec.msgpack.encode(_File(self._key, saved))
        try:
            write_atomically(self._path(saved.result.id), hashlib.sha256(payload).digest() + payload)
        except OSError as error:
            raise TryAgainLater(
                f"can not write the checkpoint {self._folder} ({error.strerror}): make room for it, then start again"
            ) from error

    def remove(self) -> None:
        """Forget everything; what can not be deleted is left."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, image_id: str) -> Path:
        return self._folder / f"{image_id}.checkpoint"
