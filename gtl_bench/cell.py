"""A cell: benchmark × strategy × seed, the unit of running, caching and resuming.

`compute` is what a worker does. It keeps recipes and scenarios in memory from cell to cell.
"""

from __future__ import annotations

import contextlib
import functools
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtl_bench.errors import GTLBenchError, RunError, UsageError
from gtl_bench.rng import Rng, derived_seed

if TYPE_CHECKING:
    from gtl_bench.recipes import Registry
    from gtl_bench.scenario import Scenario


@dataclass(frozen=True)
class Cell:
    """Everything that shapes a cell's numbers, and where to find what it needs.

    Attributes:
        title: the benchmark's title in records and reports; tells of a stand-in.
        benchmark: the benchmark recipe's name.
        benchmark_settings: its parameters, all of them.
        strategy: the strategy recipe's name.
        strategy_settings: its hyperparameters, all of them.
        seed: 0 or more.
        device: "cpu" or "cuda".
        every_step: evaluate after each example; else only before the first and after the last.
        scenario_key: identifies benchmark, parameters, data, code and seed.
        key: identifies the cell.
        recipe_files: files of the user's that hold recipes.
        data_folder: where data sets are.
        cache_folder: where source phases are kept.
    """

    title: str
    benchmark: str
    benchmark_settings: Mapping[str, Any]
    strategy: str
    strategy_settings: Mapping[str, Any]
    seed: int
    device: str
    every_step: bool
    scenario_key: str
    key: str
    recipe_files: tuple[Path, ...]
    data_folder: Path
    cache_folder: Path


@dataclass(frozen=True)
class Result:
    """What a worker gives back for a cell: its records, or why there are none.

    Attributes:
        cell: the cell.
        records: the bytes of a Parquet file, or None.
        error: one line, or None.
        exit_status: what the command line ends with because of the error.
        seconds: wall time.
    """

    cell: Cell
    records: bytes | None
    error: str | None = None
    exit_status: int = 1
    seconds: float = 0.0


def compute(cell: Cell) -> Result:
    """Compute a cell. Raises nothing: an error is part of the result."""
    start = time.perf_counter()
    try:
        with _global_state(derived_seed(cell.seed, f"global {cell.strategy}")):
            records = _records(cell)
    except GTLBenchError as error:
        return Result(cell, None, str(error), error.exit_status)
    except Exception as error:
        from gtl_bench.recipes import one_line

        return Result(cell, None, one_line(error))
    return Result(cell, records, seconds=time.perf_counter() - start)


def _records(cell: Cell) -> bytes:
    from gtl_bench.records import to_parquet
    from gtl_bench.source import Cache, Source
    from gtl_bench.stream import learn

    rng = Rng(cell.seed)
    scenario = _scenario(
        cell.benchmark,
        tuple(sorted(cell.benchmark_settings.items())),
        cell.seed,
        cell.recipe_files,
        cell.data_folder,
    )
    source = Source(
        scenario, rng, key=cell.scenario_key, cache=Cache(cell.cache_folder), device=cell.device
    )
    plugins = _plugins(cell, source)
    course = learn(
        scenario,
        source.model,
        plugins,
        cell.strategy_settings,
        rng,
        cell.device,
        cell.every_step,
    )
    metadata = {
        "key": cell.key,
        "benchmark": cell.benchmark,
        "benchmark_settings": dict(cell.benchmark_settings),
        "strategy": cell.strategy,
        "strategy_settings": dict(cell.strategy_settings),
        "seed": cell.seed,
        "device": cell.device,
        "experiences": scenario.names,
        "boundaries": scenario.boundaries,
        "chance": 1 / scenario.n_classes,
    }
    return to_parquet(cell.title, cell.strategy, cell.seed, course, scenario, metadata)


def _plugins(cell: Cell, source: Any) -> list[Any]:
    """The strategy's plugins.

    Raises:
        UsageError: if its function raises, or returns something else.
    """
    from avalanche.core import BasePlugin

    from gtl_bench.recipes import LEARNER_DEFAULTS, one_line

    recipe = _registry(cell.recipe_files).strategy(cell.strategy)
    own = {k: v for k, v in cell.strategy_settings.items() if k not in LEARNER_DEFAULTS}
    try:
        plugins = recipe.build(source, **own)
    except GTLBenchError:
        raise
    except Exception as error:
        raise UsageError(f"strategy {cell.strategy!r} can't be built: {one_line(error)}") from error
    if not isinstance(plugins, list) or not all(isinstance(p, BasePlugin) for p in plugins):
        raise UsageError(
            f"strategy {cell.strategy!r} returns {type(plugins).__name__}: "
            "it must return a list of Avalanche plugins."
        )
    return plugins


@functools.lru_cache(maxsize=1)
def _registry(files: tuple[Path, ...]) -> Registry:
    from gtl_bench.recipes import discover, load_file

    registry = discover()
    for file in files:
        for recipe in load_file(file):
            registry.add(recipe)
    return registry


@functools.lru_cache(maxsize=8)
def _scenario(
    name: str,
    settings: tuple[tuple[str, Any], ...],
    seed: int,
    files: tuple[Path, ...],
    data_folder: Path,
) -> Scenario:
    """The benchmark as this seed draws it.

    Raises:
        UsageError: if its function raises, for parameters out of range say.
    """
    from gtl_bench.recipes import one_line
    from gtl_bench.scenario import Scenario

    recipe = _registry(files).benchmark(name)
    try:
        scenario = recipe.build(_data(data_folder), Rng(seed), **dict(settings))
    except GTLBenchError:
        raise
    except Exception as error:
        raise UsageError(f"benchmark {name!r} can't be built: {one_line(error)}") from error
    if not isinstance(scenario, Scenario):
        raise UsageError(
            f"benchmark {name!r} returns {type(scenario).__name__}: it must return a Scenario."
        )
    return scenario


@functools.lru_cache(maxsize=1)
def _data(folder: Path) -> Any:
    from gtl_bench.data import DataFolder

    return DataFolder(folder, download=False)


@contextlib.contextmanager
def _global_state(seed: int) -> Iterator[None]:
    """Pin the global random state, for plugins of others that draw from it, and restore it."""
    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - it is the global state that is meant
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def prepare_worker() -> None:
    """Set up a worker process: one thread, and Ctrl-C is the driver's to handle."""
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def lost(cell: Cell) -> Result:
    """The result of a cell whose worker died."""
    error = RunError("its worker process died (killed, or out of memory).")
    return Result(cell, None, str(error), error.exit_status)
