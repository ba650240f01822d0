"""Every metric against a hand calculation, and the way from records to them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gtl_bench import metrics
from gtl_bench.errors import DataError

# Row 0 the base, row i after experience i; three experiences.
R = np.array(
    [
        [0.5, 0.4, 0.3],
        [0.9, 0.3, 0.2],
        [0.6, 0.8, 0.4],
        [0.7, 0.5, 1.0],
    ]
)


def test_accuracy_matrix_metrics_by_hand():
    assert metrics.average_accuracy(R) == pytest.approx((0.7 + 0.5 + 1.0) / 3)
    assert metrics.learning_accuracy(R) == pytest.approx((0.9 + 0.8 + 1.0) / 3)
    assert metrics.backward_transfer(R) == pytest.approx(((0.7 - 0.9) + (0.5 - 0.8)) / 2)
    assert metrics.forgetting(R) == pytest.approx(((0.9 - 0.7) + (0.8 - 0.5)) / 2)


def test_forgetting_leaves_out_the_base_and_the_last_state():
    better_base = R.copy()
    better_base[0] = 1.0
    assert metrics.forgetting(better_base) == metrics.forgetting(R)
    # What is best at the very end counts as forgetting below 0.
    rising = np.array([[0.0, 0.0], [0.4, 0.0], [0.6, 1.0]])
    assert metrics.forgetting(rising) == pytest.approx(-0.2)


def test_forgetting_is_measured_from_the_best_state_not_from_the_experience_itself():
    later_best = np.array([[0.1] * 3, [0.4, 0.1, 0.1], [0.9, 0.5, 0.1], [0.2, 0.5, 0.5]])
    assert metrics.forgetting(later_best) == pytest.approx(((0.9 - 0.2) + (0.5 - 0.5)) / 2)
    assert metrics.backward_transfer(later_best) == pytest.approx(((0.2 - 0.4) + 0.0) / 2)


def test_one_experience_has_no_forgetting_and_no_backward_transfer():
    single = np.array([[[0.1], [0.9]], [[0.2], [0.8]]])
    assert np.isnan(metrics.forgetting(single)).all()
    assert np.isnan(metrics.backward_transfer(single)).all()
    assert metrics.learning_accuracy(single) == pytest.approx([0.9, 0.8])


@given(arrays(np.float64, (3, 5, 4), elements=st.floats(0, 1)))
def test_leading_axes_are_cells(cells):
    for metric in (
        metrics.average_accuracy,
        metrics.learning_accuracy,
        metrics.backward_transfer,
        metrics.forgetting,
    ):
        assert metric(cells) == pytest.approx([float(metric(cell)) for cell in cells])


@given(arrays(np.float64, (6, 5), elements=st.floats(0, 1)))
def test_what_is_lost_since_learning_is_never_more_than_what_is_forgotten(matrix):
    assert -metrics.backward_transfer(matrix) <= metrics.forgetting(matrix) + 1e-12


def test_curve_metrics_by_hand():
    curve = np.array([0.5, 0.6, 0.7, 0.2])
    assert metrics.final_accuracy(curve) == 0.2
    assert metrics.anytime_accuracy(curve) == pytest.approx((0.6 + 0.7 + 0.2) / 3)


@pytest.mark.parametrize(
    ("retention", "expected"),
    [
        ([1.0, 0.8, 0.6, 0.4], 2.5),  # halfway between 0.6 and 0.4
        ([0.8, 0.4, 0.1], 1.0),  # at half exactly
        ([0.8, 0.9, 0.1, 0.9], 1.625),  # rises first; the first crossing counts
        ([1.0, 0.9, 0.51], np.inf),
        ([0.0, 0.0, 0.5], 0.0),  # nothing there to lose
        ([0.6, 0.0], 0.5),
    ],
)
def test_half_life_by_hand(retention, expected):
    assert metrics.half_life(np.array(retention)) == pytest.approx(expected)
    assert metrics.half_life(np.array([retention, retention])) == pytest.approx([expected] * 2)


@given(st.floats(0.01, 0.5))
def test_half_life_of_exponential_decay(rate):
    ages = np.arange(200)
    found = metrics.half_life(np.exp(-rate * ages))
    # Straight lines between ages lie above a convex curve, by no more than f″/8.
    assert np.log(2) / rate - 1e-9 <= found <= np.log(2) / rate + rate / 8


@pytest.mark.parametrize(
    ("examples", "age"), [(200, 150), (4, 3), (1, 0), (2, 1), (5, 3), (7, 5), (8, 6)]
)
def test_oldest_age_keeps_a_quarter_of_the_examples(examples, age):
    assert metrics.oldest_age(examples) == age
    assert examples - age >= examples / 4
    assert age == examples - 1 or examples - (age + 1) < examples / 4


def records_of(matrix, strategy="naive", seed=0, diverged=None, retention=(0.8, 0.4, 0.3, 0.2)):
    """Records of a stream of four examples in two experiences, from (5, 2) accuracies."""
    rows = [("accuracy", t, -1, value) for t, value in enumerate(matrix.mean(axis=1))]
    for j in range(matrix.shape[1]):
        rows += [("accuracy", t, j, value) for t, value in enumerate(matrix[:, j])]
    rows += [("stream_accuracy", t, -1, 0.5) for t in range(1, 5)]
    rows += [("retention", age, -1, value) for age, value in enumerate(retention)]
    rows += [("source_accuracy", t, -1, 1 - t / 10) for t in range(5)]
    if diverged is not None:
        rows.append(("diverged", diverged, -1, 1.0))
    frame = pd.DataFrame(rows, columns=["metric", "step", "experience", "value"])
    return frame.assign(benchmark="toy", strategy=strategy, seed=seed)[list(metrics.RECORD_COLUMNS)]


ACCURACY = np.array([[0.5, 0.3], [0.6, 0.3], [0.9, 0.2], [0.7, 0.6], [0.5, 0.8]])


def test_scalars_by_hand():
    scalars = metrics.scalars(records_of(ACCURACY), (2, 4))
    cell = scalars.loc[("naive", 0)]
    assert list(scalars.columns) == list(metrics.SCALARS)
    assert cell["final_accuracy"] == pytest.approx(0.65)
    assert cell["anytime_accuracy"] == pytest.approx((0.45 + 0.55 + 0.65 + 0.65) / 4)
    assert cell["average_accuracy"] == pytest.approx((0.5 + 0.8) / 2)
    assert cell["learning_accuracy"] == pytest.approx((0.9 + 0.8) / 2)
    assert cell["forgetting"] == pytest.approx(0.9 - 0.5)
    assert cell["backward_transfer"] == pytest.approx(0.5 - 0.9)
    assert cell["retention_half_life"] == pytest.approx(1.0)
    assert cell["source_accuracy_kept"] == pytest.approx(0.6)


def test_half_life_is_not_looked_for_where_few_examples_are_that_old():
    retention = (0.8, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.0)  # half is reached at age 7 of 8 examples
    accuracy = np.full((9, 1), 0.5)
    rows = records_of(accuracy, retention=retention)
    assert metrics.scalars(rows, (8,))["retention_half_life"].item() == np.inf


def test_every_cell_keeps_its_own_numbers_whatever_the_order_of_rows():
    rng = np.random.default_rng(0)
    cells = {(name, seed): rng.uniform(size=(5, 2)) for name in "ba" for seed in (3, 1, 2)}
    frames = [records_of(matrix, *key) for key, matrix in cells.items()]
    rows = pd.concat(frames).sample(frac=1, random_state=0)
    scalars = metrics.scalars(rows, (2, 4))
    assert len(scalars) == 6
    for key, matrix in cells.items():
        assert scalars.loc[key, "final_accuracy"] == pytest.approx(matrix[4].mean())
        assert scalars.loc[key, "forgetting"] == pytest.approx(matrix[2, 0] - matrix[4, 0])


def test_diverging_at_once_is_not_a_perfect_score():
    broken = ACCURACY.copy()
    broken[1:] = 0
    rows = pd.concat(
        [records_of(ACCURACY), records_of(broken, "wild", diverged=1, retention=(0, 0, 0, 0))]
    )
    scalars = metrics.scalars(rows, (2, 4))
    wild = scalars.loc[("wild", 0)]
    assert wild["forgetting"] == pytest.approx(0.5)  # all that the base knew of experience 0
    assert wild["backward_transfer"] == pytest.approx(-0.5)
    assert wild["final_accuracy"] == 0
    assert wild["retention_half_life"] == 0
    alone = metrics.scalars(records_of(ACCURACY), (2, 4)).loc[("naive", 0)]
    assert scalars.loc[("naive", 0)].equals(alone)


def test_diverging_late_counts_from_what_was_learned():
    broken = ACCURACY.copy()
    broken[4:] = 0
    scalars = metrics.scalars(records_of(broken, diverged=4), (2, 4))
    assert scalars["forgetting"].item() == pytest.approx(0.9)
    assert metrics.diverged(records_of(broken, diverged=4)).loc[("naive", 0)] == 4


def test_a_metric_that_no_cell_has_is_nan():
    rows = records_of(ACCURACY)
    rows = rows[rows["metric"] != "source_accuracy"]
    assert metrics.scalars(rows, (2, 4))["source_accuracy_kept"].isna().all()


def test_accuracy_matrices_are_the_states_at_the_boundaries():
    table = metrics.accuracy_matrices(records_of(ACCURACY), (2, 4))
    assert table.loc[("naive", 0)].to_list() == ACCURACY[[0, 2, 4]].ravel().tolist()


def without(rows, **where):
    hit = np.logical_and.reduce([rows[column] == value for column, value in where.items()])
    assert hit.any()
    return rows[~hit]


def test_incomplete_or_ambiguous_records_are_named():
    both = pd.concat([records_of(ACCURACY), records_of(ACCURACY, "ewc", 7)])
    for rows, message in (
        (without(both, strategy="ewc", metric="accuracy", step=3, experience=-1), "ewc, seed 7"),
        (without(both, strategy="ewc", metric="retention"), "ewc, seed 7 has no retention"),
        (without(both, metric="accuracy", step=4, experience=-1), "after 4 steps"),
        (without(both, metric="accuracy", step=2, experience=1), "experience 1 after step 2"),
        (pd.concat([both, both.iloc[:1]]), "naive, seed 0 has a value of accuracy twice"),
        (both.iloc[:0], "no cell of this run has finished"),
        (both.drop(columns="seed"), "seed"),
        (pd.concat([both, both.assign(benchmark="other")]), "several benchmarks"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            metrics.scalars(rows, (2, 4))
        assert "\n" not in str(caught.value)


def test_importing_metrics_is_light():
    code = (
        "import sys, gtl_bench.metrics, gtl_bench.report; "
        "heavy = {'torch', 'matplotlib', 'seaborn', 'scipy', 'avalanche'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
