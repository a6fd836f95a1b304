"""The measures: pure functions on numpy arrays, each with its formula and the paper's item."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def ratio(part: Floats | Ints, whole: Ints) -> Floats:
    """``part / whole``, element by element; NaN where ``whole`` is 0."""
    result: Floats = np.full(np.shape(part), np.nan)
    return np.divide(part, whole, out=result, where=whole > 0)
