"""XOR in small networks: how many solve it, how many stall.

Experiences are the networks' sizes, such as "2-2-1"; the first one is judged. Records hold

- `accuracy`: the share of networks that have solved XOR after `step` (0, 1, …: each size; −1: the
  first one);
- `stalled`: the share that has stalled, at the last step (each size);
- `steps`: the median number of steps to the solution, of those that have solved it by the last step
  (each size; no row where none has);
- `diverged`: at most one row, at the first look at which a loss was not finite (−1, value 1).

`gtl_bench.experiments.xor` defines what is solved and what has stalled. `RunInfo.more` holds
`networks`, those of one size and seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from gtl_bench import metrics
from gtl_bench.metrics import Metric
from gtl_bench.report.figures import curves_of, draw_curve
from gtl_bench.report.info import PRINT, Layout, RunInfo
from gtl_bench.report.kinds import Kind
from gtl_bench.report.sheet import (
    BOTTOM,
    EDGE,
    HANDLE,
    LEFT,
    LINE,
    LONGEST,
    RIGHT,
    Reading,
    Sheet,
    draw_keys,
    fit_titles,
    grid,
    headed,
    name_axes,
)
from gtl_bench.report.style import PALE, SMALL, cut, looks, rc, text_width
from gtl_bench.report.tables import percent
from gtl_bench.stats import Interval, mean_interval, share_interval

GAP = 0.25  # between panels whose outer ticks are labelled, in inches

JUDGED = 0  # the size that the claim is about

CONTROLS = {"gtl-shuffled": "with the guide shuffled", "gtl-scalar": "with its mean as a scalar"}


def scalars(records: pd.DataFrame, info: RunInfo) -> pd.DataFrame:
    """Solved and stalled (0 to 1) and steps of each cell's networks of the first size."""
    solved = metrics.curves(records, "accuracy").iloc[:, -1]
    stalled = metrics.curves(records, "stalled", JUDGED).iloc[:, -1]
    steps = records[(records["metric"] == "steps") & (records["experience"] == JUDGED)]
    return pd.DataFrame(
        {
            "solved": solved,
            "stalled": stalled,
            "steps": steps.set_index(["strategy", "seed"])["value"],
        }
    )


def pooled(records: pd.DataFrame, info: RunInfo, strategy: str, size: int) -> Interval:
    """The share of a strategy's networks that stalled, over all seeds, and its Wilson interval.

    Args:
        records: of the run.
        info: the run.
        strategy: name of a strategy that has records.
        size: index of an experience.
    """
    shares = metrics.curves(records, "stalled", size).loc[strategy].to_numpy()
    networks = info.more["networks"]
    return share_interval(round(float(shares.sum()) * networks), shares.size * networks)


def claim(scalars: pd.DataFrame, records: pd.DataFrame, info: RunInfo) -> str:
    """Whether no guided run stalls; empty where there is none."""
    names = [strategy.name for strategy in info.among(records["strategy"])]
    if "gtl" not in names:
        return ""
    size = info.experiences[JUDGED]
    found = {name: pooled(records, info, name, JUDGED) for name in names}
    seeds = len(scalars.loc["gtl"])
    runs = seeds * info.more["networks"]
    count = round(float(found["gtl"].mean) * runs)
    waiting = abs(1 - scalars.loc["gtl"]["solved"].mean() - float(found["gtl"].mean))
    verdict = "does not hold" if count else "is not contradicted"
    parts = [
        f"“With guides no run stalls” {verdict}: of {runs} guided {size} networks "
        f"{count or 'none'} stalled, {_text(found['gtl'])}, and another {percent(waiting)} % "
        "had not solved it yet"
    ]
    if "naive" in names:
        text = f"without guides {_text(found['naive'])}"
        table = scalars["stalled"].unstack("strategy")
        paired = (table["gtl"] - table["naive"]).dropna().to_numpy()
        if len(paired) > 1:
            mean, low, high = (percent(float(part), True) for part in mean_interval(paired))
            text += f", a difference of {mean} points ({low} to {high} over {len(paired)} seeds)"
        parts.append(text)
    parts += [f"{how} {_text(found[name])}" for name, how in CONTROLS.items() if name in names]
    return f"{'; '.join(parts)}."


def _text(share: Interval) -> str:
    mean, low, high = (percent(float(part)) for part in share)
    return f"{mean} % (95 % interval {low} to {high})"


