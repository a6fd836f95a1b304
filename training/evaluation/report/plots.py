"""The plots, each a PNG. Lines differ in colour and stroke, so that colour-blind readers and gray prints tell them apart."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation.figures import crystal_counts, crystal_counts_against_clear, scored_reliability
from training.evaluation.measures.calibration import Reliability, reliability
from training.evaluation.measures.curves import roc_curve
from training.evaluation.report.table import Plot, printable
from training.evaluation.sample import Sample

#: Okabe and Ito's colours.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STROKES = ("-", "--", "-.", ":")
_GUIDE: dict[str, Any] = {"color": "#999999", "linewidth": 0.8, "linestyle": ":"}

Named = Sequence[tuple[str, Sample]]


@dataclass(frozen=True, slots=True)
class Plots:
    """The plots by the section that they belong to."""

    crystals: tuple[Plot, ...]
    ranking: tuple[Plot, ...]
    calibration: tuple[Plot, ...]


def all_plots(named: Named) -> Plots:
    """The plots of the samples by the names of their score files; those that no sample defines are left out."""
    curves = any(crystal_counts(sample) for _, sample in named)
    return Plots(
        crystals=(_roc(named), _precision_recall(named)) if curves else (),
        ranking=(_looking(named),) if curves else (),
        calibration=(
            _reliability("Crystal probability", named, lambda s: reliability(s.crystal, s.is_crystal)),
            _reliability("Probability of the score", named, scored_reliability),
        ),
    )


def _plot(title: str, x: str, y: str, paint: Callable[[Axes], None], legend: str) -> Plot:
    figure = Figure(figsize=(5.2, 4.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.grid(alpha=0.25)
    paint(axes)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc=legend, fontsize=8, framealpha=0.85)
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return Plot(title, png.getvalue())


def _style(number: int) -> dict[str, Any]:
    return {"color": _COLOURS[number % len(_COLOURS)], "linestyle": _STROKES[number % len(_STROKES)], "linewidth": 1.7}


def _label(name: str, beside: str = "") -> str:
    text = printable(name)
    return (text if len(text) <= 40 else f"…{text[-39:]}").replace("$", r"\$") + beside


def _roc(named: Named) -> Plot:
    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], **_GUIDE)
        for number, (name, sample) in enumerate(named):
            for counts, width, against in (
                (crystal_counts(sample), 1.7, "all others"),
                (crystal_counts_against_clear(sample), 0.9, "clear, empty"),
            ):
                if counts:
                    axes.plot(*roc_curve(counts), **{**_style(number), "linewidth": width}, label=_label(name, f", against {against}"))

    return _plot("Crystals: ROC", "false crystals (share of the others)", "crystals found", paint, "lower right")


def _precision_recall(named: Named) -> Plot:
    def paint(axes: Axes) -> None:
        for number, (name, sample) in enumerate(named):
            if counts := crystal_counts(sample):
                axes.step(
                    np.append(0.0, counts.recall), np.append(1.0, counts.precision), where="pre", **_style(number), label=_label(name)
                )
                axes.axhline(float(sample.is_crystal.mean()), **_GUIDE)

    return _plot("Crystals: precision and recall", "crystals found", "right among those called crystals", paint, "lower left")


def _looking(named: Named) -> Plot:
    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], **_GUIDE)
        for number, (name, sample) in enumerate(named):
            if counts := crystal_counts(sample):
                looked = (counts.found + counts.false) / sample.truth.size
                axes.plot(np.append(0.0, looked), np.append(0.0, counts.recall), **_style(number), label=_label(name))

    title = "Looking in the order of the crystal probability"
    return _plot(title, "share of the images looked at", "crystals seen", paint, "lower right")


def _reliability(title: str, named: Named, of: Callable[[Sample], Reliability]) -> Plot:
    """Points at each bin's mean; their area grows with the images in the bin."""

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], **_GUIDE)
        for number, (name, sample) in enumerate(named):
            diagram = of(sample)
            if not diagram.count.any():
                continue
            kept = diagram.count > 0
            style = _style(number)
            axes.plot(diagram.probability[kept], diagram.share[kept], **style, label=_label(name))
            sizes = 12 + 250 * diagram.count[kept] / diagram.count.sum()
            axes.scatter(diagram.probability[kept], diagram.share[kept], s=sizes, color=style["color"], alpha=0.6)

    return _plot(f"{title}: is it true?", "probability (mean of the bin)", "share that is true", paint, "upper left")
