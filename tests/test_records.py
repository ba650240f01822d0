"""Records against hand calculations."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtl_bench.records import retention_by_age, series, to_parquet
from gtl_bench.scenario import Scenario
from gtl_bench.stream import Course


def test_retention_by_age_by_hand() -> None:
    # Rows are steps 0 … 3, columns examples; entries before an example is learned mean nothing.
    stream = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=bool)
    # Age 0: right at once: examples 0, 1 yes, 2 no. Age 1: example 0 after step 2, 1 after step 3.
    assert retention_by_age(stream).tolist() == [pytest.approx(2 / 3), 1.0, 0.0]


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_retention_by_age_is_the_mean_over_pairs(n: int, seed: int) -> None:
    stream = np.random.default_rng(seed).random((n + 1, n)) < 0.5
    for age, value in enumerate(retention_by_age(stream)):
        pairs = [stream[i + 1 + age, i] for i in range(n) if i + 1 + age <= n]
        assert value == pytest.approx(np.mean(pairs))


@pytest.fixture
def course() -> Course:
    generator = np.random.default_rng(0)
    stream = np.tril(generator.random((13, 12)) < 0.6, -1)
    return Course(
        steps=np.arange(13),
        test=generator.random((13, 20)) < 0.5,
        stream=stream,
        source=generator.random((13, 8)) < 0.9,
        diverged=None,
    )


def test_series_by_hand(course: Course, scenario: Scenario) -> None:
    rows = {(metric, e): (steps, values) for metric, e, steps, values in series(course, scenario)}
    steps, values = rows["accuracy", -1]
    assert steps.tolist() == list(range(13))
    assert values[7] == pytest.approx(course.test[7].sum() / 20)
    labels = scenario.test.y.numpy()
    _, second = rows["accuracy", 1]
    assert second[4] == pytest.approx(course.test[4][(labels == 2) | (labels == 3)].mean())
    steps, values = rows["stream_accuracy", -1]
    assert steps.tolist() == list(range(1, 13))
    assert values[4] == pytest.approx(course.stream[5, :5].sum() / 5)
    steps, values = rows["stream_accuracy", 1]
    assert steps.tolist() == list(range(7, 13))
    assert values[1] == pytest.approx(course.stream[8, 6:8].sum() / 2)
    assert values[-1] == pytest.approx(course.stream[12, 6:].mean())
    assert rows["source_accuracy", -1][1][3] == pytest.approx(course.source[3].mean())
    assert ("diverged", -1) not in rows


def test_parquet_is_tidy_and_the_same_every_time(course: Course, scenario: Scenario) -> None:
    arguments = ("a title", "naive", 4, list(series(course, scenario)), {"key": "k"})
    content = to_parquet(*arguments)
    assert content == to_parquet(*arguments)
    table = pq.read_table(io.BytesIO(content))
    assert table.column_names == [
        "benchmark",
        "strategy",
        "seed",
        "step",
        "metric",
        "experience",
        "value",
    ]
    frame = table.to_pandas()
    assert set(frame["benchmark"]) == {"a title"}
    assert set(frame["seed"]) == {4}
    assert frame["value"].between(0, 1).all()
    assert not frame.duplicated(["metric", "experience", "step"]).any()
    assert json.loads(table.schema.metadata[b"gtl_bench"]) == {"key": "k"}


def test_divergence_is_one_row(course: Course, scenario: Scenario) -> None:
    diverged = dataclasses.replace(course, diverged=5)
    rows = [row for row in series(diverged, scenario) if row[0] == "diverged"]
    assert [(e, steps.tolist(), values.tolist()) for _, e, steps, values in rows] == [
        (-1, [5], [1.0])
    ]


def test_without_evaluation_at_every_step_only_ends_are_recorded(
    course: Course, scenario: Scenario
) -> None:
    ends = dataclasses.replace(course, steps=np.array([0, 12]))
    rows = {(metric, e): (steps, values) for metric, e, steps, values in series(ends, scenario)}
    assert set(rows) == {
        ("accuracy", -1),
        ("accuracy", 0),
        ("accuracy", 1),
        ("source_accuracy", -1),
    }
    steps, values = rows["accuracy", -1]
    assert steps.tolist() == [0, 12]
    assert values.tolist() == pytest.approx(course.test[[0, 12]].mean(1).tolist())
