"""How far people agree with each other (P21), and with the program, in the same terms."""

from __future__ import annotations

import numpy as np

from training.evaluation.measures import Floats, Ints, ratio


def pair_agreement(votes: Ints) -> float:
    """The chance that two people who look at one image say the same: the mean over images of sum_k n_k (n_k - 1) / (n (n - 1)).

    ``votes`` (images, groups) has in row i how many people named each group; images with fewer than two people do not count; NaN where no
    image is left (P21).

    >>> pair_agreement(np.array([[2, 0], [1, 1], [3, 1], [1, 0]]))
    0.5
    """
    people = votes.sum(axis=1)
    shared = people > 1
    if not shared.any():
        return float("nan")
    agreeing = (votes * (votes - 1)).sum(axis=1)[shared]
    return float(np.mean(agreeing / (people * (people - 1))[shared]))


def specific_agreement(votes: Ints) -> Floats:
    """For each group (groups,): when one person names it, how often another one does too: sum_i n_ik (n_ik - 1) / sum_i n_ik (n_i - 1).

    NaN for a group that nobody named on an image that others saw too (P21: 84.7 % for crystals, 91.6 % for empty drops there).
    """
    others = votes.sum(axis=1, keepdims=True) - 1
    pairs = (votes * others).sum(axis=0)
    agreeing = (votes * (votes - 1)).sum(axis=0)
    return ratio(agreeing, pairs)


def program_agreement(votes: Ints, outcome: Ints) -> float:
    """The chance that the program and one person who looked at an image say the same: mean of n_outcome / n, over images that several saw.

    ``outcome`` (images,) numbers the program's group; a number beyond the groups (``unsure`` and the like) agrees with nobody.
    """
    people = votes.sum(axis=1)
    shared = np.flatnonzero(people > 1)
    if not shared.size:
        return float("nan")
    named = outcome[shared] < votes.shape[1]
    same = np.zeros(shared.size)
    same[named] = votes[shared[named], outcome[shared[named]]]
    return float(np.mean(same / people[shared]))
