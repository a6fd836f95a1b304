"""The plot of a plan: days to finish against machines, a line for each speed. Needs the extra ``training``."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from crystal_search.planning.capacity import MONTH_DAYS, YEAR_DAYS, Plan, days_to_finish
from crystal_search.planning.tables import days_text, number_text

#: Seconds a well to compare with: the paper's SqueezeNet and its slowest network follow from 216 machines in a month and 58 at the full
#: rate (P31); the other two show what a faster program is worth.
REFERENCES: tuple[tuple[float, str], ...] = ((300.0, "paper, slowest network"), (35.7, "paper, SqueezeNet"), (5.0, ""), (1.0, ""))
#: A reference this near to the plan's own speed would lie on its line.
_SAME = 1.05
# Okabe and Ito's colours, told apart by stroke too, for gray prints.
_OWN: dict[str, Any] = {"color": "#0072B2", "linestyle": "-", "linewidth": 2.6, "zorder": 3}
_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#E69F00", "linestyle": ":", "linewidth": 1.7},
    {"color": "#009E73", "linestyle": "--", "linewidth": 1.5},
    {"color": "#56B4E9", "linestyle": "-.", "linewidth": 1.5},
    {"color": "#CC79A7", "linestyle": (0, (6, 1, 1, 1, 1, 1)), "linewidth": 1.5},
)


def draw(plan: Plan) -> Figure:
    """Both axes are logarithmic, so each speed is a straight line; the points are the plan's own numbers of machines."""
    figure = Figure(figsize=(7.6, 5.4), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    most = max(1000, 2 * max(finish.machines for finish in plan.finish))
    own = plan.seconds_per_image
    lines = [(own, "this plan", _OWN)]
    lines += [
        (seconds, name, style) for (seconds, name), style in zip(REFERENCES, _STYLES, strict=True) if not 1 / _SAME < seconds / own < _SAME
    ]
    for seconds, name, style in sorted(lines, key=lambda line: line[0], reverse=True):  # the legend in the order of the lines
        days = [days_to_finish(plan.images, seconds, machines) for machines in (1, most)]
        axes.plot([1, most], days, label=f"{seconds:.3g} s an image" + (f" ({name})" if name else ""), **style)
    axes.plot([finish.machines for finish in plan.finish], [finish.days for finish in plan.finish], "o", color=_OWN["color"], zorder=4)
    for finish in plan.finish:
        axes.annotate(days_text(finish.days), (finish.machines, finish.days), xytext=(5, 5), textcoords="offset points", fontsize=9)
    for guide, name in ((1, "a day"), (MONTH_DAYS, "a month"), (YEAR_DAYS, "a year")):
        axes.axhline(guide, color="#999999", linewidth=0.8, zorder=0)
        axes.text(1.01, guide, name, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color="#666666")
    axes.set(
        title=f"Days to score {number_text(plan.images)} images",
        xlabel="machines (each scores one image at a time, day and night)",
        ylabel="days",
        xscale="log",
        yscale="log",
        xlim=(0.9, most),
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value < 1 else number_text(value)))
    axes.grid(alpha=0.25)
    axes.legend(loc="upper right", fontsize=8, framealpha=0.9)
    return figure


def png(plan: Plan) -> bytes:
    """The plot as a PNG of 912 x 648 px."""
    written = io.BytesIO()
    draw(plan).savefig(written, format="png", metadata={"Software": None})
    return written.getvalue()
