"""Choosing a threshold from whole wells: the rule of P17 at each threshold, success rates by hand."""

from __future__ import annotations

import numpy as np
import pytest

from crystal_search.classes import NAMES, Group
from training.threshold import Row, Well, choose, group_of, table


def well(group: Group, **best: float) -> Well:
    probabilities = np.zeros(len(NAMES))
    for name, value in best.items():
        probabilities[NAMES.index(name)] = value
    return Well(group, probabilities)


def test_priority_beats_probability_and_the_threshold_is_strict() -> None:
    drop = well(Group.CRYSTAL, crystals_overnucleated=0.6, clear=0.99)
    assert group_of(drop, 0.5) is Group.CRYSTAL
    assert group_of(drop, 0.6) is Group.CLEAR
    assert group_of(drop, 0.99) is None
    assert group_of(Well(Group.CLEAR, None), 0.5) is Group.CLEAR


WELLS = [
    well(Group.CRYSTAL, crystals_harvestable=0.7, clear=0.9),
    well(Group.CRYSTAL, crystals_bad_form=0.5, clear=0.9),
    well(Group.PRECIPITATE, precipitate_bad=0.8),
    well(Group.OTHER, phase_separation=0.8),
    well(Group.CLEAR, clear=0.95, crystals_overnucleated=0.55),
    Well(Group.CLEAR, None),
]


def test_success_rates_by_hand() -> None:
    low, middle, high = table(WELLS, (0.45, 0.6, 0.85))
    assert low.success == {Group.CRYSTAL: 1.0, Group.PRECIPITATE: 1.0, Group.OTHER: 1.0, Group.CLEAR: 0.5}
    assert low.false_crystals == 0.5
    assert middle.success == {Group.CRYSTAL: 0.5, Group.PRECIPITATE: 1.0, Group.OTHER: 1.0, Group.CLEAR: 1.0}
    assert middle.false_crystals == 0.0
    assert high.success == {Group.CRYSTAL: 0.0, Group.PRECIPITATE: 0.0, Group.OTHER: 0.0, Group.CLEAR: 1.0}
    assert middle.mean == pytest.approx(0.875)


def test_false_crystals_count_more_than_the_mean() -> None:
    low, middle, high = table(WELLS, (0.45, 0.6, 0.85))
    assert choose([low, middle, high]) is middle
    assert choose([low]) is low


def test_a_group_without_wells_is_an_error() -> None:
    with pytest.raises(ValueError, match="no well of group other"):
        table([w for w in WELLS if w.group is not Group.OTHER])


def test_rows_say_what_they_are() -> None:
    assert Row(0.5, dict.fromkeys(Group, 1.0), 0.0).mean == 1.0
