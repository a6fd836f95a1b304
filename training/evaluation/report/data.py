"""What was measured on, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence

from crystal_search.archives import Status
from training.evaluation.report.columns import spaced
from training.evaluation.report.table import Cell, Section, Table, transposed
from training.evaluation.results import Evaluation, FileResult
from training.evaluation.sample import GROUPS, IMAGE_CLASSES


def data_section(evaluation: Evaluation) -> Section:
    """Images, sources, files."""
    tables = (_images_table(evaluation), _source_table(evaluation), _matching_table(evaluation.files))
    return Section("What was measured", _data_text(evaluation), tables=tables)


def left_section(evaluation: Evaluation) -> Section:
    """Images that took no part."""
    return Section("Images that took no part", tables=(_left_table(evaluation),))


def _data_text(evaluation: Evaluation) -> tuple[str, ...]:
    labels = evaluation.labels
    words = "the group of that name" if labels.words == "groups" else "the class of that name"
    return (
        f"{labels.images} labelled images of {labels.plates} known plates in {labels.path}, {labels.several_people} of them scored by "
        f"several people. There the words precipitate, other and clear were read as {words}.",
        "Of several people the majority counts; of groups with equally many votes the one of higher priority (P2).",
    )


def _images_table(evaluation: Evaluation) -> Table:
    """How many images of each group and class: in the labels, and compared with each score file."""
    labels, files = evaluation.labels, evaluation.files
    names = ("all", *GROUPS, "empty wells, in clear", *(f"class {spaced(name)}" for name in IMAGE_CLASSES))
    counts = [(labels.images, *labels.by_group.values(), labels.empty_wells, *labels.by_class.values())]
    counts += [(sum(f.group_images), *f.group_images, f.empty_wells, *f.class_images) for f in files]
    return Table("Images", "Images", ("people say", "labelled", *(file.name for file in files)), transposed(names, counts))


def _source_table(evaluation: Evaluation) -> Table:
    return Table("Label sources", "Where the labels come from", ("source", "images"), tuple(evaluation.labels.by_source.items()))


def _matching_table(files: Sequence[FileResult]) -> Table:
    names: tuple[str, ...] = (
        "file",
        "models",
        "images compared",
        *map(spaced, Status),
        "not in all score files",
        "matched by file name only",
    )
    names += ("repeated rows", "labels without a score", "scores without a label")
    columns: list[tuple[Cell, ...]] = []
    for file in files:
        m = file.matching
        found: tuple[Cell, ...] = (file.path, ", ".join(file.models), m.compared, *(file.statuses[s] for s in Status))
        columns.append((*found, m.not_common, len(m.by_name), len(m.repeated), len(m.labels_left), len(m.scores_left)))
    return Table("Score files", "Score files", ("", *(file.name for file in files)), transposed(names, columns))


def _left_table(evaluation: Evaluation) -> Table:
    """Every image that is in no figure, and every one whose part in them is unsure."""
    labels = evaluation.labels
    rows: list[tuple[Cell, ...]] = []
    for file in evaluation.files:
        m, ambiguous = file.matching, set(file.matching.ambiguous)
        rows += [(name, file.name, "several images have this name" if name in ambiguous else "no score") for name in m.labels_left]
        rows += [(name, file.name, "no label") for name in m.scores_left]
        rows += [(name, file.name, f"compared; matched with {other} by its name") for name, other in m.by_name]
        rows += [(name, file.name, "compared; has several rows, the last one counts") for name in m.repeated]
    rows += [(name, labels.path, "no label in its row") for name in labels.unlabelled]
    rows += [(name, labels.path, "compared; one person scored it again, the last label counts") for name in labels.scored_again]
    rows += [(name, labels.path, "compared; as many votes for one group as for another") for name in labels.tied]
    return Table("Left out", f"Left out, or compared with a doubt ({len(rows)})", ("image", "in", "why"), tuple(rows))
