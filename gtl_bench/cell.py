"""A cell: benchmark × strategy × seed, the unit of running, caching and resuming.

`compute` is what a worker does. It keeps recipes and experiments in memory from cell to cell.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import platform
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from gtl_bench.environment import environment
from gtl_bench.errors import GTLBenchError, RunError, UsageError
from gtl_bench.rng import Rng, derived_seed

if TYPE_CHECKING:
    from gtl_bench.experiment import Experiment
    from gtl_bench.recipes import RecipeFile, Registry
    from gtl_bench.source import Cache


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
        environment: what it is computed with; a worker whose own differs refuses it.
        recipe_files: files of the user's that hold recipes.
        data_folder: where the worker finds data sets, or None for its own place.
        cache_folder: where the worker keeps source phases, or None for its own place.
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
    environment: Mapping[str, str]
    recipe_files: tuple[RecipeFile, ...]
    data_folder: Path | None
    cache_folder: Path | None


@dataclass(frozen=True)
class Result:
    """What a worker gives back for a cell: its records, or why there are none.

    Attributes:
        cell: the cell.
        records: the bytes of a Parquet file, or None.
        error: one line, or None.
        exit_status: what the command line ends with because of the error.
        seconds: wall time.
        damaged: cache entries that were set aside and computed again.
    """

    cell: Cell
    records: bytes | None
    error: str | None = None
    exit_status: int = 1
    seconds: float = 0.0
    damaged: tuple[Path, ...] = ()


#: A cell pins the state of its process, so a process computes one at a time.
_alone = threading.Lock()


def compute(cell: Cell) -> Result:
    """Compute a cell. Raises nothing: an error is part of the result."""
    from gtl_bench.recipes import one_line
    from gtl_bench.source import Cache

    cache = Cache(cell.cache_folder or default_cache_folder())
    with _alone:
        start = time.perf_counter()
        try:
            with _pinned(derived_seed(cell.seed, f"global {cell.strategy}")):
                records = _records(cell, cache)
        except GTLBenchError as error:
            return Result(cell, None, str(error), error.exit_status, damaged=tuple(cache.damaged))
        except BaseException as error:  # a recipe may raise SystemExit as well
            return Result(cell, None, one_line(error), damaged=tuple(cache.damaged))
        seconds = time.perf_counter() - start
    return Result(cell, records, seconds=seconds, damaged=tuple(cache.damaged))


def default_cache_folder() -> Path:
    """Where source phases are kept: `GTL_BENCH_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("GTL_BENCH_CACHE")
    return Path(chosen).absolute() if chosen else user_cache_path("gtl-bench") / "source"


def _records(cell: Cell, cache: Cache) -> bytes:
    import torch

    from gtl_bench.experiment import Trial
    from gtl_bench.records import to_parquet
    from gtl_bench.scenario import SourceTask
    from gtl_bench.source import Source

    _check_environment(cell)
    rng = Rng(cell.seed)
    experiment = _experiment(
        cell.benchmark,
        tuple(sorted(cell.benchmark_settings.items())),
        cell.seed,
        cell.recipe_files,
        cell.data_folder,
    )

    def source(task: SourceTask, name: str = "") -> Source:
        key = f"{cell.scenario_key} {name}" if name else cell.scenario_key
        return Source(task, rng, key=key, cache=cache, device=cell.device)

    measured = experiment.take(
        Trial(
            strategy=cell.strategy,
            settings=cell.strategy_settings,
            plugins=lambda source: _plugins(cell, source),
            source=source,
            rng=rng,
            device=torch.device(cell.device),
            every_step=cell.every_step,
        )
    )
    metadata = {
        "key": cell.key,
        "benchmark": cell.benchmark,
        "benchmark_settings": dict(cell.benchmark_settings),
        "strategy": cell.strategy,
        "strategy_settings": dict(cell.strategy_settings),
        "seed": cell.seed,
        "device": cell.device,
        "kind": experiment.kind,
        "experiences": measured.experiences,
        "boundaries": measured.boundaries,
        "chance": measured.chance,
        **({"more": dict(measured.more)} if measured.more else {}),
    }
    return to_parquet(cell.title, cell.strategy, cell.seed, measured.series, metadata)


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


def _check_environment(cell: Cell) -> None:
    """Refuse a cell whose numbers would be others here.

    Raises:
        RunError: if code, libraries or machine are not those that the run was planned with.
    """
    registry = _registry(cell.recipe_files)
    here = environment(registry.benchmark(cell.benchmark), registry.strategy(cell.strategy))
    other = [name for name, value in cell.environment.items() if here.get(name) != value]
    if other:
        raise RunError(
            f"the worker on {platform.node()} has another {', '.join(other)} than the run was "
            "planned with: install the same there, or repeat the command if you edited it."
        )


@functools.lru_cache(maxsize=1)
def _registry(files: tuple[RecipeFile, ...]) -> Registry:
    from gtl_bench.recipes import discover

    registry = discover()
    for file in files:
        for recipe in file.recipes():
            registry.add(recipe)
    return registry


@functools.lru_cache(maxsize=8)
def _experiment(
    name: str,
    settings: tuple[tuple[str, Any], ...],
    seed: int,
    files: tuple[RecipeFile, ...],
    data_folder: Path | None,
) -> Experiment:
    """The benchmark as this seed draws it.

    Raises:
        UsageError: if its function raises, for parameters out of range say.
    """
    from gtl_bench.experiment import Experiment, SingleExamples
    from gtl_bench.recipes import one_line
    from gtl_bench.scenario import Scenario

    recipe = _registry(files).benchmark(name)
    try:
        built = recipe.build(_data(data_folder), Rng(seed), **dict(settings))
    except GTLBenchError:
        raise
    except Exception as error:
        raise UsageError(f"benchmark {name!r} can't be built: {one_line(error)}") from error
    if isinstance(built, Scenario):
        return SingleExamples(built)
    if not isinstance(built, Experiment):
        raise UsageError(
            f"benchmark {name!r} returns {type(built).__name__}: it must return a Scenario or an "
            "Experiment."
        )
    return built


@functools.lru_cache(maxsize=1)
def _data(folder: Path | None) -> Any:
    from gtl_bench.data import DataFolder

    return DataFolder(folder, download=False)


@contextlib.contextmanager
def _pinned(seed: int) -> Iterator[None]:
    """Pin what a cell's numbers may depend on beside the cell, and restore it.

    That is the number of threads, and the global random state for plugins of others that draw from
    it.
    """
    import numpy as np
    import torch

    from gtl_bench.checks import reseeding_refused

    threads = torch.get_num_threads()
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - it is the global state that is meant
        random.seed(seed)
        try:
            with reseeding_refused():
                yield
        finally:
            torch.set_num_threads(threads)
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def prepare_worker() -> None:
    """Set up a worker process: Ctrl-C is the driver's to handle, and it ends with the driver."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, daemon=True).start()


def _end_with_driver() -> None:
    """End this process when the driver was killed; it would wait for work for ever."""
    driver = multiprocessing.parent_process()
    assert driver is not None
    driver.join()
    os._exit(1)


def lost(cell: Cell, error: BaseException) -> Result:
    """The result of a cell of which nothing came back, because of an error of the executor's."""
    from gtl_bench.recipes import one_line

    # KilledWorker is dask's, which need not be installed.
    if isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker":
        return Result(cell, None, "its worker process died (killed, or out of memory).")
    return Result(cell, None, one_line(error))
