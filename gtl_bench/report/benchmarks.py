"""The figure of several runs: the score on each benchmark, and mean ranks over them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from gtl_bench.report.info import Layout, StrategyInfo
from gtl_bench.report.run import Run
from gtl_bench.report.several import Comparison, Ranks, finals, measured
from gtl_bench.report.sheet import (
    EDGE,
    GAP,
    LINE,
    LONGEST,
    RIGHT,
    Reading,
    Sheet,
    fit_titles,
    grid,
    headed,
)
from gtl_bench.report.style import GREY, PALE, SMALL, cut, looks, rc, text_width
from gtl_bench.stats import Interval, mean_interval

#: A dot's size in widths of its line: small enough to leave most intervals to be seen.
DOT = 1.8


def benchmarks(compared: Comparison, layout: Layout) -> Sheet:
    """The score on each benchmark, a panel each, and the mean ranks over them.

    A row a strategy: mean and 95 % interval over seeds. In the panel of ranks, a line as long as
    the critical difference begins at the best one, and what it reaches is not told from it.
    """
    with rc(layout.scale):
        return _benchmarks(compared, layout)


def _benchmarks(compared: Comparison, layout: Layout) -> Sheet:
    strategies, ranks = compared.strategies, compared.ranks
    labels = [cut(strategy.label, SMALL, LONGEST) for strategy in strategies]
    left = EDGE + max(text_width(label, SMALL) for label in labels) + 0.05
    names = [*compared.runs, *(["Mean rank, 1 is best"] if ranks else [])]
    rows = math.ceil(len(names) / {"single": 3, "double": 6}[layout.column])
    across = math.ceil(len(names) / rows)
    width = (layout.width - left - RIGHT - (across - 1) * GAP) / across
    height = LINE * (len(strategies) + 0.7)
    titles, above = fit_titles(names, width)
    ticks = 2 * LINE + 0.06  # their labels, and the unit below
    body = EDGE + rows * (height + above + ticks)
    regimes = dict.fromkeys(run.info.regime for run in compared.runs.values())
    text = f"Mean and 95 % interval over seeds; {'; '.join(regimes)}"
    if ranks:
        text += f"; line among the ranks: the critical difference, {ranks.critical:.2f}"
    title = f"{measured(compared).partition(' (')[0]} in {len(compared.runs)} runs"
    sheet = headed(title, text, layout, body)
    corner = (left, EDGE + ticks)
    axes = grid(sheet, len(names), across, corner, (width, height), GAP, above + ticks)
    for ax, heading in zip(axes, titles):
        ax.set_title(heading, loc="left")
        ax.set_ylim(len(strategies) - 0.5, -1.2)
        ax.set_yticks(range(len(strategies)), labels)
        ax.tick_params(axis="y", length=0)
        ax.tick_params(axis="x", labelbottom=True)
        ax.set_xlabel("%", size=SMALL * sheet.scale, labelpad=1)
        for row in range(len(strategies)):
            ax.axhline(row, color=PALE, linewidth=0.4 * sheet.scale, zorder=0)
    for ax, run in zip(axes, compared.runs.values()):
        _draw_finals(sheet, ax, run, strategies)
    if ranks:
        _draw_ranks(sheet, axes[-1], strategies, ranks)
    return sheet


def _draw_finals(sheet: Sheet, ax: Axes, run: Run, strategies: Sequence[StrategyInfo]) -> None:
    """The strategies' means and intervals on one benchmark, a row each."""
    look = looks(strategies)
    for row, strategy in enumerate(strategies):
        values = 100 * finals(run, strategy.name)
        if not len(values):
            continue
        band = mean_interval(values)
        colour, width = look[strategy.name].colour, look[strategy.name].width * sheet.scale
        ax.plot([band.low, band.high], [row, row], color=colour, linewidth=width)
        ax.plot([band.mean], [row], "o", color=colour, markersize=DOT * width)
        at_once = Interval(*(np.atleast_1d(part) for part in band))
        reading = Reading(ax, strategy.label, colour, np.zeros(1), at_once, ("after the stream",))
        sheet.readings.append(reading)
    low, high = ax.get_xlim()
    if low <= 100 * run.info.chance <= high:
        ax.axvline(100 * run.info.chance, color=GREY, linewidth=0.5 * sheet.scale, zorder=1)
    ax.locator_params(axis="x", nbins=3)


def _draw_ranks(sheet: Sheet, ax: Axes, strategies: Sequence[StrategyInfo], ranks: Ranks) -> None:
    """The strategies' mean ranks, a row each, and the critical difference from the best one on."""
    look = looks(strategies)
    for row, strategy in enumerate(strategies):
        if strategy.name in ranks.mean:
            size = DOT * look[strategy.name].width * sheet.scale
            colour = look[strategy.name].colour
            ax.plot([ranks.mean[strategy.name]], [row], "o", color=colour, markersize=size)
    best, worst = min(ranks.mean.values()), len(ranks.mean)
    end = min(best + ranks.critical, worst)
    ax.plot([best, end], [-0.8, -0.8], color="black", linewidth=1.3 * sheet.scale)
    margin = 0.05 * (worst - 1)
    ax.set_xlim(1 - margin, worst + margin)
    ax.set_xlabel("rank")
    ax.locator_params(axis="x", nbins=3, integer=True)
