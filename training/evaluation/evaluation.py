"""Score files against a labels file: everything the report says, from what was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from crystal_search import __version__
from crystal_search.archives import Status
from crystal_search.errors import UsageError
from training.evaluation.figures import crystal_counts, group_rates, scored_reliability
from training.evaluation.intervals import Draws, Units, differences, draw, intervals, part_areas, units_of
from training.evaluation.judgement import EMPTY_WELL
from training.evaluation.labels import LabelledImage, Labels
from training.evaluation.matching import Matches, match
from training.evaluation.measures import Bools, Ints
from training.evaluation.measures.agreement import program_agreement
from training.evaluation.measures.calibration import Reliability, reliability
from training.evaluation.measures.confusion import confusion
from training.evaluation.measures.curves import roc_area
from training.evaluation.measures.success import frequencies, weighted_mean
from training.evaluation.people import NO_SOURCE, agreement, group_votes, summary
from training.evaluation.ranked import ranking, thresholds
from training.evaluation.results import Bin, Evaluation, FileResult, Finding, Interval, Matching, Matrix, Part
from training.evaluation.sample import CRYSTAL, GROUPS, IMAGE_CLASSES, NO_CLASS, Sample
from training.evaluation.scores import Score, ScoreFile
from training.evaluation.warn import warnings

NO_PLATE = "no plate named"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: number of resamples and their seed, wanted crystal recalls, and whether only images of all files count."""

    bootstrap: int = 1000
    seed: int = 0
    recalls: tuple[float, ...] = (0.9, 0.95, 0.99)
    common_only: bool = False


@dataclass(frozen=True, slots=True)
class _Compared:
    """One score file with the labelled images that it has, and both as arrays."""

    file: ScoreFile
    matches: Matches
    images: tuple[LabelledImage, ...]
    scores: tuple[Score, ...]
    sample: Sample


def evaluate(labels: Labels, files: Sequence[ScoreFile], wish: Wish) -> tuple[Evaluation, tuple[Sample, ...]]:
    """The evaluation, and each file's sample for the plots. Raises ``UsageError`` where there is no image to compare."""
    matched = [match(labels.images, file.scores) for file in files]
    for file, found in zip(files, matched, strict=True):
        if not found.pairs:
            examples = f"{next(iter(labels.images))!r} there, {next(iter(file.scores))!r} here"
            raise UsageError(f"{file.path}: no image in common with {labels.path} ({examples})")
    common = set.intersection(*(set(found.pairs) for found in matched))
    if wish.common_only and not common:
        raise UsageError("no labelled image is in all of the score files")
    compared = [_compare(labels, f, m, common if wish.common_only else set(m.pairs)) for f, m in zip(files, matched, strict=True)]
    results = _results(compared, wish)
    people, held = agreement(list(labels.images.values())), summary(labels)
    evaluation = Evaluation(
        version=__version__,
        bootstrap=wish.bootstrap,
        seed=wish.seed,
        common_only=wish.common_only,
        warnings=warnings(held, results, same_images=_same_images(compared)),
        labels=held,
        agreement=people,
        files=results,
    )
    return evaluation, tuple(one.sample for one in compared)


def _compare(labels: Labels, file: ScoreFile, matches: Matches, wanted: set[str]) -> _Compared:
    names = [name for name in labels.images if name in wanted]
    images = tuple(labels.images[name] for name in names)
    scores = tuple(file.scores[matches.pairs[name]] for name in names)
    return _Compared(file, matches, images, scores, Sample.of(images, scores))


def _same_images(compared: Sequence[_Compared]) -> bool:
    return all(one.images == compared[0].images for one in compared)


def _results(compared: Sequence[_Compared], wish: Wish) -> tuple[FileResult, ...]:
    """Each file's result; with the same images everywhere, also how far it differs from the first file."""
    results: list[FileResult] = []
    first: Draws | None = None
    for one in compared:
        units = units_of([image.plate for image in one.images])
        draws = draw(one.sample, units.unit, wish.bootstrap, wish.seed)
        results.append(_result(one, wish, units, draws, first if _same_images(compared) else None))
        first = first or draws
    return tuple(results)


