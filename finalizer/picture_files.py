"""Pictures with the best regions as files beside the images (P27). A comment in the JPEG says whose they are.

So nothing has to be noted: a file is ours, and unchanged, when its comment names our batch and the SHA-256 of all the rest.
Whatever else has that name is somebody else's, and stays.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from crystal_search.archives import sha256_hex
from crystal_search.atomic import PARTIAL_SUFFIX, sync_folder
from crystal_search.crystaltrak_names import PICTURE_MARK
from crystal_search.errors import TryAgainLater
from crystal_search.ledger.artscores import KeptScore

_START = b"\xff\xd8"  # of every JPEG
_COMMENT = b"\xff\xfe"  # the marker of a comment; its length, which counts itself, follows in two bytes


def picture_path(root: Path, kept: KeptScore, batch: str) -> Path | None:
    """``<root>/<barcode>/<inspection number>/<image>_ARTscore_<batch>.jpg``; None for a name that is a path."""
    name = kept.artscore.image_name
    if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in (name, kept.barcode)):
        return None
    return root / kept.barcode / str(kept.inspection_number) / f"{Path(name).stem}{PICTURE_MARK}{batch}.jpg"


def with_mark(picture: bytes, batch: str) -> bytes:
    """A JPEG with a comment that says that it is ours, of that batch, and what its bytes were."""
    mark = f"Crystal Search ARTscore {batch} {sha256_hex(picture)}".encode()
    return b"".join((_START, _COMMENT, (len(mark) + 2).to_bytes(2, "big"), mark, picture[len(_START) :]))


def is_ours(content: bytes, batch: str) -> bool:
    """Whether a file's content is a picture of that batch exactly as ``with_mark`` made it."""
    length = int.from_bytes(content[4:6], "big")
    return content == with_mark(_START + content[4 + length :], batch)


def add_picture(path: Path, content: bytes, make_folder: bool) -> bool:
    """Write a picture where no file of that name is; False, and nothing written, where one is or the folder is missing.

    The file is there whole or not at all. ``make_folder``: in a folder of ours; the images' own folders are never made.
    Raises ``TryAgainLater`` when the disk is full or can not be written.
    """
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=PARTIAL_SUFFIX, dir=path.parent)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _away(error, path) from error
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            partial.chmod(0o644)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        added = _name(partial, path)
        sync_folder(path.parent)
        return added
    except OSError as error:
        raise _away(error, path) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _name(partial: Path, path: Path) -> bool:
    """Give a whole file its name, unless a file has it."""
    try:
        os.link(partial, path)  # a rename would replace what somebody puts there at this moment
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        partial.rename(path)
    return True


def remove_picture(path: Path, batch: str) -> bool:
    """Remove a picture of that batch, if it is still as we wrote it; False where a file stays. Raises ``TryAgainLater``."""
    try:
        if not is_ours(path.read_bytes(), batch):
            return False
        path.unlink(missing_ok=True)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        raise _away(error, path) from error
    return True


def has_picture(path: Path, batch: str) -> bool:
    """Whether the picture is there as we wrote it. Raises ``TryAgainLater``."""
    try:
        return is_ours(path.read_bytes(), batch)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _away(error, path) from error


def _away(error: OSError, path: Path) -> TryAgainLater:
    return TryAgainLater(f"picture {path}: can not be read or written ({error.strerror}); nothing was lost, try again later")
