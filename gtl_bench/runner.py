"""The runner: plans cells, runs those that are not finished on an executor, and keeps the books.

It imports neither torch nor avalanche: the work is done in worker processes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from gtl_bench import __version__
from gtl_bench.cell import Cell, Result, compute, lost, prepare_worker
from gtl_bench.data import DataFolder
from gtl_bench.errors import DataError, UsageError
from gtl_bench.recipes import (
    BenchmarkRecipe,
    Broken,
    Registry,
    StrategyRecipe,
    check_learner,
    load_file,
    resolve,
)
from gtl_bench.store import RunFolder, record_metadata

#: Libraries whose version can change a number.
NUMERIC_LIBRARIES = ("torch", "avalanche-lib", "torchvision", "numpy", "scikit-learn")


#: What a run that names no strategies compares.
DEFAULT_STRATEGIES = ("naive", "ewc", "si", "gtl")


def in_order(registry: Registry) -> list[str]:
    """All strategies' names: the default ones first, controls last."""
    first = [name for name in DEFAULT_STRATEGIES if name in registry.strategies]
    rest = sorted(
        (recipe.control, name)
        for name, recipe in registry.strategies.items()
        if name not in DEFAULT_STRATEGIES
    )
    return first + [name for _, name in rest]


@dataclass(frozen=True)
class Plan:
    """What a run is to compute.

    Attributes:
        title: the benchmark's title in everything that the run leaves.
        benchmark: the benchmark that runs.
        requested: the name that was asked for; another than the benchmark's for a stand-in.
        stand_in_reason: why the stand-in takes its place, or None.
        strategies: in the order of tables and legends.
        cells: strategy by strategy, seed by seed.
        broken: recipe files named by the user that could not be loaded.
        data_checksums: data set -> checksum.
    """

    title: str
    benchmark: BenchmarkRecipe
    requested: str
    stand_in_reason: str | None
    strategies: tuple[StrategyRecipe, ...]
    cells: tuple[Cell, ...]
    broken: tuple[Broken, ...]
    data_checksums: Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """What a user asks of a run; see `python -m gtl_bench run --help`."""

    benchmark: str
    strategies: tuple[str, ...] = ()
    seeds: int = 5
    settings: tuple[str, ...] = ()
    device: str = "cpu"
    require_data: bool = False
    data_folder: Path | None = None
    cache_folder: Path | None = None


def plan(request: Request, registry: Registry, data: DataFolder) -> Plan:
    """Turn a request into cells.

    Raises:
        UsageError: for unknown names, settings or values.
        DataError: if the data can't be had and there is no stand-in, or none is wanted.
    """
    if request.seeds < 1:
        raise UsageError(f"--seeds {request.seeds}: it must be 1 or more.")
    asked = registry.benchmark(request.benchmark)
    strategies, files, broken = _strategies(request.strategies, registry)
    settings = _settings(request.settings, [recipe.name for recipe in strategies])
    benchmark, reason = _with_data(asked, registry, data, request.require_data)
    title = benchmark.name if benchmark is asked else f"{benchmark.name} (stand-in for {asked.name})"
    benchmark_settings = resolve(benchmark, settings.get("benchmark", {}))
    checksums = {name: data.checksum(name) for name in benchmark.data}
    common = {
        "benchmark": [benchmark.name, benchmark_settings, benchmark.checksum],
        "data": checksums,
        "code": _code_checksum(),
        "versions": _versions(),
        "machine": [platform.machine(), request.device],
    }
    cells = []
    for recipe in strategies:
        values = resolve(recipe, settings.get(recipe.name, {}))
        check_learner(recipe.name, values)
        for seed in range(request.seeds):
            scenario_key = _key(common, seed)
            cells.append(
                Cell(
                    title=title,
                    benchmark=benchmark.name,
                    benchmark_settings=benchmark_settings,
                    strategy=recipe.name,
                    strategy_settings=values,
                    seed=seed,
                    device=request.device,
                    scenario_key=scenario_key,
                    key=_key(scenario_key, title, recipe.name, values, recipe.checksum),
                    recipe_files=files,
                    data_folder=data.path,
                    cache_folder=request.cache_folder or default_cache_folder(),
                )
            )
    return Plan(
        title, benchmark, asked.name, reason, strategies, tuple(cells), broken, checksums
    )


def default_cache_folder() -> Path:
    """Where source phases are kept: `GTL_BENCH_CACHE`, else the user's cache folder."""
    chosen = os.environ.get("GTL_BENCH_CACHE")
    return Path(chosen).absolute() if chosen else user_cache_path("gtl-bench") / "source"


