"""What a reader must know before believing the figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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


def _of_file(file: FileResult) -> Iterable[str]:
    matching = file.matching
    lines = {
        f"{file.statuses['failed']} images failed; they count as misses": file.statuses["failed"],
        f"{matching.not_common} images that other score files lack are in no figure (--common)": matching.not_common,
        f"{len(matching.labels_left)} labelled images have no score and are in no figure": len(matching.labels_left),
        f"{len(matching.ambiguous)} of them share their file name with several images": len(matching.ambiguous),
        f"{len(matching.by_name)} images were matched by file name though their folders differ": len(matching.by_name),
        f"{len(matching.repeated)} rows repeat an image; its last row counts": len(matching.repeated),
        f"scores of {len(file.models)} models in one file: {', '.join(file.models)}": len(file.models) > 1,
    }
    return [line for line, applies in lines.items() if applies]


def _of_labels(labels: LabelSummary) -> Iterable[str]:
    unsourced = labels.by_source.get(NO_SOURCE, 0)
    lines = {
        f"{unsourced} of {labels.images} labels do not say where they come from": unsourced,
        f"{len(labels.unlabelled)} rows of the labels file have no label": len(labels.unlabelled),
        f"{len(labels.scored_again)} times one person scored an image again; the last label counts": len(labels.scored_again),
        f"{len(labels.tied)} images have as many votes for one group as for another; the higher in priority counts": len(labels.tied),
    }
    return [line for line, applies in lines.items() if applies]
