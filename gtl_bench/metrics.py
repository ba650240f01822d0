"""Records -> accuracy, transfer, forgetting and retention.

Accuracies are shares from 0 to 1. T is the number of examples in the stream, E the number of
experiences; step 0 is the base before the first example. The definitions take arrays with any
number of leading axes (one cell, or ten thousand at once) and know nothing of where they come from;
`curves` and `scalars` take them out of a run's tidy records.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gtl_bench.errors import DataError

Array = NDArray[np.float64]

RECORD_COLUMNS = ("benchmark", "strategy", "seed", "step", "metric", "experience", "value")
WHOLE = -1  # the `experience` of a row that is about all of them together


@dataclass(frozen=True)
class Metric:
    """A number that sums up one cell: how it is called, in what unit, and which way is better."""

    name: str
    label: str
    unit: str  # "%": a share from 0 to 1, printed as percent; "examples": a number of examples
    higher_is_better: bool


SCALARS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("final_accuracy", "Final accuracy", "%", True),
        Metric("anytime_accuracy", "Accuracy along stream", "%", True),
        Metric("average_accuracy", "Average accuracy", "%", True),
        Metric("learning_accuracy", "Learning accuracy", "%", True),
        Metric("forgetting", "Forgetting", "%", False),
        Metric("backward_transfer", "Backward transfer", "%", True),
        Metric("retention_half_life", "Retention half-life", "examples", True),
        Metric("source_accuracy_kept", "Source accuracy kept", "%", True),
    )
}


def average_accuracy(matrix: Array) -> Array:
    """ACC = 1/E Σ_j R[E, j]: the mean over experiences of the accuracy at the end.

    Lopez-Paz & Ranzato (see `accuracy_matrices`), equation 2. It is the final accuracy on the
    whole test set where every experience has as many test images.

    Args:
        matrix: (..., E + 1, E), R as in `accuracy_matrices`.

    Returns:
        (...), 0 to 1
    """
    return _mean(matrix[..., -1, :])


def learning_accuracy(matrix: Array) -> Array:
    """LA = 1/E Σ_j R[j+1, j]: the accuracy on each experience right after it was learned.

    Riemer et al., "Learning to learn without forgetting by maximizing transfer and minimizing
    interference", ICLR 2019, section 5.

    Args:
        matrix: (..., E + 1, E), R as in `accuracy_matrices`.

    Returns:
        (...), 0 to 1
    """
    return _mean(_just_learned(matrix))


def backward_transfer(matrix: Array) -> Array:
    """BWT = 1/(E-1) Σ_{j<E} (R[E, j] - R[j+1, j]), j over all experiences but the last.

    What learning later experiences did to earlier ones; below 0 is forgetting. Lopez-Paz & Ranzato
    (see `accuracy_matrices`), equation 3.

    Args:
        matrix: (..., E + 1, E), R as in `accuracy_matrices`.

    Returns:
        (...), -1 to 1; NaN with a single experience, where it is undefined.
    """
    if matrix.shape[-1] == 1:
        return np.full(matrix.shape[:-2], np.nan)
    return _mean(matrix[..., -1, :-1] - _just_learned(matrix)[..., :-1])


def forgetting(matrix: Array) -> Array:
    """F = 1/(E-1) Σ_{j<E} (max_{1≤l<E} R[l, j] - R[E, j]), j over all experiences but the last.

    What was once known of an experience and is not any more. The maximum is over the states after
    the experiences, as published, and so leaves out the base. Chaudhry et al., "Riemannian walk for
    incremental learning", ECCV 2018, section 3.

    Args:
        matrix: (..., E + 1, E), R as in `accuracy_matrices`.

    Returns:
        (...), -1 to 1; NaN with a single experience, where it is undefined.
    """
    if matrix.shape[-1] == 1:
        return np.full(matrix.shape[:-2], np.nan)
    best = matrix[..., 1:-1, :-1].max(axis=-2)
    return _mean(best - matrix[..., -1, :-1])


def final_accuracy(accuracy: Array) -> Array:
    """The accuracy after the last example.

    Args:
        accuracy: (..., T + 1), accuracy on the whole test set after each step.

    Returns:
        (...), 0 to 1
    """
    return accuracy[..., -1]


def anytime_accuracy(accuracy: Array) -> Array:
    """1/T Σ_{t=1..T} accuracy after step t: the area under the curve, the base left out.

    The average anytime accuracy of Caccia et al., "New insights on reducing abrupt representation
    change in online continual learning", ICLR 2022, here over the whole test set rather than over
    the classes seen so far, since the base knows every class.

    Args:
        accuracy: (..., T + 1), accuracy on the whole test set after each step.

    Returns:
        (...), 0 to 1
    """
    return _mean(accuracy[..., 1:])


def oldest_age(examples: int) -> int:
    """The greatest age at which retention is the mean over at least a quarter of the stream.

    Retention at age a averages the T - a examples that grow that old. The oldest ages rest on a
    handful, down to one single example at age T - 1, and say more of those than of forgetting:
    beyond this age retention is neither drawn nor searched for its half-life.

    Args:
        examples: T, 1 or more.

    Returns:
        0 to T - 1
    """
    return examples - max(1, -(-examples // 4))


def half_life(retention: Array) -> Array:
    """The first age at which retention is at or below half of its value at age 0.

    Between two ages retention is taken to be a straight line. Infinite where half is never reached;
    0 where nothing was right at age 0 either.

    Args:
        retention: (..., A), the share still classified right at the ages 0, 1, …, A - 1.

    Returns:
        (...), in examples: 0 to A - 1, or infinity
    """
    half = retention[..., :1] / 2
    reached = retention <= half
    age = reached.argmax(axis=-1)[..., None]
    after = np.take_along_axis(retention, age, axis=-1)
    before = np.take_along_axis(retention, np.maximum(age - 1, 0), axis=-1)
    drop = before - after
    # At age 0 there is no age before, and the drop is 0: the half-life is that age itself.
    part = np.divide(half - after, drop, out=np.zeros_like(drop), where=drop > 0)
    return np.where(reached.any(axis=-1), (age - part)[..., 0], np.inf)


def curves(records: pd.DataFrame, metric: str, experience: int = WHOLE) -> pd.DataFrame:
    """One metric of every cell as a table: a row a cell, a column a step (or age).

    Args:
        records: tidy records of one benchmark, with the columns of `RECORD_COLUMNS`.
        metric: a name in the column `metric`, such as "accuracy".
        experience: index of an experience, or -1 for all of them together.

    Returns:
        (cells, steps), indexed by (strategy, seed), both sorted; empty where no cell has it.

    Raises:
        DataError: some cell lacks a step that another has, or has one twice.
    """
    rows = records[(records["experience"] == experience) & (records["metric"] == metric)]
    return _wide(rows, ["step"], metric)


def accuracy_matrices(records: pd.DataFrame, boundaries: Sequence[int]) -> pd.DataFrame:
    """The accuracy matrix R of every cell, (E + 1) × E, flattened.

    R[0, j] is the base's accuracy on experience j, R[i, j] the accuracy on j after experience i has
    been learned; experience j itself is learned in row j + 1. Lopez-Paz & Ranzato, "Gradient
    episodic memory for continual learning", NeurIPS 2017, section 2, whose R lacks row 0.

    Args:
        records: tidy records of one benchmark.
        boundaries: E numbers, the examples seen when each experience ends.

    Returns:
        (cells, (E + 1) E), indexed by (strategy, seed), 0 to 1; the columns are the pairs (step,
        experience), row after row of R.

    Raises:
        DataError: as `curves`, or no cell has some entry of the matrix.
    """
    rows = records[(records["experience"] != WHOLE) & records["step"].isin([0, *boundaries])]
    wide = _wide(rows[rows["metric"] == "accuracy"], ["step", "experience"], "accuracy")
    entries = list(itertools.product([0, *boundaries], range(len(boundaries))))
    for step, experience in entries:
        if (step, experience) not in wide:
            raise DataError(
                f"the records hold no accuracy on experience {experience} after step {step}: they "
                f"are not of a stream whose experiences end at {', '.join(map(str, boundaries))}"
            )
    return wide[entries]


def diverged(records: pd.DataFrame) -> pd.Series[int]:
    """The step after which loss or weights were no longer finite, for each cell that diverged.

    Returns:
        Indexed by (strategy, seed); empty where none did.
    """
    rows = records[records["metric"] == "diverged"]
    return rows.set_index(["strategy", "seed"])["step"].sort_index()


def scalars(records: pd.DataFrame, boundaries: Sequence[int]) -> pd.DataFrame:
    """Every cell in a few numbers.

    A cell that diverged stays in: its predictions count as wrong from then on. Forgetting and
    backward transfer are 0 where nothing was ever learned, so that a run which breaks at once would
    be the best of all; in these two, what a diverged cell knew in the past is at least what the
    base knew.

    Args:
        records: tidy records of one benchmark, with the columns of `RECORD_COLUMNS`.
        boundaries: E numbers, the examples seen when each experience ends; the last one is T.

    Returns:
        A row a cell, indexed by (strategy, seed), a column each of `SCALARS`. A metric that the
        benchmark neither records nor defines is NaN throughout.

    Raises:
        DataError: the records are empty, incomplete, ambiguous or of several benchmarks.
    """
    _check(records)
    accuracy = curves(records, "accuracy")
    cells = accuracy.index
    steps = [] if accuracy.empty else [int(step) for step in accuracy.columns]
    if steps != list(range(boundaries[-1] + 1)):
        raise DataError(
            f"the records hold the accuracy after {len(steps)} steps; a stream of {boundaries[-1]} "
            f"examples has {boundaries[-1] + 1}, the base included"
        )

    size = len(boundaries)
    flat = _of_all(cells, accuracy_matrices(records, boundaries), "accuracy on each experience")
    matrix = flat.reshape(len(cells), size + 1, size)
    broken = cells.isin(diverged(records).index)
    past = matrix.copy()
    past[broken, 1:-1] = np.maximum(past[broken, 1:-1], past[broken, :1])

    retention = _of_all(cells, curves(records, "retention"), "retention")
    source = _of_all(cells, curves(records, "source_accuracy"), "source_accuracy")
    values = {
        "final_accuracy": final_accuracy(accuracy.to_numpy()),
        "anytime_accuracy": anytime_accuracy(accuracy.to_numpy()),
        "average_accuracy": average_accuracy(matrix),
        "learning_accuracy": learning_accuracy(matrix),
        "forgetting": forgetting(past),
        "backward_transfer": backward_transfer(past),
        "retention_half_life": half_life(retention[:, : oldest_age(boundaries[-1]) + 1]),
        "source_accuracy_kept": source[:, -1],
    }
    return pd.DataFrame(values, index=cells)[list(SCALARS)]


def _mean(values: Array) -> Array:
    """(..., n) -> (...)"""
    return np.asarray(values.mean(axis=-1))


def _just_learned(matrix: Array) -> Array:
    """(..., E): the accuracy on each experience right after it, R[j+1, j]."""
    return np.diagonal(matrix, offset=-1, axis1=-2, axis2=-1)


def _check(records: pd.DataFrame) -> None:
    missing = [column for column in RECORD_COLUMNS if column not in records]
    if missing:
        raise DataError(f"the records lack the column(s) {', '.join(missing)}")
    if records.empty:
        raise DataError("there are no records: no cell of this run has finished")
    benchmarks = records["benchmark"].unique()
    if len(benchmarks) > 1:
        raise DataError(
            f"the records are of several benchmarks ({', '.join(benchmarks)}): take one at a time"
        )


def _wide(rows: pd.DataFrame, columns: list[str], metric: str) -> pd.DataFrame:
    """Tidy rows of one metric as a table of cells × columns, checked to be whole."""
    twice = rows.duplicated(["strategy", "seed", *columns])
    if twice.any():
        row = rows[twice].iloc[0]
        raise DataError(f"{_cell(row['strategy'], row['seed'])} has a value of {metric} twice")
    # A single column name as a string: pandas then keeps the columns a plain index.
    names = columns if len(columns) > 1 else columns[0]
    wide = rows.pivot(index=["strategy", "seed"], columns=names, values="value")
    gaps = wide.isna().sum(axis=1)
    if gaps.any():
        strategy, seed = wide.index[int(gaps.argmax())]
        raise DataError(
            f"{_cell(strategy, seed)} lacks {gaps.max()} of {wide.shape[1]} values of {metric}: "
            f"remove that cell's records and run it again"
        )
    return wide


def _of_all(cells: pd.Index, table: pd.DataFrame, metric: str) -> Array:
    """(cells, columns): the table's rows; one column of NaN where no cell has the metric."""
    if table.empty:
        return np.full((len(cells), 1), np.nan)
    missing = cells[~cells.isin(table.index)]
    if len(missing):
        raise DataError(
            f"{_cell(*missing[0])} has no {metric}, though others have: "
            f"remove that cell's records and run it again"
        )
    return table.reindex(cells).to_numpy(dtype=np.float64)


def _cell(strategy: str, seed: int) -> str:
    return f"the cell {strategy}, seed {seed}"