def _key(*parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _versions() -> dict[str, str]:
    return {name: version(name) for name in NUMERIC_LIBRARIES}


@functools.cache
def _code_checksum() -> str:
    """SHA-256 of the modules that numbers come from."""
    package = Path(__file__).parent
    names = "cell data gtl learner models records regularizers rng scenario source stream".split()
    files: list[Path] = []
    for name in names:
        folder = package / name
        files += sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _strategies(
    names: Sequence[str], registry: Registry
) -> tuple[tuple[StrategyRecipe, ...], tuple[Path, ...], tuple[Broken, ...]]:
    """The strategies asked for; the user's own files; those of them that don't load."""
    chosen: dict[str, StrategyRecipe] = {}
    files: list[Path] = []
    broken: list[Broken] = []
    for name in names or DEFAULT_STRATEGIES:
        if name.endswith(".py"):
            try:
                recipes = load_file(Path(name))
            except UsageError as error:
                broken.append(Broken(name, str(error)))
                continue
            for recipe in recipes:
                registry.add(recipe)
                if isinstance(recipe, StrategyRecipe):
                    chosen[recipe.name] = recipe
            files.append(Path(name).resolve())
        elif name == "all":
            chosen |= {known: registry.strategy(known) for known in in_order(registry)}
        else:
            chosen[name] = registry.strategy(name)
    if not chosen:
        raise UsageError(broken[0].reason if broken else "no strategy to run.")
    return tuple(chosen.values()), tuple(files), tuple(broken)


def _settings(texts: Iterable[str], strategies: Sequence[str]) -> dict[str, dict[str, str]]:
    """`owner.key=value` texts as owner -> key -> value."""
    settings: dict[str, dict[str, str]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        owner, dot, key = target.rpartition(".")
        if not (equals and dot and owner and key):
            raise UsageError(
                f"--set {text}: write STRATEGY.KEY=VALUE or benchmark.KEY=VALUE, "
                "such as gtl.lr=0.01."
            )
        if owner != "benchmark" and owner not in strategies:
            raise UsageError(
                f"--set {text}: {owner!r} takes no part in this run, which has "
                f"benchmark, {', '.join(strategies)}."
            )
        settings.setdefault(owner, {})[key] = value
    return settings


def _with_data(
    asked: BenchmarkRecipe, registry: Registry, data: DataFolder, require_data: bool
) -> tuple[BenchmarkRecipe, str | None]:
    """The benchmark, or its stand-in with the reason where the data can't be had."""
    try:
        for name in asked.data:
            data.ensure(name)
    except DataError as error:
        if require_data or asked.stand_in is None:
            raise
        return registry.benchmark(asked.stand_in), str(error)
    return asked, None


@dataclass
class Progress:
    """How far a run is. `on_result` is told of each cell as it ends."""

    total: int
    done: int = 0
    reused: int = 0
    failed: list[Result] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False


def run(
    plan: Plan,
    folder: RunFolder,
    executor: Callable[[], Executor],
    on_progress: Callable[[Progress], None] = lambda progress: None,
    fresh: bool = False,
) -> Progress:
    """Compute the plan's cells that are not finished and write what they leave.

    Args:
        plan: what to compute.
        folder: where records go; prepared.
        executor: makes a `concurrent.futures.Executor`; called again if it breaks.
        on_progress: called whenever a cell ends.
        fresh: compute finished cells again.

    Returns:
        What was done. An interrupt (Ctrl-C) lets running cells end and writes them; a second one
        is raised as `KeyboardInterrupt`.
    """
    finished = {} if fresh else folder.finished()
    todo = [cell for cell in plan.cells if cell.key not in finished]
    progress = Progress(total=len(plan.cells), reused=len(plan.cells) - len(todo))
    progress.done = progress.reused
    on_progress(progress)

    def keep(result: Result) -> None:
        progress.done += 1
        if result.records is None:
            progress.failed.append(result)
        else:
            folder.write_records(result.cell, result.records)
            progress.seconds[result.cell.key] = round(result.seconds, 3)
        on_progress(progress)

    suspects = _run_together(todo, executor, keep, progress)
    for cell in suspects:
        # A worker died and took the executor with it. Alone, the culprit shows itself.
        if progress.interrupted:
            break
        for unlucky in _run_together([cell], executor, keep, progress):
            keep(lost(unlucky))
    return progress


def _run_together(
    cells: Sequence[Cell],
    executor: Callable[[], Executor],
    keep: Callable[[Result], None],
    progress: Progress,
) -> list[Cell]:
    """Run cells on one executor; returns those that were left when it broke."""
    if not cells:
        return []
    with executor() as pool:
        running: dict[Future[Result], Cell] = {pool.submit(compute, cell): cell for cell in cells}
        left: list[Cell] = []
        while running:
            try:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    cell = running.pop(future)
                    try:
                        keep(future.result())
                    except BrokenExecutor:
                        left.append(cell)
            except KeyboardInterrupt:
                if progress.interrupted:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
                progress.interrupted = True
                for future in list(running):
                    if future.cancel():
                        del running[future]
    return left


def local_executor(workers: int) -> Executor:
    """Worker processes on this machine, one thread each.

    They are forked from a server process that has imported what they need and computed nothing,
    where the platform has such servers.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(["gtl_bench.worker"])
    return ProcessPoolExecutor(workers, mp_context=context, initializer=prepare_worker)


def manifest(plan: Plan, folder: RunFolder, request: Request, seconds: Mapping[str, float]) -> dict[str, Any]:
    """What the run's folder says of itself: command, configuration, versions, cells."""
    finished = folder.finished()
    present = [finished[cell.key] for cell in plan.cells if cell.key in finished]
    about = record_metadata(present[0]) if present else {}
    return {
        "title": plan.title,
        "benchmark": plan.benchmark.name,
        "requested": plan.requested,
        "stand_in_reason": plan.stand_in_reason,
        "benchmark_settings": plan.cells[0].benchmark_settings,
        "seeds": request.seeds,
        "device": request.device,
        "experiences": about.get("experiences", []),
        "boundaries": about.get("boundaries", []),
        "chance": about.get("chance"),
        "strategies": [
            {
                "name": recipe.name,
                "label": recipe.label,
                "control": recipe.control,
                "settings": next(
                    c.strategy_settings for c in plan.cells if c.strategy == recipe.name
                ),
            }
            for recipe in plan.strategies
        ],
        "cells": [
            {
                "strategy": cell.strategy,
                "seed": cell.seed,
                "key": cell.key,
                "seconds": seconds.get(cell.key),
            }
            for cell in plan.cells
        ],
        "data": dict(plan.data_checksums),
        "command": shlex.join(["python", "-m", "gtl_bench", *sys.argv[1:]]),
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {"gtl-bench": __version__} | _versions(),
    }
