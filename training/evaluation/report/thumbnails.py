"""Small pictures of the images that a reader should look at, only where somebody asked for them: a lab's images may be confidential."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from client_app.decode import decode_image
from crystal_search.errors import CrystalSearchError
from training.evaluation.report.page import MOST_ROWS
from training.evaluation.results import Evaluation, Finding

#: Longer side in px: enough to tell a crystal from a scratch in most drops, and some 10 kB a picture.
SIDE = 280
_QUALITY = 80


def thumbnails(evaluation: Evaluation, folder: Path) -> dict[str, bytes]:
    """JPEGs of the missed and false crystals that the page shows, by the name in the labels.

    An image is looked for under ``folder`` by its name in the labels, then by its name in the scores; one that is not there or can not be
    read has no picture.
    """
    pictures: dict[str, bytes] = {}
    for finding in _shown(evaluation):
        if finding.image not in pictures and (picture := _first_readable(folder, (finding.image, finding.scored_as))):
            pictures[finding.image] = picture
    return pictures


def _shown(evaluation: Evaluation) -> Iterable[Finding]:
    return (finding for file in evaluation.files for kind in (file.missed_crystals, file.false_crystals) for finding in kind[:MOST_ROWS])


def _first_readable(folder: Path, names: Iterable[str]) -> bytes | None:
    for name in names:
        try:
            image = decode_image((folder / name).read_bytes())
        except (OSError, ValueError, CrystalSearchError):
            continue
        image.thumbnail((SIDE, SIDE))
        file = io.BytesIO()
        image.convert("RGB").save(file, "JPEG", quality=_QUALITY)
        return file.getvalue()
    return None
