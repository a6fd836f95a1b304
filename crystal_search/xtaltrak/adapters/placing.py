"""Source images into the image root and the embedded XtalTrak, some thousands at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from crystal_search.xtaltrak import XtalTrak
from crystal_search.xtaltrak.adapters.source_image import SkippedError, SourceImage
from crystal_search.xtaltrak.embedded import LoadedImage, insert_images, link_or_copy

#: So many images are held in memory, and enter XtalTrak in one transaction.
_CHUNK = 5_000

#: Gets one line for each image that is skipped.
Skip = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Placed:
    """How many links are new in the image root, and how many images in XtalTrak."""

    links: int = 0
    images: int = 0


def place_all(xtaltrak: XtalTrak, image_root: Path, found: Iterable[SourceImage | SkippedError], copy: bool, skip: Skip) -> Placed:
    """Bring every image in; what can not be taken goes to ``skip`` as one line and hinders nothing else.

    A second time everything is there already. ``copy``: a hard link, or else a copy, instead of a symbolic link.
    """
    links = images = 0
    for chunk in _chunks(found):
        rows: list[LoadedImage] = []
        for image in chunk:
            try:
                if isinstance(image, SkippedError):
                    raise image
                name = image.name
                links += _place(image, image_root / image.drop.barcode / str(image.inspection) / name, copy)
            except SkippedError as error:
                skip(str(error))
                continue
            rows.append(LoadedImage(image.drop, image.inspection, image.taken_at, name))
        images += insert_images(xtaltrak, rows)
    return Placed(links, images)


def _chunks(found: Iterable[SourceImage | SkippedError]) -> Iterator[list[SourceImage | SkippedError]]:
    iterator = iter(found)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


def _place(image: SourceImage, target: Path, copy: bool) -> bool:
    """Whether a link was made. Raises ``SkippedError``."""
    try:
        if not image.path.is_file():
            raise SkippedError(f"{image.where}: {image.path}: no such file")
        if target.is_symlink() or target.exists():
            if _is_same(target, image.path):
                return False
            raise SkippedError(f"{image.where}: another image of that name is in {target.parent}")
        if copy:
            link_or_copy(image.path, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(image.path.absolute())
    except OSError as error:
        raise SkippedError(f"{image.where}: {error.filename}: {error.strerror}") from error
    return True


def _is_same(target: Path, path: Path) -> bool:
    if target.is_symlink() and target.readlink() == path.absolute():
        return True
    return target.exists() and (target.samefile(path) or target.read_bytes() == path.read_bytes())
