"""TFRecords as a folder of images with a labels file, for `score` and `evaluate`: how a model is measured on MARCO's test split."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from crystal_search.atomic import write_atomically
from crystal_search.classes import BY_NAME
from crystal_search.errors import TryAgainLater, UsageError
from training.datasets.from_tfrecords import read_tfrecords
from training.datasets.scored_image import Found, ScoredImage
from training.evaluation.paper import TFRECORD

#: The first bytes of the formats that a client reads.
_SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"II*\0": ".tif", b"MM\0*": ".tif"}


def unpack(paths: Sequence[Path], label_names: Sequence[str], out: Path) -> Found:
    """Writes each image to ``out``/GROUP/FILE_NUMBER.jpg and, last, ``out``/labels.csv; an image that is there is kept.

    Raises ``UsageError`` for files that can not be read, ``TryAgainLater`` where ``out`` can not be written.
    """
    found = read_tfrecords(paths, label_names)
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["image", "label", "plate", "source"])
    try:
        for image in found.images:
            name = _write(image, out)
            table.writerow([name, _label(image), image.plate, TFRECORD])
        write_atomically(out / "labels.csv", text.getvalue().encode("utf-8"))
    except OSError as error:
        raise TryAgainLater(f"can not write to {out} ({error.strerror}): start again, what is written stays") from error
    return found


def _label(image: ScoredImage) -> str:
    return str(BY_NAME[image.class_name].group) if image.only_group else image.class_name


def _write(image: ScoredImage, out: Path) -> str:
    content = image.image.read()
    suffix = next((suffix for start, suffix in _SUFFIXES.items() if content.startswith(start)), None)
    if suffix is None:
        raise UsageError(f"{image.name}: its image is neither JPEG, PNG nor TIFF")
    name = f"{_label(image)}/{image.name.replace('#', '_')}{suffix}"
    if not (out / name).exists():
        write_atomically(out / name, content)
    return name
