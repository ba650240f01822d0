"""Sensitivity: every strategy along a ladder of values of one hyperparameter.

It tells a better method from a smaller step: where strategies differ at one value but reach the
same height at values of their own, the value made the difference. Points are cells like any other,
on the seeds and images of reported runs, kept in a folder of records: a sweep that is interrupted,
repeated, goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gtl_bench.cell import Cell
from gtl_bench.data import DataFolder
from gtl_bench.errors import UsageError
from gtl_bench.plan import Setup, choose_strategies, set_up
from gtl_bench.recipes import Linear, Log, Registry, StrategyRecipe, check_learner, resolve
from gtl_bench.runner import Progress, run_cells, stop_if_incomplete
from gtl_bench.store import RunFolder, read_records
from gtl_bench.tuned import Tuned


@dataclass(frozen=True)
class Point:
    """A strategy at one value.

    Attributes:
        recipe: the strategy.
        value: of the hyperparameter; NaN for a strategy that doesn't have it to choose.
        tuned: it is the value that a run would use.
        cells: a cell a seed.
    """

    recipe: StrategyRecipe
    value: float
    tuned: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Sweep:
    """What a sweep is to compute.

    Attributes:
        setup: the benchmark.
        key: the hyperparameter.
        strategies: in the order of legends.
        points: strategy by strategy, value by value.
        logarithmic: whether its ladder is.
        regime: how the other hyperparameters are set, in words.
    """

    setup: Setup
    key: str
    strategies: tuple[StrategyRecipe, ...]
    points: tuple[Point, ...]
    logarithmic: bool
    regime: str


def plan_sweep(
    benchmark: str,
    strategies: Sequence[str],
    key: str,
    registry: Registry,
    data: DataFolder,
    *,
    values: Sequence[str] = (),
    seeds: int = 5,
    settings: Sequence[str] = (),
    tuned: Path | None = None,
    device: str = "cpu",
    data_folder: Path | None = None,
    cache_folder: Path | None = None,
) -> Sweep:
    """Plan a sweep: every strategy that has the hyperparameter, at each value and its own.

    Its own value is the tuned one, or else its default. A strategy that doesn't have it, or whose
    value makes it what it is, is computed once.

    Args:
        benchmark: the benchmark's name.
        strategies: names, as for `run`.
        key: the hyperparameter, such as "lr".
        registry: all recipes.
        data: where data sets are.
        values: of the hyperparameter; a ladder over the strategies' search ranges if empty, which
            needs one that searches it.
        seeds: how many, from 0 on.
        settings: texts KEY=VALUE, of the benchmark's parameters.
        tuned: a file of tuned values; the one that ships with the benchmark if None.
        device: "cpu" or "cuda".
        data_folder: where workers find data sets, or None for each one's own place.
        cache_folder: where workers keep source phases, or None for each one's own place.

    Raises:
        UsageError: for unknown names and wrong values, if no strategy has the hyperparameter as a
            number, and if there are no values and no strategy searches it over numbers.
        DataError: if the data can't be had.
    """
    asked = registry.benchmark(benchmark)
    recipes, files, broken = choose_strategies(strategies, registry, asked)
    if broken:
        raise UsageError(broken[0].reason)
    if not any(_has(recipe, key) for recipe in recipes):
        known = sorted({key for recipe in recipes for key in recipe.search})
        raise UsageError(
            f"--over {key}: none of these strategies has it as a number; they search "
            f"{', '.join(known) or 'nothing'}."
        )
    spaces = [recipe.search[key] for recipe in recipes if key in recipe.search]
    ranges = [space for space in spaces if isinstance(space, Log | Linear)]
    if not (ranges or values):
        raise UsageError(f"--over {key}: no strategy searches it: name values with --values.")
    setup = set_up(
        asked,
        registry,
        data,
        settings=dict(_setting(text) for text in settings),
        recipe_files=files,
        device=device,
        require_data=True,
        data_folder=data_folder,
        cache_folder=cache_folder,
    )
    found = Tuned.of(setup.benchmark, tuned)
    texts = values or [f"{value:g}" for value in ladder(ranges)]
    points = [
        Point(
            recipe, value, is_own, tuple(setup.cell(recipe, full, s, False) for s in range(seeds))
        )
        for recipe in recipes
        for value, is_own, full in _values(recipe, key, texts, found)
    ]
    logarithmic = isinstance(ranges[0], Log) if ranges else _spans_a_power_of_ten(points)
    return Sweep(setup, key, recipes, tuple(points), logarithmic, found.description)


def _has(recipe: StrategyRecipe, key: str) -> bool:
    """Whether a strategy has a hyperparameter as a number that can be chosen."""
    default = recipe.defaults.get(key)
    number = isinstance(default, int | float) and not isinstance(default, bool)
    return number and key not in recipe.pinned


def _spans_a_power_of_ten(points: Sequence[Point]) -> bool:
    values = [point.value for point in points if not math.isnan(point.value)]
    return min(values) > 0 and max(values) >= 10 * min(values)


def ladder(ranges: Sequence[Log | Linear]) -> list[float]:
    """Values over search ranges: 1 and 3 of each power of ten, or six at even distances."""
    low, high = min(space.low for space in ranges), max(space.high for space in ranges)
    if isinstance(ranges[0], Linear):
        return [float(f"{value:.4g}") for value in np.linspace(low, high, 6)]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [float(f"{digit}e{power}") for power in powers for digit in (1, 3)]
    return [step for step in steps if low <= step <= high]


def _values(
    recipe: StrategyRecipe, key: str, texts: Sequence[str], tuned: Tuned
) -> list[tuple[float, bool, dict[str, Any]]]:
    """The strategy's values in rising order: value, whether it is its own, all hyperparameters."""
    own = resolve(recipe, {}, tuned.values(recipe))
    check_learner(recipe.name, own)
    if not _has(recipe, key):
        return [(math.nan, True, own)]
    found = {own[key]: own}
    for text in texts:
        full = resolve(recipe, {key: text}, tuned.values(recipe))
        check_learner(recipe.name, full)
        found.setdefault(full[key], full)
    return [(float(value), value == own[key], found[value]) for value in sorted(found)]


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.removeprefix("benchmark.").partition("=")
    if not equals:
        raise UsageError(f"--set {text}: write benchmark.KEY=VALUE.")
    return key, value


