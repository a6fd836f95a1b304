"""One image that people scored, whatever it comes from; and what is known of its plate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from crystal_search.classes import Group
from crystal_search.crystaltrak_names import MalformedNameError, parse_image_name

#: How drops are set up (P34), in the words of ``model.toml``. A plate of which nobody says otherwise holds the first.
DROP_TYPES = ("vapour diffusion", "microbatch", "in meso")
#: The class of an image of which only the group is known, as in MARCO's four classes: that of the highest priority (P2), but for
#: ``other``, which has the group's name.
CLASS_OF_GROUP = {
    Group.CRYSTAL: "crystals_harvestable",
    Group.PRECIPITATE: "precipitate",
    Group.OTHER: "other",
    Group.CLEAR: "clear",
}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """Where an image's bytes lie: all of a file, or ``length`` bytes of it from ``start`` on, as in a TFRecord."""

    path: Path
    start: int = 0
    length: int | None = None

    def read(self) -> bytes:
        """The bytes of the image. Raises ``OSError``."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read() if self.length is None else file.read(self.length)


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """An image and what people called it.

    ``name`` is unique in its source; ``class_name`` is one of the twelve classes of P2; ``uv`` the UV image of the same drop and
    inspection, None where there is none; ``um_per_px`` the image's scale, None where it is not known. ``only_group`` says that
    people named a group and :data:`CLASS_OF_GROUP` chose the class.
    """

    name: str
    image: ImageFile
    class_name: str
    plate: str
    source: str
    well: str = ""
    inspection: int | None = None
    uv: ImageFile | None = None
    proteins: tuple[str, ...] = ()
    drop_type: str = DROP_TYPES[0]
    um_per_px: float | None = None
    only_group: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What a source holds: its images, one line for each row or record that is not one, and what else a reader should know."""

    source: str
    images: tuple[ScoredImage, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sha256: dict[str, str] = field(default_factory=dict)


def drop_type_of(text: str) -> str:
    """The drop type that ``text`` means: spaces, ``_`` and ``-`` are alike; empty text is the first of :data:`DROP_TYPES`.

    >>> drop_type_of("In_Meso")
    'in meso'

    Raises ``ValueError`` with one line for any other.
    """
    words = " ".join(text.lower().replace("_", " ").replace("-", " ").split())
    if words and words not in DROP_TYPES:
        raise ValueError(f"unknown drop type {text!r}: known are {', '.join(DROP_TYPES)}")
    return words or DROP_TYPES[0]


def plate_and_well(file_name: str) -> tuple[str, str]:
    """Plate and well that a CrystalTrak name tells, empty for any other name."""
    try:
        drop = parse_image_name(file_name).drop
    except MalformedNameError:
        return "", ""
    return drop.barcode, drop.label


def plates_of_two_kinds(images: Iterable[ScoredImage]) -> list[str]:
    """The plates that are said to hold drops of more than one type: a mistake, since the type is the plate's."""
    kinds: dict[str, set[str]] = {}
    for image in images:
        kinds.setdefault(image.plate, set()).add(image.drop_type)
    return sorted(plate for plate, types in kinds.items() if len(types) > 1)
