"""Statistics against scipy and hand calculations, and on simulated data."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as scipy_stats

from gtl_bench import stats

SIMULATIONS = 2000


def test_interval_by_hand():
    interval = stats.mean_interval(np.array([1.0, 2.0, 3.0, 4.0, 10.0]))
    # Mean 4, standard deviation √12.5; the table's t for 4 degrees of freedom is 2.776.
    half = 2.7764451 * np.sqrt(12.5 / 5)
    assert interval.mean == 4
    assert (interval.low, interval.high) == (pytest.approx(4 - half), pytest.approx(4 + half))


def test_interval_of_differences_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 12))
    expected = scipy_stats.ttest_rel(a, b).confidence_interval(0.95)
    interval = stats.mean_interval(a - b)
    assert (interval.low, interval.high) == (
        pytest.approx(expected.low),
        pytest.approx(expected.high),
    )


def test_share_interval_by_hand():
    z = 1.959964  # 10 of 100: Wilson's limits solve (p - 0.1)^2 = z^2 p (1 - p) / 100
    share = stats.share_interval(10, 100)
    assert share.mean == pytest.approx(0.1)
    for limit in (share.low, share.high):
        assert (limit - 0.1) ** 2 == pytest.approx(z**2 * limit * (1 - limit) / 100, rel=1e-5)
    assert stats.share_interval(0, 500).high == pytest.approx(z**2 / (500 + z**2), rel=1e-5)


def test_interval_works_along_the_first_axis():
    values = np.random.default_rng(0).normal(size=(5, 3, 2))
    whole = stats.mean_interval(values)
    assert whole.mean.shape == (3, 2)
    assert whole.high[2, 1] == stats.mean_interval(values[:, 2, 1]).high


def test_one_run_has_no_interval_and_none_no_mean():
    interval = stats.mean_interval(np.array([[0.3, 0.4]]))
    assert interval.mean.tolist() == [0.3, 0.4]
    assert np.isnan(interval.low).all()
    assert np.isnan(interval.high).all()
    with pytest.raises(ValueError, match="at least one run"):
        stats.mean_interval(np.empty((0, 3)))


def normal(rng, shape):
    return rng.normal(0, 1, shape), 0


def accuracies(rng, shape):
    """Shares of 2,000 images that vary from seed to seed about 60 %."""
    return rng.binomial(2000, rng.beta(60, 40, shape)) / 2000, 0.6


def paired_differences(rng, shape):
    """Differences of two strategies' accuracies from one base, 5 points apart."""
    base = rng.beta(50, 50, shape)
    first, second = (
        rng.binomial(2000, np.clip(base + gain + rng.normal(0, 0.02, shape), 0, 1)) / 2000
        for gain in (0.05, 0.0)
    )
    return first - second, 0.05


def covers(low, high, truth):
    return float(np.mean((low <= truth) & (truth <= high)))


@pytest.mark.parametrize("draw", [normal, accuracies, paired_differences])
@pytest.mark.parametrize("seeds", [5, 10, 20])
def test_intervals_cover_the_truth(draw, seeds):
    values, truth = draw(np.random.default_rng(seeds), (seeds, SIMULATIONS))
    interval = stats.mean_interval(values)
    assert 0.93 <= covers(interval.low, interval.high, truth) <= 0.97


@pytest.mark.parametrize("draw", [normal, accuracies, paired_differences])
def test_the_bootstrap_would_cover_less(draw):
    """Why intervals are Student's t: with few seeds BCa is far too narrow."""
    rng = np.random.default_rng(0)
    coverage = {}
    for seeds in (5, 10, 20):
        values, truth = draw(rng, (seeds, SIMULATIONS))
        bca = scipy_stats.bootstrap(
            (values,), np.mean, n_resamples=999, method="BCa", rng=rng, batch=50
        ).confidence_interval
        coverage[seeds] = covers(bca.low, bca.high, truth)
    assert coverage[5] < 0.90
    assert coverage[10] < 0.93


def signed_rank_by_hand(differences):
    """Two-sided p by going through all assignments of signs."""
    ranks = scipy_stats.rankdata(np.abs(differences))
    statistic = ranks[differences > 0].sum()
    centre = ranks.sum() / 2
    outcomes = [
        np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(differences))
    ]
    return np.mean(np.abs(np.array(outcomes) - centre) >= abs(statistic - centre) - 1e-9)


@pytest.mark.parametrize(
    "differences",
    [
        [0.3, -0.1, 0.2, 0.5, 0.4],
        [0.1, 0.1, 0.1, 0.1, 0.1],  # ties: a normal approximation would give 0.03
        [0.1, -0.1, 0.2, 0.2, 0.3, -0.4, 0.6],
        [0.02, 0.05, 0.01, 0.03, 0.07, 0.04, -0.06, 0.08],
    ],
)
def test_signed_rank_p_is_exact(differences):
    expected = signed_rank_by_hand(np.array(differences))
    assert stats.signed_rank_p(np.array(differences)) == pytest.approx(expected)


def test_signed_rank_p_agrees_with_scipy_without_ties():
    rng = np.random.default_rng(1)
    for pairs in (2, 5, 13, 20, 50):
        differences = rng.normal(0.3, 1, pairs)
        expected = scipy_stats.wilcoxon(differences, method="exact").pvalue
        assert stats.signed_rank_p(differences) == pytest.approx(expected)


