"""The measures of an evaluation: against hand calculations, scikit-learn and scipy."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve, recall_score, roc_auc_score

from training.evaluation.measures.agreement import pair_agreement, program_agreement, specific_agreement
from training.evaluation.measures.bootstrap import percentile_interval, resamples
from training.evaluation.measures.calibration import expected_calibration_error, reliability
from training.evaluation.measures.confusion import confusion
from training.evaluation.measures.curves import (
    average_precision,
    count_by_threshold,
    recall_at_false_rate,
    roc_area,
    roc_curve,
    threshold_for_recall,
)
from training.evaluation.measures.ranking import crystal_ranks, merge_wells, wells_for_share
from training.evaluation.measures.success import balanced_mean, frequencies, success_rates, weighted_mean
from training.evaluation.paper import TABLE_3

RNG = np.random.default_rng(20181024)


@pytest.mark.parametrize(
    "module",
    [f"training.evaluation.{name}" for name in ("judgement", "matching")]
    + [f"training.evaluation.measures.{name}" for name in ("agreement", "confusion", "ranking", "success")],
)
def test_the_examples_in_docstrings_hold(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert (failed, tried > 0) == (0, True)


# ---- success rates ----------------------------------------------------------------------------------------------


def test_success_rates_are_recall() -> None:
    truth, outcome = RNG.integers(4, size=500), RNG.integers(7, size=500)  # 4, 5, 6: unsure and the like
    expected = recall_score(truth, outcome, labels=[0, 1, 2, 3], average=None, zero_division=0)
    np.testing.assert_allclose(success_rates(truth, truth == outcome, 4), expected)


def test_the_weighted_mean_over_the_labels_own_frequencies_is_the_share_of_right_images() -> None:
    truth, right = RNG.integers(4, size=300), RNG.random(300) < 0.7
    mean = weighted_mean(success_rates(truth, right, 4), frequencies(truth, 4))
    assert mean == pytest.approx(right.mean())


def test_one_set_of_frequencies_gives_the_papers_weighted_means() -> None:
    """P20: with 34 % crystal, 47 % precipitate, 4 % other and 15 % clear the weighted mean reproduces Table 3 but for its MARCO row."""
    weights = np.array([0.3392, 0.4679, 0.0432, 0.1517])
    off = {row.network: weighted_mean(np.array(row.rates), weights) - row.weighted_mean for row in TABLE_3}
    assert off.pop("AlexNet, MARCO") < -10
    assert max(map(abs, off.values())) < 0.3


def test_an_absent_group_has_no_rate_and_no_say_in_either_mean() -> None:
    rates = success_rates(np.array([0, 0, 1]), np.array([True, False, True]), 4)
    np.testing.assert_array_equal(rates, [0.5, 1.0, np.nan, np.nan])
    assert weighted_mean(rates, frequencies(np.array([0, 0, 1]), 4)) == pytest.approx(2 / 3)
    assert balanced_mean(rates) == 0.75
    assert np.isnan(balanced_mean(np.full(4, np.nan)))
    with pytest.raises(ValueError, match="no image"):
        frequencies(np.array([], dtype=np.int64), 4)


# ---- confusion --------------------------------------------------------------------------------------------------


def test_confusion_agrees_with_scikit_learn() -> None:
    truth, outcome = RNG.integers(13, size=400), RNG.integers(13, size=400)
    np.testing.assert_array_equal(confusion(truth, outcome, 13, 13), confusion_matrix(truth, outcome, labels=range(13)))


@pytest.mark.parametrize(("truth", "outcome"), [([4], [0]), ([0], [5]), ([-1], [0]), ([0, 1], [0])])
def test_confusion_refuses_what_would_land_in_another_cell(truth: list[int], outcome: list[int]) -> None:
    with pytest.raises(ValueError, match="labels"):
        confusion(np.array(truth), np.array(outcome), 4, 5)


# ---- curves -----------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()), min_size=2, max_size=40))
def test_areas_agree_with_scikit_learn_ties_included(pairs: list[tuple[float, bool]]) -> None:
    probability, positive = np.array([p for p, _ in pairs]), np.array([t for _, t in pairs])
    counts = count_by_threshold(probability, positive)
    if positive.all() or not positive.any():
        assert counts is None
        assert np.isnan(roc_area(counts))
        assert np.isnan(average_precision(counts))
        assert np.isnan(recall_at_false_rate(counts, 0.05))
    else:
        assert roc_area(counts) == pytest.approx(roc_auc_score(positive, probability))
        assert average_precision(counts) == pytest.approx(average_precision_score(positive, probability))


def test_the_curves_points_are_those_of_scikit_learn() -> None:
    probability, positive = RNG.integers(20, size=200) / 20, RNG.random(200) < 0.3
    counts = count_by_threshold(probability, positive)
    assert counts is not None
    precision, recall, thresholds = precision_recall_curve(positive, probability)
    np.testing.assert_allclose(counts.precision[::-1], precision[:-1])
    np.testing.assert_allclose(counts.recall[::-1], recall[:-1])
    np.testing.assert_allclose(counts.thresholds[::-1], thresholds)
    false_rate, found = roc_curve(counts)
    assert (false_rate[0], found[0], false_rate[-1], found[-1]) == (0, 0, 1, 1)


# By hand: crystals at .9 .7 .7 .2, others at .8 .7 .1 0
PROBABILITY = np.array([0.9, 0.7, 0.7, 0.2, 0.8, 0.7, 0.1, 0.0])
CRYSTAL = np.array([True] * 4 + [False] * 4)


@pytest.mark.parametrize(
    ("wanted", "threshold", "recall", "false_rate"), [(0.25, 0.9, 0.25, 0), (0.5, 0.7, 0.75, 0.5), (0.75, 0.7, 0.75, 0.5), (1, 0.2, 1, 0.5)]
)
def test_threshold_for_a_wanted_recall_by_hand(wanted: float, threshold: float, recall: float, false_rate: float) -> None:
    counts = count_by_threshold(PROBABILITY, CRYSTAL)
    assert counts is not None
    place = threshold_for_recall(counts, wanted)
    assert (counts.thresholds[place], counts.recall[place], counts.false_rate[place]) == (threshold, recall, false_rate)


@pytest.mark.parametrize(("limit", "recall"), [(0, 0.25), (0.25, 0.25), (0.49, 0.25), (0.5, 1), (1, 1)])
def test_recall_at_a_false_rate_by_hand(limit: float, recall: float) -> None:
    assert recall_at_false_rate(count_by_threshold(PROBABILITY, CRYSTAL), limit) == recall


def test_no_crystal_is_found_without_false_ones_where_a_false_one_comes_first() -> None:
    assert recall_at_false_rate(count_by_threshold(np.array([0.5, 0.9]), np.array([True, False])), 0.05) == 0


# ---- calibration ------------------------------------------------------------------------------------------------


def test_reliability_agrees_with_scikit_learn() -> None:
    probability = RNG.random(500)
    true = RNG.random(500) < probability**2
    diagram = reliability(probability, true)
    share, mean = calibration_curve(true, probability, n_bins=10)
    np.testing.assert_allclose(diagram.share, share)
    np.testing.assert_allclose(diagram.probability, mean)
    assert diagram.count.sum() == 500


def test_calibration_error_by_hand() -> None:
    """Bins of 0.5: (0.1, 0.3) with one true, mean 0.2 and share 0.5; (0.5, 1.0) with two true, 0.75 and 1: (0.3 + 0.25) / 2."""
    diagram = reliability(np.array([0.1, 0.3, 0.5, 1.0]), np.array([True, False, True, True]), bins=2)
    np.testing.assert_array_equal(diagram.count, [2, 2])
    assert expected_calibration_error(diagram) == pytest.approx(0.275)
    assert np.isnan(expected_calibration_error(reliability(np.array([]), np.array([], dtype=bool))))


# ---- ranking ----------------------------------------------------------------------------------------------------


def test_a_well_is_as_probable_as_its_best_drop_and_has_a_crystal_if_one_drop_has() -> None:
    probability, crystal = merge_wells(np.array([0, 1, 0, 2]), np.array([0.1, 0.5, 0.9, 0.3]), np.array([True, False, False, False]))
    np.testing.assert_array_equal(probability, [0.9, 0.5, 0.3])
    np.testing.assert_array_equal(crystal, [True, False, False])


def test_ties_are_taken_in_the_worst_order() -> None:
    """Three wells at 0, one with a crystal, after one at 0.4: it comes fourth, wherever it stands in the file."""
    for place in (1, 2, 3):
        crystal = np.zeros(4, dtype=bool)
        crystal[place] = True
        assert crystal_ranks(np.array([0.4, 0.0, 0.0, 0.0]), crystal).tolist() == [4]


@pytest.mark.parametrize(("share", "wells"), [(0.05, 1), (0.5, 10), (0.95, 19), (0.951, 40), (1.0, 40)])
def test_wells_for_a_share_of_twenty_crystals(share: float, wells: int) -> None:
    assert wells_for_share(np.array([*range(1, 20), 40]), share) == wells


# ---- agreement --------------------------------------------------------------------------------------------------


def test_agreement_by_hand() -> None:
    """Image 1: two crystal; 2: crystal and clear; 3: two crystal and one clear (1 of 3 pairs); 4: one person only.

    Pairs of people: (1 + 0 + 1/3) / 3. Crystal: agreeing ordered pairs 2 + 0 + 2 of 2 + 1 + 2 x 2; clear: 0 of 1 + 2.
    """
    votes = np.array([[2, 0, 0, 0], [1, 0, 0, 1], [2, 0, 0, 1], [0, 1, 0, 0]])
    assert pair_agreement(votes) == pytest.approx(4 / 9)
    np.testing.assert_allclose(specific_agreement(votes), [4 / 7, np.nan, np.nan, 0])
    assert program_agreement(votes, np.array([0, 0, 5, 1])) == pytest.approx((1 + 0.5 + 0) / 3)


def test_without_a_second_person_there_is_no_agreement() -> None:
    votes = np.eye(4, dtype=np.int64)
    assert np.isnan(pair_agreement(votes))
    assert np.isnan(specific_agreement(votes)).all()
    assert np.isnan(program_agreement(votes, np.arange(4)))


# ---- bootstrap --------------------------------------------------------------------------------------------------


def test_a_plate_is_drawn_whole_or_not_at_all() -> None:
    plate = np.array([0, 0, 0, 1, 2, 2])
    for places in resamples(plate, 50, seed=1):
        times = np.bincount(places, minlength=6)
        assert times[0] == times[1] == times[2]
        assert times[4] == times[5]
        assert times[0] + times[3] + times[4] == 3


def test_the_same_seed_gives_the_same_samples_and_another_one_others() -> None:
    first, again, other = ([p.tolist() for p in resamples(np.arange(30), 5, seed)] for seed in (7, 7, 8))
    assert first == again != other


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = RNG.normal(size=200)
    draws = np.array([values[places].mean() for places in resamples(np.arange(200), 4000, seed=3)])
    expected = scipy_bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(4)).confidence_interval
    np.testing.assert_allclose(percentile_interval(draws), expected, atol=0.015)


def test_an_interval_needs_most_of_its_draws() -> None:
    assert percentile_interval(np.array([np.nan, 0.5, 0.5])) == (0.5, 0.5)
    assert np.isnan(percentile_interval(np.array([np.nan, np.nan, 0.5]))).all()
    assert np.isnan(percentile_interval(np.array([]))).all()