def _result(one: _Compared, wish: Wish, units: Units, draws: Draws, reference: Draws | None) -> FileResult:
    sample, statuses = one.sample, Counter(str(score.status) for score in one.scores)
    with_class = sample.take(sample.truth_class >= 0)
    return FileResult(
        name=one.file.name,
        path=one.file.path,
        models=one.file.models,
        matching=_matching(one),
        group_images=tuple(map(int, np.bincount(sample.truth, minlength=len(GROUPS)))),
        class_images=tuple(map(int, np.bincount(with_class.truth_class, minlength=len(IMAGE_CLASSES)))),
        empty_wells=int(sample.empty.sum()),
        statuses={str(status): statuses[status] for status in Status},
        resampled=units.words,
        resampled_by_plate=units.by_plate,
        figures=intervals(draws),
        difference=differences(draws, reference) if reference else None,
        group_matrix=_group_matrix(sample),
        class_matrix=_matrix(with_class.truth_class, with_class.outcome_class, IMAGE_CLASSES, IMAGE_CLASSES),
        plates=_parts(one, lambda image: image.plate or NO_PLATE, units.unit, Wish(bootstrap=0)),
        sources=_parts(one, lambda image: image.source or NO_SOURCE, units.unit, wish),
        ranking=ranking(sample, one.images),
        thresholds=thresholds(sample, wish.recalls),
        reliability_crystal=_bins(reliability(sample.crystal, sample.is_crystal)),
        reliability_scored=_bins(scored_reliability(sample)),
        program_agreement=program_agreement(group_votes(one.images), sample.outcome),
        missed_crystals=_findings(one, sample.is_crystal & (sample.outcome != CRYSTAL), rising=True),
        false_crystals=_findings(one, ~sample.is_crystal & (sample.outcome == CRYSTAL), rising=False),
    )


def _matching(one: _Compared) -> Matching:
    found = one.matches
    left_out = len(found.pairs) - len(one.images)
    return Matching(len(one.images), left_out, found.by_name, found.ambiguous, found.labels_left, found.scores_left, one.file.repeated)


def _group_matrix(sample: Sample) -> Matrix:
    """The four groups, and empty wells in a row of their own, because there ``no_drop`` is right."""
    rows = (*GROUPS, EMPTY_WELL)
    return _matrix(np.where(sample.empty, len(GROUPS), sample.truth), sample.outcome, rows, GROUPS)


def _matrix(truth: Ints, outcome: Ints, rows: tuple[str, ...], names: tuple[str, ...]) -> Matrix:
    columns = names + NO_CLASS
    counts = confusion(truth, outcome, len(rows), len(columns))
    return Matrix(rows, columns, tuple(tuple(map(int, row)) for row in counts))


def _parts(one: _Compared, key: Callable[[LabelledImage], str], unit: Ints, wish: Wish) -> tuple[Part, ...]:
    """The sample by plate or source, in the order of their names."""
    names, place = np.unique([key(image) for image in one.images], return_inverse=True)
    areas = part_areas(one.sample, place.astype(np.int64), unit, wish.bootstrap, wish.seed)
    return tuple(_part(str(name), one.sample.take(place == number), areas[number]) for number, name in enumerate(names))


def _part(name: str, sample: Sample, area: Interval) -> Part:
    groups = len(GROUPS)
    return Part(
        name=name,
        images=sample.truth.size,
        group_images=tuple(map(int, np.bincount(sample.truth, minlength=groups))),
        group_right=tuple(map(int, np.bincount(sample.truth[sample.right], minlength=groups))),
        weighted_mean=weighted_mean(group_rates(sample), frequencies(sample.truth, groups)),
        false_crystals=int(np.sum(~sample.is_crystal & (sample.outcome == CRYSTAL))),
        roc_area=roc_area(crystal_counts(sample)),
        roc_area_clear=area,
    )


def _bins(diagram: Reliability) -> tuple[Bin, ...]:
    edges = np.linspace(0.0, 1.0, diagram.count.size + 1)
    columns = zip(edges[:-1], edges[1:], diagram.count, diagram.probability, diagram.share, strict=True)
    return tuple(Bin(float(low), float(high), int(count), float(mean), float(share)) for low, high, count, mean, share in columns)


def _findings(one: _Compared, where: Bools, rising: bool) -> tuple[Finding, ...]:
    """The images at ``where``, in the order of their crystal probability."""
    chosen = [(one.images[place], one.scores[place]) for place in np.flatnonzero(where)]
    found = [_finding(image, one.matches.pairs[image.image], score) for image, score in chosen]
    return tuple(sorted(found, key=lambda finding: finding.crystal_probability, reverse=not rising))


def _finding(image: LabelledImage, scored_as: str, score: Score) -> Finding:
    return Finding(
        image=image.image,
        scored_as=scored_as,
        plate=image.plate,
        label=" / ".join(judgement.word for judgement in image.judgements),
        outcome=score.class_name or str(score.status),
        probability=score.probability,
        crystal_probability=score.crystal_probability,
    )
