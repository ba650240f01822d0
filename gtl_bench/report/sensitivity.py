"""The figure of a sweep: the score against the value of a hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gtl_bench.report.claims import mean_of
from gtl_bench.report.figures import CHANCE, TOGETHER, Curve, plot_curve
from gtl_bench.report.info import PRINT, Layout, StrategyInfo
from gtl_bench.report.kinds import kind_of
from gtl_bench.report.sheet import (
    BOTTOM,
    EDGE,
    GAP,
    LEFT,
    LONGEST,
    RIGHT,
    Sheet,
    fit_titles,
    grid,
    headed,
    label_ends,
    name_axes,
    room_for_labels,
    save,
)
from gtl_bench.report.style import SMALL, Look, cut, looks, rc, text_width
from gtl_bench.report.writing import replace_file, write_csv, write_text
from gtl_bench.stats import Array, Interval, mean_interval
from gtl_bench.store import RunFolder, record_metadata
from gtl_bench.sweep import Sweep


@dataclass(frozen=True)
class Swept:
    """A sweep's results, and what its figure says of them.

    Attributes:
        results: from `gtl_bench.sweep.sweep`.
        strategies: in the order in which they are shown.
        title: the benchmark.
        score: what the results are called, such as "Final accuracy".
        key: the hyperparameter.
        logarithmic: whether its axis is.
        chance: the accuracy of guessing, 0 to 1.
        regime: how the other hyperparameters were set.
    """

    results: pd.DataFrame
    strategies: tuple[StrategyInfo, ...]
    title: str
    score: str
    key: str
    logarithmic: bool
    chance: float
    regime: str


@dataclass(frozen=True)
class _Line:
    """A strategy: mean and 95 % band in percent at each value, and where its own value stands."""

    label: str
    look: Look
    values: Array
    band: Interval
    own: int | None


def sensitivity(swept: Swept, layout: Layout = PRINT) -> Sheet:
    """The score against the value, mean and band, a dot at the value that a run would use.

    A strategy that doesn't have the hyperparameter is a level line.
    """
    with rc(layout.scale):
        lines = _lines(swept)
        return (
            _apart(swept, lines, layout)
            if len(lines) > TOGETHER
            else _together(swept, lines, layout)
        )


def _lines(swept: Swept) -> list[_Line]:
    everywhere = np.unique(swept.results["value"].dropna())
    look = looks(swept.strategies)
    lines = []
    for strategy in swept.strategies:
        rows = swept.results[swept.results["strategy"] == strategy.name]
        searched = bool(rows["value"].notna().all())
        values = np.unique(rows["value"]) if searched else everywhere[[0, -1]]
        own = rows.loc[rows["tuned"], "value"].iloc[0]
        finals = [rows[rows["value"] == value] if searched else rows for value in values]
        bands = [mean_interval(100 * final["final_accuracy"].to_numpy()) for final in finals]
        band = Interval(*(np.array(part) for part in zip(*bands)))
        place = int(np.searchsorted(values, own)) if searched else None
        lines.append(_Line(strategy.label, look[strategy.name], values, band, place))
    return lines


def _heading(swept: Swept, layout: Layout, body: float, more: str = "") -> Sheet:
    seeds = swept.results["seed"].nunique()
    spread = f"mean and 95 % band over {seeds} seeds" if seeds > 1 else "1 seed"
    what = f"{swept.score} by {swept.key}{more}; dot: the value that runs use"
    return headed(swept.title, f"{what}; {spread}; {swept.regime}", layout, body)


def _together(swept: Swept, lines: Sequence[_Line], layout: Layout) -> Sheet:
    """All strategies on one pair of axes."""
    labels = [*(cut(line.label, SMALL, LONGEST) for line in lines), "chance"]
    width = layout.width - LEFT - room_for_labels(labels)
    height = {"single": 1.75, "double": 2.3}[layout.column]
    sheet = _heading(swept, layout, BOTTOM + height + 0.06)
    (ax,) = grid(sheet, 1, 1, (LEFT, BOTTOM), (width, height), 0, 0)
    for line in lines:
        _draw(ax, line, sheet.scale)
    _axes(ax, swept, lines, sheet.scale)
    ax.set_xlabel(swept.key)
    ax.set_ylabel(f"{swept.score} (%)")
    ends = [*(float(line.band.mean[-1]) for line in lines), 100 * swept.chance]
    label_ends(sheet, ax, labels, [*(line.look for line in lines), CHANCE], ends)
    return sheet


def _apart(swept: Swept, lines: Sequence[_Line], layout: Layout) -> Sheet:
    """A small panel a strategy, with the means of all the others in grey."""
    across = {"single": 3, "double": 6}[layout.column]
    # The last label of one panel and the first one of the next stand between the two.
    values = np.concatenate([line.values for line in lines])
    ends = sum(text_width(f"{end:g}", SMALL) for end in (values.min(), values.max()))
    gap = max(GAP, ends / 2 + 0.05)
    width = (layout.width - LEFT - RIGHT - (across - 1) * gap) / across
    height = 0.62
    titles, above = fit_titles([line.label for line in lines], width)
    body = BOTTOM + math.ceil(len(lines) / across) * (height + above)
    sheet = _heading(swept, layout, body, ", among the other strategies' means in grey")
    axes = grid(sheet, len(lines), across, (LEFT, BOTTOM), (width, height), gap, above)
    for ax, line, title in zip(axes, lines, titles):
        for other in lines:
            grey = 0.4 * sheet.scale
            ax.plot(other.values, other.band.mean, color="0.8", linewidth=grey, zorder=0)
        _draw(ax, line, sheet.scale)
        _axes(ax, swept, lines, sheet.scale, ticks=2)
        if swept.logarithmic:
            ax.locator_params(axis="x", numticks=3)
        else:
            ax.locator_params(axis="x", nbins=2)
        ax.set_title(title, loc="left")
    name_axes(sheet, axes, swept.key, f"{swept.score} (%)", EDGE)
    return sheet


def _draw(ax: Axes, line: _Line, scale: float) -> None:
    plot_curve(ax, line.values, Curve(line.label, line.look, line.band), scale)
    if line.own is not None:
        ax.plot(
            line.values[line.own],
            line.band.mean[line.own],
            "o",
            color=line.look.colour,
            markersize=3 * scale,
            zorder=3,
            clip_on=False,
        )


def _axes(ax: Axes, swept: Swept, lines: Sequence[_Line], scale: float, ticks: int = 5) -> None:
    """The scales, which the panels share, and the chance level."""
    if swept.logarithmic:
        ax.set_xscale("log")
        ax.tick_params(axis="x", which="minor", bottom=False)
        ax.xaxis.set_major_formatter("{x:g}")
    values = np.concatenate([line.values for line in lines])
    ax.set_xlim(values.min(), values.max())
    highest = max(1.0, *(float(np.nanmax([line.band.mean, line.band.high])) for line in lines))
    ax.set_ylim(0, min(101.0, 10 * math.ceil(highest / 10)))
    ax.locator_params(axis="y", nbins=ticks)
    width = scale * CHANCE.width
    ax.axhline(100 * swept.chance, color=CHANCE.colour, linewidth=width, zorder=1)


def saturation(planned: Sweep, results: pd.DataFrame) -> str:
    """What the lowest and the highest value of a hyperparameter of GTL make of its gain.

    The claim that few scouts are enough is of this kind. The rule is that of claims
    (`gtl_bench.report.claims`).

    Args:
        planned: the sweep.
        results: from `gtl_bench.sweep.sweep`.

    Returns:
        Two sentences; empty where GTL or naive is not in the sweep, GTL has one value alone, or
        naive has values too, so that its own would change with those of GTL.
    """
    finals = results.set_index(["strategy", "seed"])["final_accuracy"]
    values = results.set_index("strategy")["value"]
    if not {"gtl", "naive"} <= set(values.index) or values.loc[["naive"]].notna().any():
        return ""
    low, high = values["gtl"].min(), values["gtl"].max()
    if not low < high:
        return ""
    naive = finals["naive"]
    least, most = (finals[(results["value"] == value).to_numpy()]["gtl"] for value in (low, high))
    at_least, at_most, more = (mean_of(one) for one in (least - naive, most - naive, most - least))
    gtl, alone = (
        next(recipe.label for recipe in planned.strategies if recipe.name == name)
        for name in ("gtl", "naive")
    )
    return (
        f"With {planned.key}={low:g} the gain of {gtl} over {alone} is {at_least}; with "
        f"{planned.key}={high:g} it is {at_most}. That the two differ "
        f"{more.outcome('is shown', 'is shown')}: difference {more}."
    )


def described(planned: Sweep, results: pd.DataFrame, folder: RunFolder) -> Swept:
    """A sweep's results, and what its records say of them.

    Args:
        planned: the sweep.
        results: from `gtl_bench.sweep.sweep`.
        folder: where its records are.
    """
    metadata = record_metadata(next(iter(folder.finished().values())))
    kind = kind_of(metadata["kind"])
    return Swept(
        results,
        tuple(StrategyInfo(r.name, r.label, r.control) for r in planned.strategies),
        planned.setup.title,
        kind.metrics[kind.score].label,
        planned.key,
        planned.logarithmic,
        metadata["chance"],
        planned.regime,
    )


def write_sweep(
    planned: Sweep, results: pd.DataFrame, folder: RunFolder, sentences: str
) -> list[Path]:
    """Write a sweep's figure and table into its folder, and what it says of GTL's gain.

    Args:
        planned: the sweep.
        results: from `gtl_bench.sweep.sweep`.
        folder: where its records are.
        sentences: from `saturation`.

    Returns:
        The files written.

    Raises:
        UsageError: the folder can't be written to.
    """
    sheet = sensitivity(described(planned, results, folder))
    table = results.set_index("strategy")
    written = replace_file(folder.path / "tables" / "sweep.csv", partial(write_csv, table))
    for file_format in ("pdf", "png"):
        path = folder.path / "figures" / f"sensitivity.{file_format}"
        written += replace_file(path, partial(save, sheet, file_format=file_format))
    verdict = folder.path / "tables" / "verdict.md"
    if sentences:
        text = f"**{sentences}**\n\n{planned.setup.title}, {planned.regime}.\n"
        written += replace_file(verdict, partial(write_text, text))
    else:
        verdict.unlink(missing_ok=True)  # of an earlier sweep
    return written
