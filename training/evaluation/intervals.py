"""The figures of a sample with their bootstrap intervals, and how far two samples of the same images differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from training.evaluation.figures import FIGURES, crystal_counts
from training.evaluation.measures import Floats, Ints
from training.evaluation.measures.bootstrap import percentile_interval, resamples
from training.evaluation.measures.curves import roc_area
from training.evaluation.results import Interval
from training.evaluation.sample import CLEAR, Sample

#: With fewer plates than this, whole plates are too few to draw from, and images are drawn instead.
FEWEST_PLATES = 5


@dataclass(frozen=True, slots=True)
class Units:
    """What the bootstrap draws as a whole: ``unit`` (n,) by image, numbered from 0, and in words."""

    unit: Ints
    words: str
    by_plate: bool


@dataclass(frozen=True, slots=True)
class Draws:
    """Each figure's ``values`` on the sample itself, (figures,), and on every resample, (count, figures), in the order of ``FIGURES``."""

    values: Floats
    resampled: Floats


def units_of(plates: Sequence[str]) -> Units:
    """Plates, where at least ``FEWEST_PLATES`` are known (an image of no known plate stands alone); else images."""
    known = set(filter(None, plates))
    if len(known) < FEWEST_PLATES:
        return Units(np.arange(len(plates)), f"{len(plates)} images", False)
    keys = [("plate", plate) if plate else ("image", str(place)) for place, plate in enumerate(plates)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    alone = sum(not plate for plate in plates)
    words = f"{len(known)} plates" + (f" and {alone} images of no known plate" if alone else "")
    return Units(np.array([numbers[key] for key in keys], dtype=np.int64), words, True)


def draw(sample: Sample, unit: Ints, count: int, seed: int) -> Draws:
    """Every figure on the sample and on ``count`` resamples of its units."""
    samples = tqdm(resamples(unit, count, seed), total=count, desc="bootstrap", leave=False, disable=None)
    resampled = [_values(sample.take(places)) for places in samples]
    return Draws(_values(sample), np.array(resampled, dtype=np.float64).reshape(count, len(FIGURES)))


def _values(sample: Sample) -> Floats:
    return np.array([figure.of(sample) for figure in FIGURES], dtype=np.float64)


def intervals(draws: Draws) -> dict[str, Interval]:
    """Each figure by name, with the percentile interval that holds 95 % of its resamples."""
    columns = zip(FIGURES, draws.values, draws.resampled.T, strict=True)
    return {figure.name: Interval(float(value), *percentile_interval(column)) for figure, value, column in columns}


def differences(draws: Draws, reference: Draws) -> dict[str, Interval]:
    """Each figure less the reference's, both on the same resamples: how sure it is that one is better than the other."""
    return intervals(Draws(draws.values - reference.values, draws.resampled - reference.resampled))


def part_areas(sample: Sample, part: Ints, unit: Ints, count: int, seed: int) -> list[Interval]:
    """For each part, numbered from 0 in ``part`` (n,), the ROC area of its crystals against all clear drops and empty wells.

    The clear images of the whole sample serve every part, for a source may hold nothing but crystals.
    """
    numbers = range(int(part.max()) + 1)

    def areas(places: Ints) -> list[float]:
        drawn, of = sample.take(places), part[places]
        return [roc_area(crystal_counts(drawn.take((drawn.truth == CLEAR) | (drawn.is_crystal & (of == number))))) for number in numbers]

    values = areas(np.arange(part.size))
    resampled = np.array([areas(places) for places in resamples(unit, count, seed)], dtype=np.float64).reshape(count, len(numbers))
    return [Interval(value, *percentile_interval(column)) for value, column in zip(values, resampled.T, strict=True)]
