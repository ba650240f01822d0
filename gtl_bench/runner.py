"""The runner: computes a plan's cells on an executor, reuses finished ones, keeps the books.

It imports neither torch nor avalanche: the work is done in worker processes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import shlex
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from gtl_bench import __version__
from gtl_bench.cell import Cell, Result, compute, lost
from gtl_bench.environment import versions
from gtl_bench.errors import GTLBenchError, Interrupted, RunError
from gtl_bench.machine import commit, processor
from gtl_bench.plan import Plan, Request
from gtl_bench.store import RunFolder, record_metadata

#: Seconds after which an interrupt, or a new worker, is noticed although no cell has ended.
_TICK = 1.0


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        total: number of cells.
        done: those that ended, well or not.
        running: those that are being computed.
        reused: those that were finished before.
        failed: what came of those that did not end well.
        seconds: key -> wall time of those that were computed.
        damaged: cache entries that were set aside and computed again.
        stopped: what ended the run before its time: an interrupt, a full disk, a lost cluster.
    """

    total: int
    done: int = 0
    running: int = 0
    reused: int = 0
    failed: list[Result] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    damaged: list[Path] = field(default_factory=list)
    stopped: GTLBenchError | None = None

    @property
    def finished(self) -> int:
        """The cells that ended well."""
        return self.done - len(self.failed)


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
        executor: makes a `concurrent.futures.Executor`; called again if it breaks. It is given as
            many cells at once as its attribute `width` says, or as this machine has cores.
        on_progress: called whenever a cell ends, and each second.
        fresh: compute finished cells again.

    Returns:
        What was done. SIGINT (Ctrl-C) or SIGTERM lets running cells end and writes them; a second
        one is raised as `KeyboardInterrupt` at once.
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
    before = folder.finished()
    waiting = deque(cell for cell in cells if fresh or cell.key not in before)
    progress.reused += len(cells) - len(waiting)
    progress.done += len(cells) - len(waiting)
    on_progress(progress)

    def keep(result: Result) -> None:
        progress.damaged += result.damaged
        key = result.cell.key
        if result.records is None:
            progress.failed.append(result)
        else:
            try:
                path = folder.write_records(result.cell, result.records)
            except GTLBenchError as error:
                progress.stopped = progress.stopped or error
                return
            if before.get(key, path) != path:
                before[key].unlink(missing_ok=True)
            progress.seconds[key] = round(result.seconds, 3)
        progress.done += 1

    def together(some: deque[Cell]) -> list[tuple[Cell, BaseException]]:
        return _run_together(some, executor, keep, progress, on_progress)

    with _interruptible(progress):
        try:
            while waiting and not progress.stopped:
                for suspect, _ in together(waiting):
                    if progress.stopped:
                        break
                    # A worker died and took the executor with it. Alone, the culprit shows itself.
                    for cell, error in together(deque([suspect])):
                        if not progress.stopped:
                            keep(lost(cell, error))
        except GTLBenchError as error:
            progress.stopped = error
    on_progress(progress)


def stop_if_incomplete(progress: Progress) -> None:
    """For what needs all of its cells: raise what stopped them, or what the first failed of.

    Raises:
        RunError: if a cell failed.
        GTLBenchError: whatever stopped the run.
    """
    if progress.stopped:
        raise type(progress.stopped)(f"{progress.stopped} Repeat the command to go on from here.")
    if progress.failed:
        first = progress.failed[0]
        error = RunError(f"{first.cell.strategy}, seed {first.cell.seed}: {first.error}")
        error.exit_status = first.exit_status
        raise error


def _run_together(
    waiting: deque[Cell],
    executor: Callable[[], Executor],
    keep: Callable[[Result], None],
    progress: Progress,
    on_progress: Callable[[Progress], None],
) -> list[tuple[Cell, BaseException]]:
    """Run cells on one executor until none is waiting, it breaks, or the run is to stop.

    Returns those that were running when it broke, with what it told.
    """
    ended: SimpleQueue[Future[Result]] = SimpleQueue()
    running: dict[Future[Result], Cell] = {}
    left: list[tuple[Cell, BaseException]] = []
    with executor() as pool:
        while True:
            while waiting and not left and not progress.stopped:
                if len(running) >= getattr(pool, "width", os.cpu_count() or 1):
                    break
                cell = waiting.popleft()
                try:
                    future = pool.submit(compute, cell)
                # The latter two where the server died that worker processes are forked from.
                except (BrokenExecutor, OSError, EOFError) as error:
                    left.append((cell, error))
                else:
                    running[future] = cell
                    future.add_done_callback(ended.put)
            progress.running = len(running)
            on_progress(progress)
            if not running:
                return left
            try:
                future = ended.get(timeout=_TICK)
            except Empty:
                continue
            cell = running.pop(future)
            try:
                keep(future.result())
            # Cancelled by an executor whose machines are gone.
            except (BrokenExecutor, CancelledError) as error:
                left.append((cell, error))
            except Exception as error:
                keep(lost(cell, error))


@contextlib.contextmanager
def _interruptible(progress: Progress) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM stop the run when running cells have ended.

    What a cell leaves is written undisturbed: nothing is raised. At the second signal worker
    processes are killed, and `KeyboardInterrupt` is raised.
    """

    def stop(number: int, frame: object) -> None:
        if progress.stopped:
            for process in multiprocessing.active_children():
                process.kill()
            raise KeyboardInterrupt
        progress.stopped = Interrupted("interrupted.")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def manifest(
    plan: Plan,
    folder: RunFolder,
    request: Request,
    seconds: Mapping[str, float],
    failed: Iterable[Result] = (),
) -> dict[str, Any]:
    """What the run's folder says of itself: command, configuration, versions, cells.

    Args:
        plan: the whole of it, whatever part was computed now.
        folder: its folder; what its manifest says of other cells is kept.
        request: what was asked for.
        seconds: key -> wall time of the cells that were computed now.
        failed: those of them that did not end well.
    """
    finished = folder.finished()
    seconds = folder.told("seconds") | dict(seconds)
    errors = folder.told("error") | {result.cell.key: result.error for result in failed}
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
        "each_tuned": plan.each_tuned,
        "seeds": request.seeds,
        "device": setup.device,
        "kind": about.get("kind", "stream"),
        "more": about.get("more", {}),
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
                "error": None if cell.key in finished else errors.get(cell.key),
            }
            for cell in plan.cells
        ],
        "data": dict(setup.data_checksums),
        "command": shlex.join(["python", "-m", "gtl_bench", *sys.argv[1:]]),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(setup.device),
        "commit": commit(),
        "versions": {"gtl-bench": __version__} | versions(),
    }
