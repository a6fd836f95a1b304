"""Confusion matrices."""

from __future__ import annotations

import numpy as np

from training.evaluation.measures import Ints


def confusion(truth: Ints, outcome: Ints, rows: int, columns: int) -> Ints:
    """Confusion matrix (rows, columns): how many images that people call row i came out as column j.

    There may be more columns than rows: outcomes that people do not use, such as ``unsure``. Raises ``ValueError`` for a number that is
    outside of the matrix.

    >>> confusion(np.array([0, 0, 1]), np.array([0, 2, 1]), 2, 3)
    array([[1, 0, 1],
           [0, 1, 0]])
    """
    if truth.shape != outcome.shape:
        raise ValueError(f"{truth.size} labels and {outcome.size} outcomes")
    if truth.size and not (truth.min() >= 0 and truth.max() < rows and outcome.min() >= 0 and outcome.max() < columns):
        raise ValueError(f"labels must be below {rows} and outcomes below {columns}")
    counts = np.bincount(truth * columns + outcome, minlength=rows * columns)
    return counts.reshape(rows, columns).astype(np.int64)