def solved(records: pd.DataFrame, info: RunInfo, layout: Layout = PRINT) -> Sheet:
    """The share of networks that have solved XOR along the steps, a panel a size."""
    with rc(layout.scale):
        shown = info.among(records["strategy"])
        look = looks(info.strategies)
        labels = [cut(strategy.label, SMALL, LONGEST) for strategy in shown]
        entry = HANDLE + 0.13 + max(text_width(label, SMALL) for label in labels)
        per_row = max(1, int((layout.width - LEFT) / entry))
        below = LINE * math.ceil(len(labels) / per_row) + 0.04
        size = len(info.experiences)
        across = min(size, {"single": 2, "double": 4}[layout.column])
        rows = math.ceil(size / across)
        width = (layout.width - LEFT - RIGHT - (across - 1) * GAP) / across
        height, bottom = 0.95, BOTTOM + below
        titles, above = fit_titles([f"Networks {name}" for name in info.experiences], width)
        text = f"Networks that have solved XOR; {_seeds(records, info, 'mean and 95 % band')}"
        sheet = headed(
            info.title, f"{text}; {info.regime}", layout, bottom + rows * (height + above)
        )
        axes = grid(sheet, size, across, (LEFT, bottom), (width, height), GAP, above)
        for index, ax in enumerate(axes):
            table = metrics.curves(records, "accuracy", index)
            x = table.columns.to_numpy()
            for curve in curves_of(table, info):
                draw_curve(sheet, ax, x, curve)
            ax.set_xlim(0, x[-1])
            ax.set_ylim(-1, 101)
            ax.locator_params(axis="x", nbins=4)
            ax.set_title(titles[index], loc="left")
        name_axes(sheet, axes, "Steps", "Solved (%)", below + EDGE)
        keys = [(look[strategy.name], label) for strategy, label in zip(shown, labels)]
        draw_keys(sheet, keys, (LEFT, below - LINE / 2), entry, per_row)
        return sheet


def stalled(records: pd.DataFrame, info: RunInfo, layout: Layout = PRINT) -> Sheet:
    """The share of networks that have stalled, by size, with Wilson intervals over all seeds.

    The frozen base, which never moves, has no row: its 100 % would leave no room for the others.
    """
    with rc(layout.scale):
        shown = [s for s in info.among(records["strategy"]) if s.name != "frozen"]
        look = looks(info.strategies)
        labels = [cut(strategy.label, SMALL, LONGEST) for strategy in shown]
        left = EDGE + max((text_width(label, SMALL) for label in labels), default=0) + 0.07
        size = len(info.experiences)
        across = min(size, {"single": 4, "double": 8}[layout.column])
        rows = math.ceil(size / across)
        width = (layout.width - left - RIGHT - (across - 1) * 0.16) / across
        height = LINE * (len(shown) + 0.5)
        titles, above = fit_titles(list(info.experiences), width)
        text = (
            f"Networks that have stalled; 95 % interval (Wilson) of {info.more['networks']} "
            f"initialisations a seed, {_seeds(records, info, 'pooled')}"
        )
        sheet = headed(
            info.title, f"{text}; {info.regime}", layout, BOTTOM + rows * (height + above)
        )
        axes = grid(sheet, size, across, (left, BOTTOM), (width, height), 0.16, above)
        highest = 0.0
        for index, ax in enumerate(axes):
            for row, strategy in enumerate(shown):
                share = pooled(records, info, strategy.name, index)
                band = Interval(*(100 * np.atleast_1d(part) for part in share))
                highest = max(highest, float(band.high[0]))
                colour, line = look[strategy.name].colour, look[strategy.name].width * sheet.scale
                ax.plot([band.low[0], band.high[0]], [row, row], color=colour, linewidth=line)
                ax.plot(band.mean, [row], "o", color=colour, markersize=2.5 * line, clip_on=False)
                at_once = Reading(ax, strategy.label, colour, np.zeros(1), band, ("at the end",))
                sheet.readings.append(at_once)
        for ax, title in zip(axes, titles):
            ax.set_xlim(0, 10 * math.ceil(max(highest, 1) / 10))
            ax.set_ylim(len(shown) - 0.5, -1)
            ax.set_yticks(range(len(shown)), labels)
            ax.tick_params(axis="y", length=0)
            for row in range(len(shown)):
                ax.axhline(row, color=PALE, linewidth=0.4 * sheet.scale, zorder=0)
            ax.locator_params(axis="x", nbins=2)
            ax.set_title(title, loc="left")
        name_axes(sheet, axes, "Stalled (%)", None, EDGE)
        return sheet


def _seeds(records: pd.DataFrame, info: RunInfo, spread: str) -> str:
    """How many seeds there are, after what is made of them where there are several."""
    counts = records.groupby("strategy")["seed"].nunique()
    text = info.seeds_text({str(name): int(count) for name, count in counts.items()})
    return f"{spread} over {text}" if counts.max() > 1 else text


def _figures(info: RunInfo) -> list[Callable[..., Sheet]]:
    return [solved, stalled]


def _notes(info: RunInfo) -> list[str]:
    return [
        f"Of the networks {info.experiences[JUDGED]}: solved, a loss below 0.1 nats at the last "
        "step; stalled, unsolved with a loss that fell by less than 1 % over the last quarter of "
        "the steps; steps, the median of those that solved it."
    ]


KIND = Kind(
    metrics={
        metric.name: metric
        for metric in (
            Metric("solved", "Solved", "%", True),
            Metric("stalled", "Stalled", "%", False),
            Metric("steps", "Steps to solution", "steps", False),
        )
    },
    scalars=scalars,
    figures=_figures,
    plots={
        "solved": ("Networks that have solved XOR, along the steps.", "Steps"),
        "stalled": ("Networks that have stalled at the end.", "Size"),
    },
    claim=claim,
    notes=_notes,
)
