"""Whether probabilities mean what they say, and two ways to make them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.evaluation.measures import Bools, Floats, Ints, ratio

#: The inverse temperatures that a fit may choose from.
_SLOPES = (0.01, 100.0)


@dataclass(frozen=True, slots=True)
class Reliability:
    """A reliability diagram: for each bin [i/k, (i+1)/k) the count, the mean probability and the share that came true (NaN: empty)."""

    count: Ints
    probability: Floats
    share: Floats


def reliability(probability: Floats, true: Bools, bins: int = 10) -> Reliability:
    """The reliability diagram of ``probability`` (n,) for what is ``true`` (n,), in bins of equal width; 1 belongs to the last."""
    place = np.clip((probability * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(place, minlength=bins).astype(np.int64)

    def mean(values: Floats) -> Floats:
        return ratio(np.bincount(place, weights=values, minlength=bins), count)

    return Reliability(count, mean(probability), mean(true.astype(np.float64)))


def expected_calibration_error(diagram: Reliability) -> float:
    """Expected calibration error: sum over bins of n_b / n |share_b - probability_b|, 0 (perfect) to 1; NaN without images."""
    total = diagram.count.sum()
    gaps = np.abs(diagram.share - diagram.probability)
    return float(np.sum(diagram.count * np.nan_to_num(gaps)) / total) if total else float("nan")


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """The temperature T by which logits (n, k) are to be divided so that softmax(z / T) explains ``labels`` (n,) best (Guo et al. 2017).

    The negative log likelihood is convex in b = 1/T with the derivative mean(E_p[z] - z_label), whose sign change bisection finds.
    T stays within 0.01 and 100. Fit on a validation split that training did not see. Raises ``ValueError`` without images.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not labels.size:
        raise ValueError(f"logits (n, k) and labels (n,) with n > 0 are needed, not {logits.shape} and {labels.shape}")
    shifted = logits - logits.max(axis=1, keepdims=True)
    chosen = shifted[np.arange(labels.size), labels]

    def derivative(slope: float) -> float:
        weights = np.exp(slope * shifted)
        return float(np.mean((weights * shifted).sum(axis=1) / weights.sum(axis=1) - chosen))

    low, high = _SLOPES
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if derivative(middle) > 0 else (middle, high)
    return 1.0 / float(np.sqrt(low * high))


def fit_platt(scores: Floats, true: Bools) -> tuple[float, float]:
    """(a, b) such that 1 / (1 + exp(-(a s + b))) is the probability that an image with score s is true (Platt 1999).

    Maximum likelihood with Platt's targets, (n+ + 1) / (n+ + 2) and 1 / (n- + 2) instead of 1 and 0, by Newton's method with halved steps.
    Raises ``ValueError`` where ``true`` has only one value or all scores are equal.
    """
    positives = int(true.sum())
    if not 0 < positives < true.size or np.ptp(scores) == 0:
        raise ValueError("Platt scaling needs images that are true, images that are not, and different scores")
    target = np.where(true, (positives + 1) / (positives + 2), 1 / (true.size - positives + 2))
    centre, spread = float(scores.mean()), float(scores.std())
    design = np.stack([(scores - centre) / spread, np.ones_like(scores)], axis=1)

    def loss(line: Floats) -> float:
        z = design @ line
        return float(np.sum(np.logaddexp(0.0, z) - target * z))

    line = np.zeros(2)
    for _ in range(100):
        p = 1 / (1 + np.exp(-(design @ line)))
        gradient = design.T @ (p - target)
        step = np.linalg.solve(design.T @ (design * (p * (1 - p))[:, None]) + 1e-12 * np.eye(2), gradient)
        while loss(line - step) > loss(line) and np.abs(step).max() > 1e-12:
            step = step / 2
        line = line - step
        if np.abs(step).max() < 1e-10:
            break
    a = float(line[0]) / spread
    return a, float(line[1]) - a * centre
