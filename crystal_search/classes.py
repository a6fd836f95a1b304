"""The table of classes: the one place that knows names, codes, priority, groups and colours (P2, P5, P17, P18)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Group(StrEnum):
    """The four groups that people judge by (P5, P19)."""

    CRYSTAL = "crystal"
    PRECIPITATE = "precipitate"
    OTHER = "other"
    CLEAR = "clear"


@dataclass(frozen=True, slots=True)
class DropClass:
    """One row of the table.

    ``name`` is the identifier used in archives, model folders and CSV files; ``code`` the score that XtalTrak stores
    (P2); ``colour`` the RGB colour of its frame and chops (P18).
    """

    name: str
    title: str
    code: int
    group: Group
    colour: tuple[int, int, int]

    @property
    def score(self) -> str:
        """The two characters that XtalTrak stores, such as ``"01"`` or ``"23"``."""
        return f"{self.code:02d}"


RED = (214, 39, 40)
BLUE = (31, 100, 200)
MAGENTA = (214, 50, 190)
AMBER = (240, 165, 0)  # the paper names no colour for "other"; this hue stays apart from red for colour-blind eyes
GRAY = (150, 150, 150)
WHITE = (255, 255, 255)

#: Order is priority (P2, P17): the first class that any chop reaches scores the image. Rim is for training only.
CLASSES: tuple[DropClass, ...] = (
    DropClass("crystals_harvestable", "Crystals harvestable", 23, Group.CRYSTAL, RED),
    DropClass("crystals_bad_form", "Crystals bad form", 22, Group.CRYSTAL, RED),
    DropClass("crystals_overnucleated", "Crystals overnucleated", 21, Group.CRYSTAL, RED),
    DropClass("precipitate", "Precipitate", 13, Group.PRECIPITATE, BLUE),
    DropClass("precipitate_bad", "Precipitate bad", 12, Group.PRECIPITATE, BLUE),
    DropClass("precipitate_good", "Precipitate good", 11, Group.PRECIPITATE, BLUE),
    DropClass("null_experiment", "Null experiment", 34, Group.OTHER, MAGENTA),
    DropClass("other", "Other", 33, Group.OTHER, AMBER),
    DropClass("spherulites", "Spherulites", 32, Group.OTHER, AMBER),
    DropClass("phase_separation", "Phase separation", 31, Group.OTHER, AMBER),
    DropClass("clear", "Clear", 1, Group.CLEAR, GRAY),
    DropClass("clear_with_other_features", "Clear with other features", 2, Group.CLEAR, GRAY),
    DropClass("rim", "Rim", 1, Group.CLEAR, WHITE),
)

NAMES: tuple[str, ...] = tuple(c.name for c in CLASSES)
BY_NAME: dict[str, DropClass] = {c.name: c for c in CLASSES}
#: The class that a score means; rim shares its code with clear and is never read from a score.
BY_CODE: dict[int, DropClass] = {c.code: c for c in CLASSES if c.name != "rim"}
PRIORITY: dict[str, int] = {name: rank for rank, name in enumerate(NAMES)}
CRYSTAL_CLASSES: tuple[str, ...] = tuple(c.name for c in CLASSES if c.group is Group.CRYSTAL)


def class_of_score(score: str | int) -> DropClass:
    """The class that a stored score such as ``"23"``, ``"01"`` or ``1`` means.

    Raises ``ValueError`` with one line for a score that is not in the table.
    """
    text = str(score).strip()
    if text.isascii() and text.isdigit() and int(text) in BY_CODE:
        return BY_CODE[int(text)]
    known = ", ".join(c.score for c in CLASSES if c.name != "rim")
    raise ValueError(f"unknown score {score!r}: known are {known}")
