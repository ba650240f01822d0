"""The runner: computes a plan's cells on an executor, reuses finished ones, keeps the books.

It imports neither torch nor avalanche: the work is done in worker processes.
"""

from __future__ import annotations

import multiprocessing
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gtl_bench import __version__
from gtl_bench.cell import Cell, Result, compute, lost, prepare_worker
from gtl_bench.plan import Plan, Request, versions
from gtl_bench.store import RunFolder, record_metadata


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
    progress = Progress(total=len(plan.cells))
    run_cells(plan.cells, folder, executor, progress, on_progress, fresh)
    return progress


def run_cells(
    cells: Sequence[Cell],
    folder: RunFolder,
    executor: Callable[[], Executor],
    progress: Progress,
    on_progress: Callable[[Progress], None],
    fresh: bool = False,
) -> None:
    """As `run`, for some cells, adding to the progress of a larger whole."""
    finished = {} if fresh else folder.finished()
    todo = [cell for cell in cells if cell.key not in finished]
    progress.reused += len(cells) - len(todo)
    progress.done += len(cells) - len(todo)
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


def manifest(
    plan: Plan, folder: RunFolder, request: Request, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """What the run's folder says of itself: command, configuration, versions, cells."""
    seconds = folder.seconds() | dict(seconds)
    finished = folder.finished()
    present = [finished[cell.key] for cell in plan.cells if cell.key in finished]
    about = record_metadata(present[0]) if present else {}
    settings = {cell.strategy: cell.strategy_settings for cell in plan.cells}
    setup = plan.setup
    return {
        "title": setup.title,
        "benchmark": setup.benchmark.name,
        "requested": setup.requested,
        "stand_in_reason": setup.stand_in_reason,
        "benchmark_settings": setup.settings,
        "regime": plan.regime,
        "seeds": request.seeds,
        "device": setup.device,
        "experiences": about.get("experiences", []),
        "boundaries": about.get("boundaries", []),
        "chance": about.get("chance"),
        "strategies": [
            {
                "name": recipe.name,
                "label": recipe.label,
                "control": recipe.control,
                "settings": settings[recipe.name],
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
        "data": dict(setup.data_checksums),
        "command": shlex.join(["python", "-m", "gtl_bench", *sys.argv[1:]]),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {"gtl-bench": __version__} | versions(),
    }
