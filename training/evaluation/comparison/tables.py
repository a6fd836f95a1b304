"""Tables 2 and 3 as Markdown, the paper's rows below."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from training.evaluation.comparison.paper import TABLE_2
from training.evaluation.comparison.runs import ComparedRun, Group
from training.evaluation.paper import TABLE_3
from training.evaluation.sample import GROUPS

ABSENT = "-"
_TABLE_2 = (
    "network", "seeds", "training accuracy", "validation accuracy", "top-5", "loss", "parameters", "MB", "weight layers",
    "epochs", "images seen", "training", "an epoch", "scoring a well",
)  # fmt: skip


def spread(values: Iterable[float | None], scale: float = 1.0, digits: int = 1) -> str:
    """The mean, with the standard deviation where there are several values; ``-`` where there is none.

    >>> spread([0.5, 0.7], 100), spread([0.5], 100), spread([None])
    ('60.0 ± 14.1', '50.0', '-')
    """
    numbers = [scale * value for value in values if value is not None and math.isfinite(value)]
    if not numbers:
        return ABSENT
    mean = f"{statistics.fmean(numbers):.{digits}f}"
    return f"{mean} ± {statistics.stdev(numbers):.{digits}f}" if len(numbers) > 1 else mean


def table_2(groups: Sequence[Group]) -> str:
    """What the trainings came to: accuracies in percent on chops, times in processor-independent words."""
    rows = [_training(group) for group in groups]
    for paper in TABLE_2:
        numbers = (paper.accuracy, paper.top5, paper.loss, None, paper.megabytes, paper.layers, paper.epochs)
        cells = [ABSENT if number is None else f"{number:g}" for number in numbers]
        rows.append([f"*paper: {paper.network}*", ABSENT, ABSENT, *cells, ABSENT, ABSENT, ABSENT, ABSENT])
    return markdown(_TABLE_2, rows)


def _training(group: Group) -> list[str]:
    def over(of: Callable[[ComparedRun], float | None], scale: float = 1.0, digits: int = 1) -> str:
        return spread((of(one) for one in group.runs), scale, digits)

    run = group.runs[0].run
    return [
        group.title,
        str(len(group.runs)),
        over(lambda one: one.run.training_accuracy, 100),
        over(lambda one: one.run.accuracy, 100),
        over(lambda one: one.run.top5, 100),
        over(lambda one: one.run.loss, 1, 2),
        f"{run.parameters:,}".replace(",", " "),
        f"{run.megabytes:.1f}",
        str(run.weight_layers),
        str(run.epochs),
        f"{run.images_seen:,}".replace(",", " "),
        f"{over(lambda one: one.run.seconds, 1 / 60)} min",
        f"{over(lambda one: one.run.seconds / one.run.epochs)} s",
        f"{over(lambda one: one.seconds_an_image, 1, 2)} s",
    ]


def rate(values: Sequence[float], images: int) -> str:
    """Success rates, 0 to 1, of runs that differ by their seed: of one run with the interval in which its true rate lies with 95 %
    (Wilson's, of ``images`` that are right or wrong), of several as :func:`spread`.

    >>> rate([0.5], 10), rate([0.5, 0.7], 10), rate([float("nan")], 0)
    ('50.0 (24 to 76)', '60.0 ± 14.1', '-')
    """
    from scipy.stats import binomtest  # comes with the training extra

    if len(values) > 1 or not images:
        return spread(values, 100)
    interval = binomtest(round(values[0] * images), images).proportion_ci(method="wilson")
    return f"{spread(values, 100)} ({100 * interval.low:.0f} to {100 * interval.high:.0f})"


def table_3(groups: Sequence[Group]) -> str:
    """Success rates of the four groups and their weighted mean, in percent, by network and threshold; above them how many images there
    are of each group, where all were scored on the same."""
    rows = [_scored(group, threshold) for group in groups for threshold in _thresholds(group)]
    counts = {scoring.counts for group in groups for one in group.runs for scoring in one.scorings}
    if len(counts) == 1:
        (same,) = counts
        rows.insert(0, ["*images of each group*", ABSENT, str(sum(same)), *map(str, same), ABSENT])
    for paper in TABLE_3:
        rows.append([f"*paper: {paper.network}*", ABSENT, "2400 in all", *(f"{rate:.1f}" for rate in (*paper.rates, paper.weighted_mean))])
    return markdown(("network", "threshold", "images", *GROUPS, "weighted mean"), rows)


def _thresholds(group: Group) -> list[float]:
    return sorted({scoring.threshold for one in group.runs for scoring in one.scorings}, reverse=True)


def _scored(group: Group, threshold: float) -> list[str]:
    found = [scoring for one in group.runs for scoring in one.scorings if scoring.threshold == threshold]
    first = found[0]
    rates = [rate([scoring.rates[place] for scoring in found], first.counts[place]) for place in range(len(GROUPS))]
    return [group.title, f"{threshold:g}", str(first.images), *rates, rate([scoring.weighted for scoring in found], first.images)]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    >>> print(markdown(["a", "b"], [["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = [head, *rows]
    return "\n".join(f"| {' | '.join(cells)} |" + ("\n" + "|---" * len(head) + "|" if cells is head else "") for cells in lines)
