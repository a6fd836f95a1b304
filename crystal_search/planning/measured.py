"""What accepted results say of a site's own machines: seconds, bytes, and how many images are crystals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from crystal_search.archives import ArchiveError, Status, overlay_sizes, read_results
from crystal_search.classes import CRYSTAL_CLASSES
from crystal_search.errors import UsageError

#: Of more archives so many are read, evenly spread over their names and so over time: thousands of images are enough for a mean.
MOST_ARCHIVES = 200


@dataclass(frozen=True, slots=True)
class Measured:
    """What ``images`` in ``archives`` results took; failed images and those without a time are left out.

    ``seconds`` is the mean over the images, which is what a total follows from; ``result_bytes`` an image's part of the archive without
    the overlay, ``overlay_bytes`` None where no overlay was drawn, ``crystal_share`` 0 to 1.
    """

    archives: int
    images: int
    models: tuple[str, ...]
    seconds: float
    median_seconds: float
    result_bytes: float
    overlay_bytes: float | None
    crystal_share: float


def measure(folder: Path) -> Measured:
    """Read the results below ``folder``, which the assimilator wrote as ``<batch>/<work unit>.zip``.

    Raises ``UsageError`` for a folder that is not there or holds no timed result, and for an archive that is no result; ``TryAgainLater``
    when the disk fails.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    paths = sorted(folder.rglob("*.zip"))
    chosen = paths[:: -(-len(paths) // MOST_ARCHIVES)] if paths else []
    seconds: list[float] = []
    overlays: list[int] = []
    images = crystals = other_bytes = 0
    models: set[str] = set()
    for path in chosen:
        try:
            results, sizes = read_results(path), overlay_sizes(path)
        except ArchiveError as error:
            raise UsageError(f"{path.parent}: not a folder of results: {error}") from error
        models.add(results.model.name)
        images += len(results.images)
        other_bytes += path.stat().st_size - sum(sizes.values())
        overlays += sizes.values()
        timed = [image for image in results.images if image.status is not Status.FAILED and image.seconds > 0]
        seconds += [image.seconds for image in timed]
        crystals += sum(image.class_name in CRYSTAL_CLASSES for image in timed)
    if not seconds:
        raise UsageError(f"{folder}: no result here says how many seconds an image took")
    return Measured(
        archives=len(chosen),
        images=len(seconds),
        models=tuple(sorted(models)),
        seconds=fmean(seconds),
        median_seconds=median(seconds),
        result_bytes=other_bytes / images,
        overlay_bytes=fmean(overlays) if overlays else None,
        crystal_share=crystals / len(seconds),
    )
