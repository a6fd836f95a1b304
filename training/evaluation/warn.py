"""What a reader must know before believing the figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from crystal_search.archives import Status
from training.evaluation.intervals import FEWEST_PLATES
from training.evaluation.people import NO_SOURCE
from training.evaluation.results import FEW, FileResult, LabelSummary
from training.evaluation.sample import GROUPS, IMAGE_CLASSES


def warnings(labels: LabelSummary, files: Sequence[FileResult], same_images: bool) -> tuple[str, ...]:
    """One line each, the gravest first; those of one file start with its name where there are several."""
    several = len(files) > 1
    of_files = (f"{file.name}: {line}" if several else line for file in files for line in _of_file(file))
    alike = (line for file in files for line in _of_sample(file)) if same_images else ()
    apart = () if same_images else (f"{file.name}: {line}" for file in files for line in _of_sample(file))
    different = "the score files do not have the same labelled images: their figures can not be compared (--common uses shared images only)"
    return tuple(dict.fromkeys((*alike, *apart, *(() if same_images else (different,)), *of_files, *_of_labels(labels))))


def _of_sample(file: FileResult) -> Iterable[str]:
    """What holds for every file with the same images."""
    groups = [f"{name} ({n})" for name, n in zip(GROUPS, file.group_images, strict=True) if n < FEW]
    if groups:
        yield f"fewer than {FEW} images of {', '.join(groups)}: figures for these say little"
    classes = [f"{name} ({n})" for name, n in zip(IMAGE_CLASSES, file.class_images, strict=True) if n < FEW]
    if classes and sum(file.class_images):
        yield f"fewer than {FEW} images of the classes {', '.join(classes)}"
    if not file.resampled_by_plate:
        yield (
            f"fewer than {FEWEST_PLATES} plates are known, so intervals come from drawing images: images of one plate "
            "resemble each other, and the intervals are too narrow"
        )
    largest = max(file.plates, key=lambda plate: plate.images)
    if file.resampled_by_plate and 2 * largest.images > sum(file.group_images):
        yield (
            f"{largest.images} of {sum(file.group_images)} images are of one plate, {largest.name}: the figures are largely that plate's, "
            "and the intervals show what happens without it"
        )


def _of_file(file: FileResult) -> Iterable[str]:
    matching = file.matching
    if len(file.models) > 1:
        yield f"scores of {len(file.models)} models in one file: {', '.join(file.models)}"
    yield from _counted(
        {
            "images that failed and count as misses": file.statuses[Status.FAILED],
            "images left out because another score file lacks them (--common)": matching.not_common,
            "labelled images without a score, which are in no figure": len(matching.labels_left),
            "labelled images without a score because several scores have their file name": len(matching.ambiguous),
            "images matched by file name though their folders differ": len(matching.by_name),
            "rows that repeat an image, whose last row counts": len(matching.repeated),
        }
    )


def _of_labels(labels: LabelSummary) -> Iterable[str]:
    return _counted(
        {
            f"labels, of {labels.images}, that do not say where they come from": labels.by_source.get(NO_SOURCE, 0),
            "rows of the labels file without a label": len(labels.unlabelled),
            "labels replaced because the same person scored the image again": len(labels.scored_again),
            "images with as many votes for one group as for another, of which the higher in priority counts": len(labels.tied),
        }
    )


def _counted(lines: Mapping[str, int]) -> Iterable[str]:
    return (f"{what}: {count}" for what, count in lines.items() if count)
