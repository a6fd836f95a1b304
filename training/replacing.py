"""A model is not replaced by one that is worse on the lab's own test plates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from client_app.classify import calibrated
from client_app.model import load_model
from crystal_search.errors import CrystalSearchError, UsageError
from training import chops, shards
from training.datasets.loading import DataSet, read_test
from training.export import CHOPS_FILE, SETTINGS_FILE
from training.outputs import THIRTEEN, Outputs


@dataclass(frozen=True, slots=True)
class Rival:
    """What a new model has to equal: the chops of the test plates, the figure of the model that is there, and its name."""

    test: shards.Arrays
    figure: float
    name: str


def rival_of(out: Path, sets: Sequence[DataSet], window: int) -> Rival | None:
    """The model in ``out`` on the test plates of ``sets``; None where there is no model, or there are no test plates.

    Raises ``UsageError`` with one line where the two do not fit together, before anything is trained.
    """
    if not (out / CHOPS_FILE).is_file() or not (out / SETTINGS_FILE).is_file() or not (out / "drop.onnx").is_file():
        return None
    test = [part for one in sets if (part := read_test(one)) is not None]
    if not test:
        return None
    model, joined = load_model(out), shards.join(test)
    if model.spec.chops.window != window:
        raise UsageError(
            f"--out {out}: the model there works on chops of {model.spec.chops.window} px, the new one on {window} px: name another folder"
        )
    logits = np.concatenate(
        [model.chops(chops.centred(joined, window, start, start + 32)).mean(axis=(1, 2)) for start in range(0, len(joined["labels"]), 32)]
    )
    return Rival(joined, figure(calibrated(logits, model.spec.calibration), joined["labels"]), model.spec.name)


def figure(probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.uint8]) -> float:
    """Mean over the groups that occur of the share of their chops whose most probable group is theirs: 0 to 1.

    ``probabilities`` (n, 13) of the table's classes are summed by group. A group that is rare counts as much as one that is frequent, since
    what a lab looks for is rare.
    """
    groups = THIRTEEN.groups
    sums = np.stack([probabilities[:, groups == group].sum(axis=1) for group in range(int(groups.max()) + 1)], axis=1)
    truth, best = groups[labels], sums.argmax(axis=1)
    return float(np.mean([(best[truth == group] == group).mean() for group in np.unique(truth)]))


def check_replacement(rival: Rival | None, model: Any, outputs: Outputs, window: int, out: Path) -> None:
    """Raises ``CrystalSearchError`` with one line where the new Keras model is worse than the one that it would replace."""
    if rival is None:
        return
    mine = figure(chops.softmax(outputs.as_table(chops.logits(model, rival.test, window))), rival.test["labels"])
    if mine < rival.figure:
        raise CrystalSearchError(
            f"{out} stays as it is: on {len(rival.test['labels'])} chops of the test plates the new model gets {mine:.1%} of the groups "
            f"right, {rival.name} gets {rival.figure:.1%}; the training is kept: --resume with another --out writes it, "
            "with --replace-anyway here"
        )
