"""Labels and scores of the same images as arrays, which is what the measures work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from crystal_search.archives import Status
from crystal_search.classes import CLASSES, Group
from training.evaluation.labels import LabelledImage
from training.evaluation.measures import Bools, Floats, Ints
from training.evaluation.scores import Score

GROUPS: tuple[str, ...] = tuple(str(group) for group in Group)
#: The twelve classes of images; the thirteenth, rim, is one of chops and scores as clear (P2).
IMAGE_CLASSES: tuple[str, ...] = tuple(c.name for c in CLASSES if c.name != "rim")
#: What can become of an image beside a group or class.
NO_CLASS: tuple[str, ...] = (str(Status.UNSURE), str(Status.NO_DROP), str(Status.FAILED))
CRYSTAL, CLEAR = GROUPS.index(Group.CRYSTAL), GROUPS.index(Group.CLEAR)
NO_DROP = len(GROUPS) + NO_CLASS.index(Status.NO_DROP)


@dataclass(frozen=True, slots=True)
class Sample:
    """n images. Numbers are positions in ``GROUPS + NO_CLASS`` or ``IMAGE_CLASSES + NO_CLASS``.

    ``truth`` group and ``truth_class`` (-1: the label names a group only) by people, ``empty`` where they see no drop; ``outcome`` and
    ``outcome_class`` by the program; ``crystal`` probability; ``probability`` of the given class (NaN where none is given).
    """

    truth: Ints
    truth_class: Ints
    empty: Bools
    outcome: Ints
    outcome_class: Ints
    crystal: Floats
    probability: Floats

    @classmethod
    def of(cls, labelled: Sequence[LabelledImage], scores: Sequence[Score]) -> Self:
        judgements = [image.consensus.judgement for image in labelled]
        names = ["clear" if score.class_name == "rim" else score.class_name for score in scores]
        group_of = {c.name: GROUPS.index(c.group) for c in CLASSES}
        return cls(
            truth=np.array([GROUPS.index(judgement.group) for judgement in judgements], dtype=np.int64),
            truth_class=np.array([IMAGE_CLASSES.index(j.class_name) if j.class_name else -1 for j in judgements], dtype=np.int64),
            empty=np.array([judgement.empty for judgement in judgements], dtype=np.bool_),
            outcome=np.array(
                [group_of[name] if name else _no_class(s, GROUPS) for name, s in zip(names, scores, strict=True)], dtype=np.int64
            ),
            outcome_class=np.array(
                [IMAGE_CLASSES.index(name) if name else _no_class(s, IMAGE_CLASSES) for name, s in zip(names, scores, strict=True)],
                dtype=np.int64,
            ),
            crystal=np.array([score.crystal_probability for score in scores], dtype=np.float64),
            probability=np.array([np.nan if score.probability is None else score.probability for score in scores], dtype=np.float64),
        )

    def take(self, places: Ints | Bools) -> Self:
        """The images at ``places``, which may repeat."""
        return type(self)(*(getattr(self, field.name)[places] for field in fields(self)))

    @property
    def right(self) -> Bools:
        """Where the program names the people's group; in an empty well ``no_drop`` is right too."""
        return np.asarray((self.truth == self.outcome) | (self.empty & (self.outcome == NO_DROP)), dtype=np.bool_)

    @property
    def is_crystal(self) -> Bools:
        """Where people see crystals."""
        return np.asarray(self.truth == CRYSTAL, dtype=np.bool_)

    @property
    def against_clear(self) -> Bools:
        """Where people see crystals or nothing: the images of the question "crystals or a clear drop or an empty well?"."""
        return np.asarray(self.is_crystal | (self.truth == CLEAR), dtype=np.bool_)


def _no_class(score: Score, named: tuple[str, ...]) -> int:
    return len(named) + NO_CLASS.index(score.status)
