"""What an evaluation found, as plain data: ``report.json`` is this, field by field."""

from __future__ import annotations

from dataclasses import dataclass

#: Wells that a person looks at first, and the share of crystals that is to be seen, in the ranking (issue 3).
FIRST_WELLS = 10
WANTED_SHARE = 0.95
#: A class with fewer images is warned of.
FEW = 20


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % bootstrap interval; NaN where it does not exist (null in JSON)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Matrix:
    """Counts: people's word by row, what came out by column."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """The images of one plate or one source: for each group how many there are and how many were right; images of other groups that
    were scored as crystals; the ROC area of the crystals against the rest of the part, and against all clear drops and empty wells of the
    whole sample, which exists for a source of crystals alone too. The latter has an interval for sources, not for plates."""

    name: str
    images: int
    group_images: tuple[int, ...]
    group_right: tuple[int, ...]
    weighted_mean: float
    false_crystals: int
    roc_area: float
    roc_area_clear: Interval


@dataclass(frozen=True, slots=True)
class PlateRanking:
    """One plate that has a crystal: how many wells it has, the ranks of those with crystals, and how many to look at for 95 % of them."""

    plate: str
    wells: int
    crystal_ranks: tuple[int, ...]
    wells_for_share: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """``plates`` that have a crystal; over all wells: how many there are, with crystals, and must be looked at to see 95 % of those (None:
    there is no crystal). ``without_plate`` images belong to no plate and count as a well each, in these totals only."""

    plates: tuple[PlateRanking, ...]
    plates_with_early_crystal: int
    early_crystal_wells: int
    wells: int
    crystal_wells: int
    wells_for_share: int | None
    without_plate: int


@dataclass(frozen=True, slots=True)
class Threshold:
    """To call an image a crystal where its crystal probability is at least ``threshold``: what is found and what is falsely called."""

    wanted_recall: float
    threshold: float
    recall: float
    precision: float
    false_rate: float
    false_rate_clear: float
    called: int


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of a reliability diagram."""

    low: float
    high: float
    images: int
    mean_probability: float
    share_true: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One image to look at, with people's word and the program's; ``scored_as`` is its name in the score file."""

    image: str
    scored_as: str
    plate: str
    label: str
    outcome: str
    probability: float | None
    crystal_probability: float


@dataclass(frozen=True, slots=True)
class Matching:
    """What was compared with what. ``compared`` images, beside them ``not_common`` ones that another score file lacks and that were not
    asked for; ``by_name``: pairs whose file names are equal and folders differ."""

    compared: int
    not_common: int
    by_name: tuple[tuple[str, str], ...]
    ambiguous: tuple[str, ...]
    labels_left: tuple[str, ...]
    scores_left: tuple[str, ...]
    repeated: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileResult:
    """One score file against the labels. ``difference`` from the first file, where both have the same images; ``class_images`` counts the
    images whose label names a class, not only a group."""

    name: str
    path: str
    models: tuple[str, ...]
    matching: Matching
    group_images: tuple[int, ...]
    class_images: tuple[int, ...]
    empty_wells: int
    statuses: dict[str, int]
    resampled: str
    resampled_by_plate: bool
    figures: dict[str, Interval]
    difference: dict[str, Interval] | None
    group_matrix: Matrix
    class_matrix: Matrix
    plates: tuple[Part, ...]
    sources: tuple[Part, ...]
    ranking: Ranking
    thresholds: tuple[Threshold, ...]
    reliability_crystal: tuple[Bin, ...]
    reliability_scored: tuple[Bin, ...]
    program_agreement: float
    missed_crystals: tuple[Finding, ...]
    false_crystals: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far people agree (P21); ``classes`` over images where everybody named one of the twelve classes."""

    images: int
    people: int
    groups: float
    classes: float
    class_images: int
    by_group: dict[str, float]


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """The labels file: what is in it and how it was read. ``tied``: images whose groups had equally many votes."""

    path: str
    words: str
    images: int
    by_group: dict[str, int]
    by_class: dict[str, int]
    empty_wells: int
    by_source: dict[str, int]
    plates: int
    unlabelled: tuple[str, ...]
    scored_again: tuple[str, ...]
    several_people: int
    tied: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All of it. ``common_only``: figures are over the images that all score files have."""

    version: str
    bootstrap: int
    seed: int
    common_only: bool
    warnings: tuple[str, ...]
    labels: LabelSummary
    agreement: Agreement
    files: tuple[FileResult, ...]
