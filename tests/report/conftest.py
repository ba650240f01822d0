"""Records of made-up runs that look like real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gtl_bench.report.info import RunInfo, StrategyInfo
from gtl_bench.report.run import Run

EXPERIENCES = ("0/1", "2/3", "4/5", "6/7", "8/9")
# name: (label, control, how fast it learns, how fast it forgets), both per example
STRATEGIES = {
    "naive": ("Naive", False, 0.20, 0.030),
    "ewc": ("EWC", False, 0.12, 0.014),
    "si": ("SI", False, 0.15, 0.020),
    "gtl": ("GTL", False, 0.16, 0.011),
    "gtl-masked": ("GTL, masked scouts", False, 0.16, 0.008),
    "mas": ("MAS", False, 0.12, 0.016),
    "lwf": ("LwF", False, 0.15, 0.012),
    "l2-anchor": ("L2 anchor", False, 0.08, 0.010),
    "first-layer": ("First layer", False, 0.13, 0.006),
    "last-layer": ("Last layer", False, 0.20, 0.035),
    "gtl-shuffled": ("GTL shuffled", True, 0.15, 0.014),
    "gtl-scalar": ("GTL as scalar", True, 0.15, 0.013),
    "gtl-inverted": ("GTL inverted", True, 0.19, 0.033),
    "slda": ("SLDA", True, 0.20, 0.003),
    "ncm": ("NCM", True, 0.18, 0.004),
    "replay": ("Replay", True, 0.18, 0.005),
    "joint": ("Joint", True, 0.25, 0.0),
    "frozen": ("Frozen", True, 0.0, 0.0),
}
DEFAULT = ("naive", "ewc", "si", "gtl")


def cell(
    strategy: str, seed: int, boundaries: Sequence[int], learns: float, forgets: float
) -> pd.DataFrame:
    """Tidy records of one cell: learning and forgetting as exponentials, plus a wobble."""
    rng = np.random.default_rng([seed, *strategy.encode()])
    base = np.random.default_rng(seed).uniform(0.35, 0.65, len(boundaries))
    examples = boundaries[-1]
    owner = np.searchsorted(boundaries, np.arange(examples), side="right")
    known = np.empty((examples + 1, len(boundaries)))  # accuracy on each experience's test images
    known[0] = base
    for t in range(1, examples + 1):
        own = owner[t - 1]
        known[t] = known[t - 1] * (1 - forgets * rng.uniform(0, 2))
        known[t, own] = known[t - 1, own] + learns * rng.uniform(0, 1) * (0.95 - known[t - 1, own])
    if learns:
        known[1:] += 0.02 * rng.standard_normal(known[1:].shape)
    known = np.clip(np.round(known * 400) / 400, 0, 1)
    # correct[i, t]: is example i classified right after step t + 1?
    threshold = rng.uniform(size=examples)
    correct = threshold[:, None] < known[1:, owner].T

    rows = [("accuracy", t, -1, value) for t, value in enumerate(known.mean(axis=1))]
    for j in range(len(boundaries)):
        rows += [("accuracy", t, j, value) for t, value in enumerate(known[:, j])]
    for t in range(examples):
        rows.append(("stream_accuracy", t + 1, -1, correct[: t + 1, t].mean()))
    for age in range(examples):
        rows.append(("retention", age, -1, np.diagonal(correct, age).mean()))
    for t, loss in enumerate(np.exp(-forgets * np.arange(examples + 1) / 20)):
        rows.append(("source_accuracy", t, -1, 0.98 * loss))
    frame = pd.DataFrame(rows, columns=["metric", "step", "experience", "value"])
    frame.insert(0, "benchmark", "split-digits")
    frame.insert(1, "strategy", strategy)
    frame.insert(2, "seed", seed)
    return frame[["benchmark", "strategy", "seed", "step", "metric", "experience", "value"]]


def made_up(
    names: Sequence[str] = DEFAULT, seeds: int = 5, experiences: int = 5, each: int = 40
) -> tuple[pd.DataFrame, RunInfo]:
    boundaries = tuple(each * (j + 1) for j in range(experiences))
    cells = [
        cell(name, seed, boundaries, *STRATEGIES.get(name, ("", False, 0.1, 0.01))[2:])
        for name in names
        for seed in range(seeds)
    ]
    known = {name: STRATEGIES.get(name, (name, False)) for name in names}
    info = RunInfo(
        title="split-digits (stand-in for split-mnist)",
        experiences=tuple(EXPERIENCES[j % 5] for j in range(experiences)),
        boundaries=boundaries,
        strategies=tuple(StrategyInfo(name, look[0], look[1]) for name, look in known.items()),
        seeds=seeds,
        chance=0.1,
        regime="default settings",
    )
    return pd.concat(cells, ignore_index=True), info


def as_run(records, info, **changes) -> Run:
    """A run with a manifest like those that runs leave."""
    manifest: dict[str, Any] = {
        "title": info.title,
        "benchmark": "split-digits",
        "requested": "split-mnist",
        "stand_in_reason": "No copy of MNIST is here.",
        "benchmark_settings": {"per_class": 20, "split": "report"},
        "regime": info.regime,
        "seeds": info.seeds,
        "device": "cpu",
        "strategies": [
            {"name": s.name, "label": s.label, "control": s.control, "settings": {"lr": 1e-05}}
            for s in info.strategies
        ],
        "cells": [
            {"strategy": s.name, "seed": seed, "key": "0" * 16, "seconds": 1.5 if seed else None}
            for s in info.strategies
            for seed in range(info.seeds)
        ],
        "data": {"digits": "5eed" * 16},
        "command": "python -m gtl_bench run split-mnist --strategies 'naive,./my method.py'",
        "written": "2026-01-02T03:04:05+00:00",
        "python": "3.11.7",
        "platform": "Linux",
        "versions": {"gtl-bench": "0.1.0", "torch": "2.14.1"},
    }
    scalars = info.reported.scalars(records, info)
    return Run(manifest | changes, info, records, scalars)


MadeUp = Callable[..., tuple[pd.DataFrame, RunInfo]]


@pytest.fixture(scope="session")
def make_run() -> MadeUp:
    return made_up


@pytest.fixture(scope="session")
def four() -> tuple[pd.DataFrame, RunInfo]:
    return made_up()


@pytest.fixture(scope="session")
def eighteen() -> tuple[pd.DataFrame, RunInfo]:
    return made_up(tuple(STRATEGIES))
