"""Records: the tidy rows that a cell leaves.

Columns: benchmark, strategy, seed, step, metric, experience, value. The metrics of other
experiments are told in `gtl_bench.report.kinds`; those of a stream of single examples are

- `accuracy`: share of the test images classified right after `step`, over all of them
  (experience −1) and over those that show the classes of each experience (0, 1, …);
- `stream_accuracy`: share of the stream's examples met by `step` that are still classified right,
  over all of them (−1) and over those of each experience;
- `retention`: here `step` is an age a in examples, and the value is the share of all examples i of
  the stream, of those with i + a within it, that are right after step i + a (−1);
- `source_accuracy`: share of a fixed sample of the source task's images still right (−1);
- `diverged`: at most one row, at the step after which outputs were no longer finite (−1, value 1).
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gtl_bench.scenario import Scenario
from gtl_bench.stream import Course

#: The experience of values that concern all experiences together.
ALL = -1

#: The key of gtl-bench's own entry in a Parquet file's metadata.
METADATA_KEY = b"gtl_bench"

#: Rows that share metric and experience: (metric, experience, steps, values).
Series = tuple[str, int, NDArray[np.int64], NDArray[np.float64]]


def series(course: Course, scenario: Scenario) -> Iterator[Series]:
    """The metrics of a course as (metric, experience, steps, values)."""
    steps = course.steps
    experiences = range(len(scenario.stream))
    groups = scenario.test_experience.numpy()
    test = course.test[steps]
    yield "accuracy", ALL, steps, test.mean(1)
    for index in experiences:
        yield "accuracy", index, steps, test[:, groups == index].mean(1)
    yield "source_accuracy", ALL, steps, course.source[steps].mean(1)
    if course.diverged is not None:
        yield "diverged", ALL, np.array([course.diverged]), np.array([1.0])
    if len(steps) < len(course.test):
        return

    starts = (0, *scenario.boundaries[:-1])
    yield "stream_accuracy", ALL, steps[1:], _seen_accuracy(course.stream, 0, len(steps) - 1)
    for index, (start, end) in enumerate(zip(starts, scenario.boundaries)):
        values = _seen_accuracy(course.stream, start, end)
        yield "stream_accuracy", index, steps[start + 1 :], values

    retention = retention_by_age(course.stream)
    yield "retention", ALL, np.arange(len(retention)), retention


def _seen_accuracy(stream: NDArray[np.bool_], start: int, end: int) -> NDArray[np.float64]:
    """Share right among examples start … end − 1 met so far, after each step from start + 1 on."""
    right = stream[start + 1 :, start:end].sum(1)
    met = np.minimum(np.arange(1, len(right) + 1), end - start)
    return np.asarray(right / met, dtype=np.float64)


def retention_by_age(stream: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Retention at each age a = 0 … T − 1.

    Args:
        stream: (T + 1) × T; entry (t, i) tells whether example i, learned in step i + 1, is right
            after step t.

    Returns:
        T values: the mean over examples i of entry (i + 1 + a, i), as far as the stream goes.
    """
    after_learning = stream[1:]
    n = after_learning.shape[1]
    return np.array([np.diagonal(after_learning, offset=-age).mean() for age in range(n)])


def to_parquet(
    benchmark: str,
    strategy: str,
    seed: int,
    parts: Sequence[Series],
    metadata: Mapping[str, Any],
) -> bytes:
    """A cell's records as the bytes of a Parquet file; the same records give the same bytes.

    Args:
        benchmark: the benchmark's title.
        strategy: the strategy's name.
        seed: the cell's seed.
        parts: the rows, metric by metric.
        metadata: kept as JSON in the file's metadata.
    """
    lengths = [len(steps) for _, _, steps, _ in parts]
    rows = sum(lengths)
    table = pa.table(
        {
            "benchmark": pa.array([benchmark] * rows, pa.string()),
            "strategy": pa.array([strategy] * rows, pa.string()),
            "seed": pa.array(np.full(rows, seed), pa.int64()),
            "step": pa.array(np.concatenate([steps for _, _, steps, _ in parts]), pa.int64()),
            "metric": pa.array(np.repeat([metric for metric, *_ in parts], lengths), pa.string()),
            "experience": pa.array(np.repeat([e for _, e, _, _ in parts], lengths), pa.int64()),
            "value": pa.array(np.concatenate([values for *_, values in parts]), pa.float64()),
        },
        metadata={METADATA_KEY: json.dumps(metadata, sort_keys=True)},
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
