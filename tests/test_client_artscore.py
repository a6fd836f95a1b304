"""The rule that makes the ARTscore (P16, P17), on tables written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from client_app.artscore import Artscore, artscore, best_chops, class_probabilities
from client_app.classify import Windows, calibrated
from client_app.model import CalibrationSpec
from crystal_search.classes import CLASSES, NAMES
from crystal_search.geometry import Box


def table(*windows: dict[str, float]) -> np.ndarray:
    """Windows with the named probabilities; the others share what is left, and none of them wins."""
    rows = []
    for window in windows:
        rest = (1.0 - sum(window.values())) / (len(NAMES) - len(window))
        rows.append([window.get(name, rest) for name in NAMES])
    return np.array(rows)


def outcome(score: Artscore) -> tuple[str | None, float | None]:
    return score.class_name, score.probability


def test_priority_beats_probability() -> None:
    """A crystal at 0.86 scores the drop although precipitate is at 0.99 elsewhere."""
    score = artscore(table({"precipitate": 0.99}, {"crystals_overnucleated": 0.86}, {"clear": 0.97}), 0.85)
    assert outcome(score) == ("crystals_overnucleated", 0.86)
    assert score.window == 1


def test_priority_within_a_group_is_the_tables() -> None:
    score = artscore(table({"crystals_bad_form": 0.99}, {"crystals_harvestable": 0.86}), 0.85)
    assert score.class_name == "crystals_harvestable"


def test_precipitate_comes_before_other_and_other_before_clear() -> None:
    assert artscore(table({"null_experiment": 0.99}, {"precipitate_good": 0.9}), 0.85).class_name == "precipitate_good"
    assert artscore(table({"clear": 0.99}, {"phase_separation": 0.9}), 0.85).class_name == "phase_separation"


def test_the_best_chop_of_the_winning_class_gives_the_probability() -> None:
    score = artscore(table({"precipitate": 0.90}, {"precipitate": 0.95}, {"precipitate": 0.91}), 0.85)
    assert outcome(score) == ("precipitate", 0.95)
    assert score.window == 1


def test_the_threshold_itself_is_not_enough() -> None:
    assert outcome(artscore(table({"precipitate": 0.85}), 0.85)) == (None, None)
    assert outcome(artscore(table({"precipitate": np.nextafter(0.85, 1.0)}), 0.85))[0] == "precipitate"


def test_the_crystal_friendly_threshold_of_the_paper() -> None:
    windows = table({"crystals_harvestable": 0.83}, {"clear": 0.99})
    assert artscore(windows, 0.85).class_name == "clear"
    assert artscore(windows, 0.80).class_name == "crystals_harvestable"


def test_the_threshold_binds_one_class_not_the_group() -> None:
    """0.45 + 0.45 of crystals reach no class, but they are worth a look: the crystal probability says so."""
    score = artscore(table({"crystals_harvestable": 0.45, "crystals_bad_form": 0.45}, {"clear": 0.9}), 0.85)
    assert outcome(score) == ("clear", 0.9)
    assert score.crystal_probability == pytest.approx(0.9 + 0.1 / 11)


def test_unsure_keeps_its_crystal_probability() -> None:
    score = artscore(table({"clear": 0.5}, {"crystals_bad_form": 0.6}), 0.85)
    assert outcome(score) == (None, None)
    assert score.window is None
    assert score.crystal_probability == pytest.approx(0.6 + 2 * 0.4 / 12)


def test_rim_scores_as_clear() -> None:
    assert outcome(artscore(table({"rim": 0.95}), 0.85)) == ("clear", 0.95)


def test_rim_comes_after_clear_and_clear_with_other_features() -> None:
    assert outcome(artscore(table({"rim": 0.99}, {"clear": 0.9}), 0.85)) == ("clear", 0.9)
    assert outcome(artscore(table({"rim": 0.99}, {"clear_with_other_features": 0.9}), 0.85)) == ("clear_with_other_features", 0.9)


def test_a_sum_a_hair_above_one_is_one() -> None:
    windows = np.zeros((1, 13))
    windows[0, :3] = [0.5, 0.5, 1e-12]
    assert artscore(windows, 0.85).crystal_probability == 1.0


@pytest.mark.parametrize("shape", [(0, 13), (1, 12), (13,)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="probabilities must be"):
        artscore(np.zeros(shape), 0.85)


probabilities = arrays(np.float64, st.tuples(st.integers(1, 8), st.just(13)), elements=st.floats(0.0, 1.0))


@given(probabilities, st.floats(0.0, 1.0))
def test_no_class_of_higher_priority_was_reached(windows: np.ndarray, threshold: float) -> None:
    score = artscore(windows, threshold)
    if score.reached is None:
        assert windows.max() <= threshold
    else:
        assert windows[:, : score.reached].max(initial=0.0) <= threshold
        assert threshold < windows[score.window, score.reached] == windows[:, score.reached].max() == score.probability


@given(probabilities, st.floats(0.0, 1.0), st.randoms(use_true_random=False))
def test_the_order_of_the_windows_does_not_matter(windows: np.ndarray, threshold: float, chance: object) -> None:
    order = np.random.default_rng(chance.randrange(2**32)).permutation(len(windows))  # type: ignore[attr-defined]
    one, other = artscore(windows, threshold), artscore(windows[order], threshold)
    assert outcome(one) == outcome(other)
    assert one.crystal_probability == pytest.approx(other.crystal_probability)


# ---- the chops to show ------------------------------------------------------------------------------------------


def apart(count: int) -> list[Box]:
    """Boxes that do not touch."""
    return [Box(100 * n, 0, 100 * n + 50, 50) for n in range(count)]


def shown(windows: np.ndarray, count: int, threshold: float = 0.85, boxes: list[Box] | None = None) -> list[tuple[str, float]]:
    chops = best_chops(Windows(boxes or apart(len(windows)), windows), artscore(windows, threshold), count)
    return [(chop.class_name, round(chop.probability, 6)) for chop in chops]


def test_the_most_probable_chops_come_first_rim_and_clear_last() -> None:
    windows = table({"clear": 0.99}, {"precipitate": 0.7}, {"rim": 0.98}, {"other": 0.9}, {"clear_with_other_features": 0.97})
    assert shown(windows, 5) == [("other", 0.9), ("precipitate", 0.7), ("clear", 0.99), ("rim", 0.98), ("clear_with_other_features", 0.97)]
    assert shown(windows, 2) == [("other", 0.9), ("precipitate", 0.7)]


def test_the_chop_that_scored_the_drop_is_always_shown() -> None:
    windows = table(*({"precipitate": 0.99 - n / 100} for n in range(6)), {"crystals_harvestable": 0.86})
    assert shown(windows, 3) == [("precipitate", 0.99), ("precipitate", 0.98), ("crystals_harvestable", 0.86)]
    assert shown(windows, 1) == [("crystals_harvestable", 0.86)]


def test_the_chop_that_scored_the_drop_is_shown_under_the_class_that_it_reached() -> None:
    windows = table({"crystals_bad_form": 0.4, "precipitate": 0.5})
    assert shown(windows, 5, threshold=0.3) == [("crystals_bad_form", 0.4)]


def test_the_chop_of_the_crystal_probability_is_shown_from_a_tenth_on() -> None:
    """Two crystal classes with 0.3 and 0.2 beside 0.5 of precipitate: the drop is ranked by their sum, so that place is shown."""
    likely = {"crystals_bad_form": 0.3, "crystals_overnucleated": 0.2, "precipitate": 0.5}
    windows = table(*({"precipitate": 0.99 - n / 100} for n in range(6)), likely)
    assert shown(windows, 3) == [("precipitate", 0.99), ("precipitate", 0.98), ("crystals_bad_form", 0.3)]
    assert shown(windows, 1) == [("precipitate", 0.99)], "the chop that scored the drop comes first"
    hardly = {"crystals_bad_form": 0.05, "crystals_overnucleated": 0.04, "precipitate": 0.91}
    assert shown(table({"precipitate": 0.99}, {"precipitate": 0.98}, hardly), 2) == [("precipitate", 0.99), ("precipitate", 0.98)]


def test_no_chops_when_none_are_asked_for() -> None:
    assert shown(table({"precipitate": 0.9}), 0) == []


def test_a_near_copy_of_a_shown_chop_is_left_out() -> None:
    """60 % shared is too much, 50 % is not; another class may overlap as it likes."""
    boxes = [Box(0, 0, 100, 100), Box(40, 0, 140, 100), Box(50, 0, 150, 100), Box(5, 0, 105, 100)]
    windows = table({"precipitate": 0.95}, {"precipitate": 0.94}, {"precipitate": 0.93}, {"other": 0.92})
    assert shown(windows, 5, boxes=boxes) == [("precipitate", 0.95), ("precipitate", 0.93), ("other", 0.92)]


def test_a_small_chop_inside_of_a_large_one_is_a_copy() -> None:
    boxes = [Box(0, 0, 100, 100), Box(20, 20, 60, 60)]
    assert shown(table({"precipitate": 0.95}, {"precipitate": 0.94}), 5, boxes=boxes) == [("precipitate", 0.95)]
    assert shown(table({"precipitate": 0.94}, {"precipitate": 0.95}), 5, boxes=boxes) == [("precipitate", 0.95)]


@given(probabilities, st.floats(0.0, 1.0), st.integers(0, 10))
def test_chops_are_as_many_as_asked_for_and_sorted(windows: np.ndarray, threshold: float, count: int) -> None:
    chops = best_chops(Windows(apart(len(windows)), windows), artscore(windows, threshold), count)
    assert len(chops) == min(count, len(windows))
    groups = {c.name: c.group == "clear" for c in CLASSES}
    keys = [(groups[chop.class_name], -chop.probability) for chop in chops]
    assert keys == sorted(keys)


# ---- all classes ----------------------------------------------------------------------------------------------------


def test_each_class_has_its_largest_probability_in_any_window() -> None:
    windows = Windows(
        [Box(0, 0, 9, 9)] * 2, table({"precipitate": 0.6, "clear": 0.1234567}, {"precipitate": 0.2, "clear": 0.7, "rim": 0.05})
    )
    found = class_probabilities(windows)
    assert list(found) == list(NAMES)
    assert (found["precipitate"], found["clear"], found["rim"]) == (0.6, 0.7, 0.05)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_classes_that_a_model_does_not_know_are_left_out(temperature: float) -> None:
    """Such a network answers with a logit of -100 there (0028)."""
    known = ("crystals_harvestable", "precipitate", "other", "clear")
    logits = np.array([[1.0 if name in known else -100.0 for name in NAMES]], dtype=np.float32)
    probabilities = calibrated(logits, CalibrationSpec(temperature=temperature))
    assert class_probabilities(Windows([Box(0, 0, 9, 9)], probabilities)) == dict.fromkeys(known, 0.25)
