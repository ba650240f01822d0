"""What ten thousand cells cost beside their computation: `python tests/scale.py --cells 10000`.

The cells of a real plan are computed by a stand-in that sleeps a millisecond and leaves records of
a small stream. Prints, as JSON, the seconds of each part, what a cell costs over what it costs
where there are a quarter as many, and the peak of memory of the process that planned, resumed and
reported.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from inline import Inline

from gtl_bench import runner
from gtl_bench.cell import Cell, Result
from gtl_bench.data import DataFolder
from gtl_bench.plan import Plan, Request, in_order, plan
from gtl_bench.recipes import discover
from gtl_bench.runner import manifest, run
from gtl_bench.store import RunFolder

STRATEGIES = 10


def request(cells: int) -> Request:
    """Ten strategies, and as many seeds as it takes."""
    names = tuple(in_order(discover())[:STRATEGIES])
    return Request("split-digits", names, seeds=cells // STRATEGIES, untuned=True)


def planned(asked: Request) -> Plan:
    return plan(asked, discover(), DataFolder(Path("/nonexistent"), download=False))


def dry() -> Callable[[Cell], Result]:
    """What takes the place of `gtl_bench.cell.compute`."""
    from gtl_bench.contract import toy
    from gtl_bench.records import series, to_parquet
    from gtl_bench.stream import Course

    scenario = toy()
    steps, tested = scenario.boundaries[-1], len(scenario.test.y)
    about = {
        "experiences": scenario.names,
        "boundaries": scenario.boundaries,
        "chance": 1 / scenario.n_classes,
    }

    def compute(cell: Cell) -> Result:
        time.sleep(0.001)
        rng = np.random.default_rng([cell.seed, *cell.strategy.encode()])
        course = Course(
            steps=np.arange(steps + 1),
            test=rng.random((steps + 1, tested)) < 0.7,
            stream=rng.random((steps + 1, steps)) < 0.8,
            source=rng.random((steps + 1, 10)) < 0.9,
            diverged=None,
        )
        content = to_parquet(
            cell.title, cell.strategy, cell.seed, list(series(course, scenario)), about
        )
        return Result(cell, content, seconds=0.001)

    return compute


def compute_all(cells: int, folder: Path) -> None:
    """The run as such, in a process of its own: a driver doesn't import what computes."""
    runner.compute = dry()
    run_folder = RunFolder(folder / "run")
    run_folder.prepare()
    assert run(planned(request(cells)), run_folder, Inline).finished == cells


def measure(cells: int, place: Path) -> dict[str, float]:
    """Seconds of each part of a run."""
    seconds = {}
    folder = RunFolder(place / "run")

    def timed(what: str, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = call()
        seconds[what] = round(time.perf_counter() - began, 2)
        return result

    def compute() -> None:
        process = multiprocessing.get_context("spawn").Process(
            target=compute_all, args=(cells, place)
        )
        process.start()
        process.join()
        assert process.exitcode == 0

    def resume(todo: Plan, asked: Request) -> None:
        folder.prepare()
        with folder.reserved():
            folder.write_manifest(manifest(todo, folder, asked, {}))
            assert run(todo, folder, Inline).reused == cells
            folder.write_manifest(manifest(todo, folder, asked, {}))

    def report() -> None:
        from gtl_bench.report.run import report_run

        report_run(folder)

    asked = request(cells)
    todo = timed("planning", lambda: planned(asked))
    timed("computing", compute)
    timed("resuming", lambda: resume(todo, asked))
    timed("reporting", report)
    return seconds


def driver_seconds(seconds: dict[str, float]) -> float:
    """Of planning, resuming and reporting, which no cell is computed in."""
    return seconds["planning"] + seconds["resuming"] + seconds["reporting"]


def peak_of_memory() -> float:
    """Of this process, in GiB; `resource` would tell of the process that started it as well."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000)
    cells = parser.parse_args().cells
    with tempfile.TemporaryDirectory() as folder:
        _, fewer, all_ = (
            measure(some, Path(folder, str(some)))
            for some in (10 * STRATEGIES, cells // 4, cells)  # the first for what is imported once
        )
    figures = {
        "cells": cells,
        **all_,
        "planning, resuming and reporting": round(driver_seconds(all_), 2),
        "a cell's share of that, over its share of a quarter of the cells": round(
            driver_seconds(all_) / cells / (driver_seconds(fewer) / (cells // 4)), 2
        ),
        "peak of memory in GiB": round(peak_of_memory(), 2),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
