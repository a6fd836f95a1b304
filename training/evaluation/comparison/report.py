"""``comparison.md`` and ``comparison.json``."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from training.evaluation.comparison.runs import ComparedRun, differing, grouped
from training.evaluation.comparison.tables import table_2, table_3

_TRAININGS = """\
Accuracies in percent on chops of the validation plates, those of training on a sample of the training chops without augmentation; MB are
2^20 bytes of weights in float32. With several seeds: mean ± standard deviation. Times are of the machine that trained and of what else it
did; the time of scoring a well is the processor's, not the clock's. The paper's rows are of other data and of graphics cards."""
_SCORES = """\
Share of the images of each group that the program put into it, in percent (P19); unsure counts as a miss, and finding no drop is right for
an empty well. Of one seed: in brackets what these wells tell of the rate, with 95 % (Wilson's interval, as if wells were independent); of
several: mean ± standard deviation over the seeds, all on the same wells. The paper's rows are of 16 plates of its authors' lab."""


def as_markdown(runs: Sequence[ComparedRun]) -> str:
    """Both tables, with what makes them no fair comparison; Table 3 only where a run was scored."""
    groups = grouped(runs)
    warnings = "".join(f"**{line}**\n\n" for line in differing(runs))
    text = f"{warnings}### Trainings (the paper's Table 2)\n\n{_TRAININGS}\n\n{table_2(groups)}\n"
    if any(one.scorings for one in runs):
        text += f"\n### Success rates on plates (the paper's Table 3)\n\n{_SCORES}\n\n{table_3(groups)}\n"
    return text


def as_json(runs: Sequence[ComparedRun]) -> bytes:
    """All that was compared, number by number; NaN is null."""
    return msgspec.json.format(msgspec.json.encode(list(runs)), indent=1)
