"""The report's sections, in the order in which a reader needs them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from training.evaluation.figures import FIGURES
from training.evaluation.paper import TABLE_3
from training.evaluation.report.table import Cell, Plot, Rate, Section, Share, Table, transposed
from training.evaluation.results import FIRST_WELLS, WANTED_SHARE, Bin, Evaluation, FileResult, Finding, Matrix, Part
from training.evaluation.sample import GROUPS, IMAGE_CLASSES

_FIGURE = {figure.name: figure for figure in FIGURES}
SUCCESS = (*(f"success_{name}" for name in GROUPS), "weighted_mean", "balanced_mean")
CRYSTALS = (
    "roc_area",
    "roc_area_clear",
    "average_precision",
    "recall_at_5_percent_false",
    "crystal_precision",
    "false_crystals_clear",
)
CALIBRATION = ("calibration_error_crystal", "calibration_error_scored")
ELSEWHERE = "measured on other data"


def sections(evaluation: Evaluation, plots: tuple[tuple[Plot, ...], tuple[Plot, ...], tuple[Plot, ...]]) -> tuple[Section, ...]:
    """All of the report, but for its warnings and its head."""
    of_crystals, of_ranking, of_calibration = plots
    files = evaluation.files
    return (
        Section("Success rates", _success_text(evaluation), tables=(success_table(files), *_difference_table(files))),
        Section("Finding crystals", _CRYSTAL_TEXT, of_crystals, (crystal_table(files), threshold_table(files))),
        Section("Ranking", _RANKING_TEXT, of_ranking, (ranking_table(files), *map(_plate_ranking_table, _numbered(files)))),
        Section("Calibration", _CALIBRATION_TEXT, of_calibration, (_figure_table("Calibration", files, CALIBRATION), *_bin_tables(files))),
        Section("What became of what", _MATRIX_TEXT, tables=tuple(t for file in _numbered(files) for t in _matrix_tables(file))),
        Section("By plate and by source", tables=tuple(t for file in _numbered(files) for t in _part_tables(file))),
        Section("People", _PEOPLE_TEXT, tables=(_agreement_table(evaluation),)),
        Section("What was measured", _data_text(evaluation), tables=(_images_table(evaluation), _source_table(evaluation), _matching_table(files))),
        Section("Images to look at", tables=tuple(t for file in _numbered(files) for t in _finding_tables(file))),
        Section("Images that took no part", tables=_left_tables(evaluation)),
    )


# ---- success ----------------------------------------------------------------------------------------------------


def _success_text(evaluation: Evaluation) -> tuple[str, ...]:
    return (
        "The share of the images of each group that the program named so; unsure, no drop and failed are misses, except that no drop is right "
        "for an empty well, which belongs to clear. The weighted mean weighs each group by how often people named it (P19), and so "
        "depends on the mix of images; the plain mean does not.",
        _interval_text(evaluation),
        "The paper's rows are its Table 3 (P20): 16 plates with 2400 images of another lab. They show the order of size; a difference to them is no "
        "comparison of programs. The mean of its MARCO row does not follow from the weights that fit the other six.",
    )


def _interval_text(evaluation: Evaluation) -> str:
    if not evaluation.bootstrap:
        return "No intervals were asked for."
    units = dict.fromkeys(file.resampled for file in evaluation.files)
    return (
        f"In brackets: 95 % percentile intervals of {evaluation.bootstrap} bootstrap samples (seed {evaluation.seed}), drawn from "
        f"{'; '.join(units)}. An interval without width means that the figure was the same in all samples, not that it is certain."
    )


def _figure_rows(files: Sequence[FileResult], names: Sequence[str]) -> tuple[tuple[Cell, ...], ...]:
    return tuple((file.name, *(Rate.of(file.figures[name], _FIGURE[name].percent) for name in names)) for file in files)


def _heading(name: str) -> str:
    return _FIGURE[name].title + (" %" if _FIGURE[name].percent else "")


def _figure_table(title: str, files: Sequence[FileResult], names: Sequence[str]) -> Table:
    return Table(title, title, ("scores", *map(_heading, names)), _figure_rows(files, names))


def success_table(files: Sequence[FileResult]) -> Table:
    """The score files side by side as in the paper's Table 3, with the paper's own rows below."""
    paper = [(f"Paper: {row.network}", *(Rate(rate / 100) for rate in (*row.rates, row.weighted_mean, sum(row.rates) / 4))) for row in TABLE_3]
    columns = ("scores", "images", *map(_heading, SUCCESS))
    ours = [(name, sum(file.group_images), *rates) for file, (name, *rates) in zip(files, _figure_rows(files, SUCCESS), strict=True)]
    theirs = [(name, ELSEWHERE, *rates) for name, *rates in paper]
    return Table("Success", "Success rates by group", columns, (*ours, *theirs), reference=len(paper))


def _difference_table(files: Sequence[FileResult]) -> tuple[Table, ...]:
    """How far the other files differ from the first, on the same images."""
    names = (*SUCCESS, "roc_area", "roc_area_clear", "average_precision")
    rows = tuple(
        (file.name, *(Rate.of(file.difference[name], _FIGURE[name].percent, signed=True) for name in names)) for file in files if file.difference
    )
    title = f"Difference from {files[0].name}"
    note = "In percentage points where the column is in percent. Both on the same images and the same bootstrap samples: where the interval holds 0, neither is shown to be better."
    return (Table("Differences", title, ("scores", *map(_heading, names)), rows, note),) if rows else ()


# ---- crystals ---------------------------------------------------------------------------------------------------

_CRYSTAL_TEXT = (
    "Crystals against everything else, and against clear drops and empty wells only, by the crystal probability; images without a drop and "
    "failed ones have 0. The last two columns of the first table look at the score instead.",
)


def crystal_table(files: Sequence[FileResult]) -> Table:
    """What the crystal probability and the score are worth for crystals."""
    return _figure_table("Crystals", files, CRYSTALS)


def threshold_table(files: Sequence[FileResult]) -> Table:
    """Thresholds for wanted recalls."""
    rows = tuple(
        (
            file.name,
            Rate(found.wanted_recall),
            f"{found.threshold:.6f}",
            Rate(found.recall),
            Rate(found.precision),
            Rate(found.false_rate),
            Rate(found.false_rate_clear),
            found.called,
        )
        for file in files
        for found in file.thresholds
    )
    columns = ("scores", "wanted %", "threshold", "found %", "right %", "false, of others %", "false, of clear and empty %", "images called")
    note = (
        "To call an image a crystal where its crystal_probability is at least the threshold. This is not the threshold of `score`, "
        "which applies to one class of one window. Chosen on these images: on others the recall will differ."
    )
    return Table("Thresholds", "Threshold for a wanted share of the crystals", columns, rows, note)


# ---- ranking ----------------------------------------------------------------------------------------------------

_RANKING_TEXT = (
    "Wells in the order of their largest crystal probability, of equal ones those without a crystal first. An image without a plate or a "
    "well in the labels counts as a well of its own.",
)


def ranking_table(files: Sequence[FileResult]) -> Table:
    """The ranking over all plates."""
    columns = (
        "scores",
        f"plates with a crystal in the first {FIRST_WELLS} wells",
        f"wells with crystals among their plate's first {FIRST_WELLS}",
        f"wells to look at for {WANTED_SHARE:.0%} of the wells with crystals",
        "wells with crystals",
        "images without plate",
    )
    rows = []
    for file in files:
        r = file.ranking
        on_plates = sum(len(plate.crystal_ranks) for plate in r.plates)
        needed = None if r.wells_for_share is None else Share(r.wells_for_share, r.wells)
        early = Share(r.plates_with_early_crystal, len(r.plates)), Share(r.early_crystal_wells, on_plates)
        rows.append((file.name, *early, needed, r.crystal_wells, r.without_plate))
    return Table("Ranking", "Ranking", columns, tuple(rows), "Plates without any crystal are not counted.")


def _plate_ranking_table(numbered: tuple[str, FileResult]) -> Table:
    suffix, file = numbered
    columns = ("plate", "wells", "with crystals", "rank of the first crystal", f"wells to look at for {WANTED_SHARE:.0%}")
    rows = tuple((p.plate, p.wells, len(p.crystal_ranks), p.crystal_ranks[0], p.wells_for_share) for p in file.ranking.plates)
    return Table(f"Plate ranking{suffix}", f"Plates with crystals: {file.name}", columns, rows)


# ---- calibration ------------------------------------------------------------------------------------------------

_CALIBRATION_TEXT = (
    "Whether a probability p comes true in a share p of the images: of the crystal probability, whether it is a crystal; of the score's own "
    "probability, whether its group is right. ECE, the expected calibration error, is the mean distance, 0 at best. Both are the largest of "
    "many windows, so that they tend to be too high even where each window's is calibrated.",
)


def _bin_tables(files: Sequence[FileResult]) -> tuple[Table, ...]:
    kinds: tuple[tuple[str, str, Callable[[FileResult], Sequence[Bin]]], ...] = (
        ("Bins crystal", "Crystal probability", lambda file: file.reliability_crystal),
        ("Bins score", "Probability of the score", lambda file: file.reliability_scored),
    )
    columns = ("scores", "from", "to", "images", "mean probability %", "true %")
    return tuple(
        Table(
            name,
            title,
            columns,
            tuple((f.name, f"{b.low:.1f}", f"{b.high:.1f}", b.images, Rate(b.mean_probability), Rate(b.share_true)) for f in files for b in of(f)),
        )
        for name, title, of in kinds
    )


# ---- matrices ---------------------------------------------------------------------------------------------------

_MATRIX_TEXT = (
    "Rows: what people say. Columns: what the program says. Shaded by the share of the row. The paper's thirteenth class, rim, is one of "
    "chops; as a score it is clear (P2).",
)


def _matrix_tables(numbered: tuple[str, FileResult]) -> tuple[Table, ...]:
    suffix, file = numbered
    groups = _matrix_table(f"Groups{suffix}", f"Four groups: {file.name}", file.group_matrix)
    with_class = sum(file.class_images)
    if not with_class:
        return (groups,)
    note = f"{with_class} of {sum(file.group_images)} images, whose labels name a class."
    return groups, _matrix_table(f"Classes{suffix}", f"Twelve classes: {file.name}", file.class_matrix, note)


def _matrix_table(name: str, title: str, matrix: Matrix, note: str = "") -> Table:
    rows = tuple((_spaced(row), *counts, sum(counts)) for row, counts in zip(matrix.rows, matrix.counts, strict=True))
    return Table(name, title, ("people say", *map(_spaced, matrix.columns), "all"), rows, note, matrix=True)


def _spaced(name: str) -> str:
    return name.replace("_", " ")


# ---- parts ------------------------------------------------------------------------------------------------------


def _part_tables(numbered: tuple[str, FileResult]) -> tuple[Table, ...]:
    suffix, file = numbered
    return (
        _part_table(f"Plates{suffix}", f"By plate: {file.name}", "plate", file.plates),
        _part_table(f"Sources{suffix}", f"By source of the label: {file.name}", "source", file.sources),
    )


def _part_table(name: str, title: str, key: str, parts: Sequence[Part]) -> Table:
    columns = (key, "images", *GROUPS, "weighted mean %", "false crystals", "ROC area, crystals against all")
    rows = tuple(
        (
            part.name,
            part.images,
            *(Share(right, n) for right, n in zip(part.group_right, part.group_images, strict=True)),
            Rate(part.weighted_mean),
            part.false_crystals,
            Rate(part.roc_area, percent=False),
        )
        for part in parts
    )
    return Table(name, title, columns, rows, "Of each group: how many were named right, of how many.")


# ---- people -----------------------------------------------------------------------------------------------------

_PEOPLE_TEXT = (
    "How often two people who look at one image say the same (P21). Of a group: when one person names it, how often another one does too. "
    "For a program: how often it says what one person says, on the images that several people saw.",
)


def _agreement_table(evaluation: Evaluation) -> Table:
    people = evaluation.agreement
    rows: list[tuple[Cell, ...]] = [
        ("two people, the four groups", Rate(people.groups), people.images),
        *((f"two people, {name}", Rate(rate), people.images) for name, rate in people.by_group.items()),
        ("two people, the twelve classes", Rate(people.classes), people.class_images),
        *((f"{file.name} and one person, the four groups", Rate(file.program_agreement), None) for file in evaluation.files),
        ("Paper: two people, seven to ten classes", Rate(0.695), ELSEWHERE),
        ("Paper: two people, single crystals", Rate(0.847), ELSEWHERE),
        ("Paper: two people, empty drops", Rate(0.916), ELSEWHERE),
    ]
    note = "" if people.images else "No image in the labels file was scored by more than one person."
    return Table("People", "Agreement", ("who", "agree %", "images seen by several"), tuple(rows), note, reference=3)


# ---- data -------------------------------------------------------------------------------------------------------


def _data_text(evaluation: Evaluation) -> tuple[str, ...]:
    labels = evaluation.labels
    words = "the group of that name" if labels.words == "groups" else "the class of that name"
    return (
        f"{labels.images} labelled images of {labels.plates} known plates in {labels.path}, {labels.several_people} of them scored by several "
        f"people. There the words precipitate, other and clear were read as {words}.",
        "Of several people the majority counts; of groups with equally many votes the one of higher priority (P2).",
    )


def _images_table(evaluation: Evaluation) -> Table:
    """How many images of each group and class: in the labels, and compared with each score file."""
    labels, files = evaluation.labels, evaluation.files
    names = ("all", *GROUPS, "empty wells, in clear", *(f"class {_spaced(name)}" for name in IMAGE_CLASSES))
    counts = [(labels.images, *labels.by_group.values(), labels.empty_wells, *labels.by_class.values())]
    counts += [(sum(f.group_images), *f.group_images, f.empty_wells, *f.class_images) for f in files]
    return Table("Images", "Images", ("people say", "labelled", *(file.name for file in files)), transposed(names, counts))


def _source_table(evaluation: Evaluation) -> Table:
    return Table("Label sources", "Where the labels come from", ("source", "images"), tuple(evaluation.labels.by_source.items()))


def _matching_table(files: Sequence[FileResult]) -> Table:
    names = ("file", "models", "images compared", "scored", "unsure", "no drop", "failed")
    names += ("not in all score files", "matched by file name only", "repeated rows", "labels without a score", "scores without a label")
    columns: list[tuple[Cell, ...]] = []
    for file in files:
        m = file.matching
        found: tuple[Cell, ...] = (file.path, ", ".join(file.models), m.compared, *(file.statuses[s] for s in _STATUSES))
        columns.append((*found, m.not_common, len(m.by_name), len(m.repeated), len(m.labels_left), len(m.scores_left)))
    return Table("Score files", "Score files", ("", *(file.name for file in files)), transposed(names, columns))


_STATUSES = ("scored", "unsure", "no_drop", "failed")


# ---- lists ------------------------------------------------------------------------------------------------------


def _finding_tables(numbered: tuple[str, FileResult]) -> tuple[Table, ...]:
    suffix, file = numbered
    return (
        _finding_table(f"Missed{suffix}", f"Crystals not scored as such: {file.name}", file.missed_crystals),
        _finding_table(f"False{suffix}", f"Falsely scored as crystals: {file.name}", file.false_crystals),
    )


def _finding_table(name: str, title: str, findings: Sequence[Finding]) -> Table:
    columns = ("image", "plate", "people say", "the program says", "with probability %", "crystal probability %")
    rows = tuple(
        (f.image, f.plate, f.label, f.outcome, Rate(math.nan if f.probability is None else f.probability), Rate(f.crystal_probability))
        for f in findings
    )
    return Table(name, f"{title} ({len(findings)})", columns, rows)


def _left_tables(evaluation: Evaluation) -> tuple[Table, ...]:
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
    return (Table("Left out", f"Left out, or compared with a doubt ({len(rows)})", ("image", "in", "why"), tuple(rows)),)


def _numbered(files: Sequence[FileResult]) -> list[tuple[str, FileResult]]:
    """Each file with what keeps the names of its tables apart."""
    return [("" if len(files) == 1 else f" {number}", file) for number, file in enumerate(files, 1)]
