"""Experiences learned in batches, one after another (`gtl_bench.experiments.batch`).

The records hold `accuracy` after each experience, step 0 being the untrained network: on the test
set of each experience (0, 1, …), and their mean (−1); and `diverged` as for a stream. The run's
`more` holds `published`: strategy -> the lowest and the highest final accuracy reported by others,
0 to 1; empty where none are known for the scenario.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gtl_bench import metrics, stats
from gtl_bench.report.info import PRINT, Layout, RunInfo
from gtl_bench.report.kinds import Kind
from gtl_bench.report.tables import percent

if TYPE_CHECKING:
    from gtl_bench.report.sheet import Sheet

#: How far from a published value a mean may be, beside its interval, to count as that value.
MARGIN = 0.01

_METRICS = ("final_accuracy", "learning_accuracy", "forgetting", "backward_transfer")


def _scalars(records: pd.DataFrame, info: RunInfo) -> pd.DataFrame:
    return metrics.scalars(records, info.boundaries)[list(_METRICS)]


def _figures(info: RunInfo) -> list[Callable[..., Sheet]]:
    from gtl_bench.report.figures import accuracy_matrix

    return [final_accuracy, accuracy_matrix]


def _published(info: RunInfo) -> dict[str, tuple[float, float]]:
    """Strategies of the run -> lowest and highest published final accuracy, 0 to 1."""
    known = info.more.get("published", {})
    return {s.name: tuple(known[s.name]) for s in info.strategies if s.name in known}


def _finals(scalars: pd.DataFrame, name: str) -> np.ndarray:
    """The final accuracies of a strategy, (seeds,)."""
    cells = scalars[scalars.index.get_level_values("strategy") == name]
    return np.asarray(cells["final_accuracy"], dtype=np.float64)


def claim(scalars: pd.DataFrame, records: pd.DataFrame, info: RunInfo) -> str:
    """Which of the published final accuracies this run reproduces."""
    published = _published(info)
    reproduced: list[str] = []
    others: list[str] = []
    for strategy in info.strategies:
        values = _finals(scalars, strategy.name)
        if not len(values) or (published and strategy.name not in published):
            continue
        mean, low, high = map(float, stats.mean_interval(values))
        text = f"{strategy.label} {percent(mean)} %"
        if not np.isnan(low):
            text += f" ({percent(low)} to {percent(min(high, 1.0))})"
        if not published:
            others.append(text)
            continue
        least, most = published[strategy.name]
        text += f", published {percent(least)}" + (f"–{percent(most)}" if most > least else "")
        near = least - MARGIN <= mean <= most + MARGIN
        (reproduced if near or (low <= most and high >= least) else others).append(text)
    if not published:
        return (
            "No published values stand beside this scenario; final accuracy, mean over "
            f"{len(info.experiences)} experiences (95 % interval): {'; '.join(others)}."
        )
    total = len(reproduced) + len(others)
    parts = [f"{len(reproduced)} of {total} published values are reproduced, within one point of "]
    parts.append("the mean or within its 95 % interval")
    parts += [f": {'; '.join(reproduced)}"] if reproduced else []
    parts += [f"; not reproduced: {'; '.join(others)}"] if others else []
    return "".join(parts) + "."


def final_accuracy(records: pd.DataFrame, info: RunInfo, layout: Layout = PRINT) -> Sheet:
    """Final accuracy of each strategy, mean over experiences, beside what others reported.

    A row a strategy: its mean with its 95 % interval, its seeds, and the published value, or the
    range of several, as an open box.

    Raises:
        DataError: the records are incomplete.
    """
    from gtl_bench.report.sheet import BOTTOM, EDGE, LINE, LONGEST, RIGHT, Reading, grid, headed
    from gtl_bench.report.style import GREY, PALE, SMALL, cut, looks, rc, text_width

    finals = metrics.curves(records, "accuracy")[info.boundaries[-1]]
    shown = info.among(finals.index.get_level_values("strategy"))
    published = _published(info)
    labels = [cut(strategy.label, SMALL, LONGEST) for strategy in shown]
    left = EDGE + max(text_width(label, SMALL) for label in labels) + 0.06
    row = 1.7 * LINE
    counts = {strategy.name: len(finals.loc[strategy.name]) for strategy in shown}
    text = f"Dots: mean over {info.seeds_text(counts)}"
    text += ", with its 95 % interval; ticks: seeds" if max(counts.values()) > 1 else ""
    text += "; boxes: published by others" if published else ""
    with rc(layout.scale):
        height = row * len(shown)
        figure = headed(info.title, f"{text}; {info.regime}", layout, BOTTOM + height + 0.04)
        panel = (layout.width - left - RIGHT, height)
        (ax,) = grid(figure, 1, 1, (left, BOTTOM), panel, 0, 0)
        scale, look = figure.scale, looks(info.strategies)
        for y, strategy in enumerate(shown):
            values = 100 * finals.loc[strategy.name].to_numpy()
            colour = look[strategy.name].colour
            band = stats.Interval(*np.clip(stats.mean_interval(values), 0, 100)[:, None])
            at_once = ("after the last experience",)
            figure.readings.append(Reading(ax, strategy.label, colour, np.zeros(1), band, at_once))
            if strategy.name in published:
                least, most = (100 * value for value in published[strategy.name])
                ax.fill_betweenx(
                    [y - 0.38, y + 0.38],
                    least - 0.3,
                    most + 0.3,
                    facecolor="white",
                    edgecolor="black",
                    linewidth=0.6 * scale,
                    zorder=2,
                )
            if len(values) > 1:
                ax.plot(values, len(values) * [y + 0.27], "|", color=colour, ms=3 * scale, zorder=3)
                ax.plot(
                    [band.low, band.high],
                    [y, y],
                    color=colour,
                    linewidth=1.1 * scale,
                    solid_capstyle="butt",
                    zorder=3,
                )
            ax.plot(band.mean, y, "o", color=colour, ms=3.2 * scale, zorder=4)
        ax.axvline(100 * info.chance, color=GREY, linewidth=0.5 * scale, zorder=1)
        ax.set_yticks(range(len(shown)), labels)
        ax.set_ylim(len(shown) - 0.5, -0.5)
        drawn = [reading.values for reading in figure.readings]
        lowest = np.nanmin([100 * info.chance, *(float(np.nanmin(band)) for band in drawn)])
        ax.set_xlim(max(0.0, 10 * np.floor(lowest / 10 - 0.5)), 101)
        ax.grid(axis="x", color=PALE, linewidth=0.4 * scale)
        ax.set_axisbelow(True)
        ax.tick_params(axis="y", length=0)
        ax.set_xlabel("Final accuracy (%), mean over experiences")
    return figure


KIND = Kind(
    metrics={name: metrics.SCALARS[name] for name in _METRICS},
    scalars=_scalars,
    figures=_figures,
    plots={
        "final_accuracy": (
            "Accuracy after the last experience, mean over experiences, and published values.",
            "Accuracy",
        ),
        "accuracy_matrix": ("Accuracy on each experience after each experience.", "Tested on"),
    },
    claim=claim,
)