def test_signed_rank_p_with_ties_is_that_of_all_assignments_of_signs():
    rng = np.random.default_rng(2)
    for pairs in (3, 6, 9, 12):
        differences = rng.integers(-3, 6, pairs) / 100
        told_apart = differences[differences != 0]
        assert stats.signed_rank_p(differences) == pytest.approx(signed_rank_by_hand(told_apart))


def test_signed_rank_p_drops_zeros_and_sees_ties_through_rounding():
    plain = np.array([0.3, -0.1, 0.2, 0.5, 0.4])
    assert stats.signed_rank_p(np.append(plain, [0.0, 0.0])) == stats.signed_rank_p(plain)
    nearly = np.array([0.3 - 0.2, 0.2 - 0.1, -(0.4 - 0.3)])  # three tenths, not bit for bit
    assert len(set(np.abs(nearly))) > 1
    assert stats.signed_rank_p(nearly) == pytest.approx(signed_rank_by_hand(np.round(nearly, 9)))
    assert stats.signed_rank_p(np.zeros(8)) == 1
    assert stats.signed_rank_p(np.array([0.4])) == 1


@pytest.mark.parametrize("pairs", range(2, 31))
def test_the_smallest_p_is_reached_and_never_undercut(pairs):
    one_sided = np.arange(1, pairs + 1) / 100
    assert stats.signed_rank_p(one_sided) == pytest.approx(stats.smallest_p(pairs))


def test_five_seeds_cannot_reach_significance_and_six_only_alone():
    assert stats.smallest_p(5) > stats.ALPHA > stats.smallest_p(6)
    assert stats.smallest_p(6, comparisons=2) > stats.ALPHA
    assert stats.smallest_p(1, comparisons=9) == 1


def test_mean_ranks_by_hand():
    values = np.array([[0.9, 0.5, 0.7], [0.4, 0.4, 0.6]])
    # Ranks 1, 3, 2 and 2.5, 2.5, 1.
    assert stats.mean_ranks(values).tolist() == [1.75, 2.75, 1.5]


def test_critical_differences_are_those_of_the_published_table():
    # Demšar 2006, table 5(a): q at 0.05 for 2 to 10 classifiers.
    published = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    for k, q in enumerate(published, start=2):
        expected = q * np.sqrt(k * (k + 1) / (6 * 14))
        assert stats.critical_difference(k, 14) == pytest.approx(expected, rel=4e-4)
    # His example: 4 classifiers on 14 data sets, section 3.2.3.
    assert stats.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_holm_by_hand():
    corrected = stats.holm(np.array([0.01, 0.04, 0.03, 0.005]))
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: the last may not fall below the third.
    assert corrected == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_what_was_not_tested():
    corrected = stats.holm(np.array([np.nan, 0.02, 0.04]))
    assert np.isnan(corrected[0])
    assert corrected[1:] == pytest.approx([0.04, 0.04])
    assert stats.holm(np.array([])).shape == (0,)


@given(arrays(np.float64, st.integers(1, 8), elements=st.floats(0, 1)))
def test_holm_lies_between_the_plain_p_and_bonferroni_and_keeps_their_order(p_values):
    corrected = stats.holm(p_values)
    assert (corrected >= p_values).all()
    assert (corrected <= np.minimum(1, len(p_values) * p_values) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(p_values)]) >= 0).all()


@pytest.mark.parametrize(
    ("seeds", "nulls", "worse"), [(8, 3, 0), (10, 9, 0), (10, 3, 2), (20, 3, 0), (20, 3, 2)]
)
def test_the_familys_error_stays_within_the_level(seeds, nulls, worse):
    """Accuracies on 2,000 images of one strategy and others: as good as it, or ten points worse."""
    rng = np.random.default_rng(0)
    truth = np.array([0.0] * (1 + nulls) + [-0.1] * worse)[:, None]
    false_alarms = missed = 0
    for base in rng.beta(50, 50, (SIMULATIONS, 1, seeds)):
        accuracy = np.clip(base + truth + rng.normal(0, 0.02, (len(truth), seeds)), 0, 1)
        runs = rng.binomial(2000, accuracy) / 2000
        p_values = [stats.signed_rank_p(runs[0] - other) for other in runs[1:]]
        alarms = stats.holm(np.array(p_values)) <= stats.ALPHA
        false_alarms += alarms[:nulls].any()
        missed += not alarms[nulls:].all()
    assert 0.01 < false_alarms / SIMULATIONS <= 0.05
    assert missed / SIMULATIONS < 0.01


@pytest.mark.parametrize("worse", [0, 2])
def test_five_seeds_never_raise_an_alarm_and_never_find_anything(worse):
    """As above: nothing is ever claimed, however far apart the strategies are."""
    rng = np.random.default_rng(0)
    truth = np.array([0.0] * 4 + [-0.1] * worse)[:, None]
    smallest = 1.0
    for base in rng.beta(50, 50, (SIMULATIONS, 1, 5)):
        accuracy = np.clip(base + truth + rng.normal(0, 0.02, (len(truth), 5)), 0, 1)
        runs = rng.binomial(2000, accuracy) / 2000
        p_values = [stats.signed_rank_p(runs[0] - other) for other in runs[1:]]
        smallest = min(smallest, *stats.holm(np.array(p_values)))
    assert smallest == pytest.approx(stats.smallest_p(5, 3 + worse))
    assert smallest > stats.ALPHA


def test_probability_of_improvement_by_hand():
    assert stats.probability_of_improvement(np.array([0.1, 0.2, -0.1, 0.0])) == (2 + 0.5) / 4
    assert stats.probability_of_improvement(np.array([0.3 - 0.2 - 0.1])) == 0.5
