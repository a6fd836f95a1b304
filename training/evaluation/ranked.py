"""From a sample with plates and wells to the ranking and the thresholds of the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.evaluation.figures import crystal_counts
from training.evaluation.labels import LabelledImage
from training.evaluation.measures import Ints
from training.evaluation.measures.curves import threshold_for_recall
from training.evaluation.measures.ranking import crystal_ranks, merge_wells, wells_for_share
from training.evaluation.results import FIRST_WELLS, WANTED_SHARE, PlateRanking, Ranking, Threshold
from training.evaluation.sample import CLEAR, Sample


def well_numbers(images: Sequence[LabelledImage]) -> tuple[Ints, list[str]]:
    """Each image's well, numbered from 0, and each well's plate; an image without plate or well is a well of its own."""
    keys = [(i.plate, i.well, "") if i.plate and i.well else (i.plate, "", i.image) for i in images]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], dtype=np.int64), [plate for plate, _, _ in numbers]


def ranking(sample: Sample, images: Sequence[LabelledImage]) -> Ranking:
    """Wells in the order of their crystal probability, on each plate and over all; see ``measures.ranking``."""
    well, plate_of = well_numbers(images)
    probability, crystal = merge_wells(well, sample.crystal, sample.is_crystal)
    plates = []
    names, plate_number = np.unique(plate_of, return_inverse=True)
    for number, plate in enumerate(names):
        inside = plate_number == number
        ranks = crystal_ranks(probability[inside], crystal[inside])
        if plate and ranks.size:
            plates.append(PlateRanking(str(plate), int(inside.sum()), tuple(map(int, ranks)), wells_for_share(ranks, WANTED_SHARE)))
    everywhere = crystal_ranks(probability, crystal)
    return Ranking(
        plates=tuple(plates),
        plates_with_early_crystal=sum(plate.crystal_ranks[0] <= FIRST_WELLS for plate in plates),
        early_crystal_wells=sum(rank <= FIRST_WELLS for plate in plates for rank in plate.crystal_ranks),
        wells=len(plate_of),
        crystal_wells=int(everywhere.size),
        wells_for_share=wells_for_share(everywhere, WANTED_SHARE) if everywhere.size else None,
        without_plate=sum(not image.plate for image in images),
    )


def thresholds(sample: Sample, recalls: Sequence[float]) -> tuple[Threshold, ...]:
    """For each wanted recall the highest threshold of the crystal probability that reaches it; none where there is no curve."""
    counts = crystal_counts(sample)
    if counts is None:
        return ()
    clear = sample.crystal[sample.truth == CLEAR]
    found = []
    for wanted in recalls:
        place = threshold_for_recall(counts, wanted)
        threshold = float(counts.thresholds[place])
        found.append(
            Threshold(
                wanted_recall=wanted,
                threshold=threshold,
                recall=float(counts.recall[place]),
                precision=float(counts.precision[place]),
                false_rate=float(counts.false_rate[place]),
                false_rate_clear=float(np.mean(clear >= threshold)) if clear.size else float("nan"),
                called=int(counts.found[place] + counts.false[place]),
            )
        )
    return tuple(found)
