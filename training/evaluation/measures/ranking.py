"""How soon a person who looks at wells in the order of their crystal probability meets the crystals.

Wells of equal probability are taken in the worst order: those without a crystal first.
"""

from __future__ import annotations

import math

import numpy as np

from training.evaluation.measures import Bools, Floats, Ints


def merge_wells(well: Ints, probability: Floats, crystal: Bools) -> tuple[Floats, Bools]:
    """From images to wells: ``well`` (n,) numbers each image's well from 0. A well has its best image's probability, and a crystal if
    any image of it has one (P17 for wells)."""
    wells = int(well.max()) + 1 if well.size else 0
    best = np.zeros(wells)
    np.maximum.at(best, well, probability)
    return best, np.bincount(well, weights=crystal, minlength=wells) > 0


def looking_order(probability: Floats, crystal: Bools) -> Ints:
    """The order in which wells are looked at: falling probability, of equal ones those without a crystal first."""
    return np.lexsort((crystal, -probability)).astype(np.int64)


def crystal_ranks(probability: Floats, crystal: Bools) -> Ints:
    """The ranks, from 1, of the wells with crystals, rising.

    >>> crystal_ranks(np.array([0.2, 0.9, 0.5, 0.5]), np.array([True, False, True, False])).tolist()
    [3, 4]
    """
    return (np.flatnonzero(crystal[looking_order(probability, crystal)]) + 1).astype(np.int64)


def wells_for_share(ranks: Ints, share: float) -> int:
    """How many wells must be looked at, in order, to see at least ``share`` (0..1] of the wells with crystals, whose ``ranks`` are given.

    >>> wells_for_share(np.array([1, 2, 7, 30]), 0.75)
    7
    """
    return int(ranks[math.ceil(share * ranks.size - 1e-9) - 1])
