"""What a chop network answers: the thirteen classes, five groups with rim (P5), or MARCO's four (P12).

A network is trained with as many outputs as it has classes. In a model folder every network answers with the thirteen of the table, so
that clients, the ARTscore rule and archives know one form: classes that it does not know get a logit that shuts them out (decision 0028).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crystal_search.classes import BY_NAME, CLASSES, NAMES, Group
from training.datasets.scored_image import CLASS_OF_GROUP

#: The logit of a class that a network does not know: no temperature that we fit leaves it more than 1e-10.
SHUT_OUT = -100.0


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of a network, in order: their ``names``, the class of the table that each answers as, and the output of each class."""

    key: str
    names: tuple[str, ...]
    answers_as: tuple[str, ...]
    of_class: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.names)

    def labels(self, classes: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
        """The output of each label (n,), an index of the table of classes."""
        return np.asarray(np.array(self.of_class, dtype=np.int64)[classes], dtype=np.int64)

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """Number of the group of each output (k,)."""
        return np.array([list(Group).index(BY_NAME[name].group) for name in self.answers_as], dtype=np.int64)

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """Index in the table of classes of each output (k,)."""
        return np.array([NAMES.index(name) for name in self.answers_as], dtype=np.int64)

    def as_table(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits (..., k) as those of the table's thirteen classes (..., 13)."""
        table = np.full((*logits.shape[:-1], len(NAMES)), SHUT_OUT, np.float32)
        table[..., self.places] = logits
        return table


def _groups(rim: bool) -> Outputs:
    groups = tuple(Group)
    names = tuple(str(group) for group in groups) + (("rim",) if rim else ())
    of_class = tuple(len(groups) if rim and c.name == "rim" else groups.index(c.group) for c in CLASSES)
    answers = tuple(CLASS_OF_GROUP[group] for group in groups) + (("rim",) if rim else ())
    return Outputs("5" if rim else "marco", names, answers, of_class)


THIRTEEN = Outputs("13", NAMES, NAMES, tuple(range(len(NAMES))))
#: P5: the four groups and rim.
FIVE = _groups(rim=True)
#: Crystals, precipitate, other and clear as MARCO has them; a rim is clear.
MARCO = _groups(rim=False)
BY_KEY = {outputs.key: outputs for outputs in (THIRTEEN, FIVE, MARCO)}