def sweep(
    planned: Sweep,
    folder: RunFolder,
    executor: Callable[[], Executor],
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> pd.DataFrame:
    """Compute a sweep's cells that are not finished.

    Args:
        planned: what to compute.
        folder: where records go; prepared.
        executor: makes an executor of cells.
        on_progress: called whenever a cell ends.

    Returns:
        A row a cell: strategy, value (NaN where the strategy doesn't have it), tuned, seed,
        final_accuracy (0 to 1).

    Raises:
        RunError: if cells fail; what was finished is kept.
        Interrupted: after SIGINT or SIGTERM; likewise.
    """
    cells = [cell for point in planned.points for cell in point.cells]
    progress = Progress(total=len(cells))
    run_cells(cells, folder, executor, progress, on_progress)
    stop_if_incomplete(progress)
    finished = folder.finished()
    rows = []
    for point in planned.points:
        records = read_records([finished[cell.key] for cell in point.cells])
        whole = records[(records["metric"] == "accuracy") & (records["experience"] == -1)]
        final = whole[whole["step"] == whole["step"].max()].set_index("seed")["value"]
        rows += [
            {
                "strategy": point.recipe.name,
                "value": point.value,
                "tuned": point.tuned,
                "seed": cell.seed,
                "final_accuracy": float(final[cell.seed]),
            }
            for cell in point.cells
        ]
    return pd.DataFrame(rows)
