"""The figures of a run.

Each function takes a run's records and returns a matplotlib figure as wide as one or two columns,
drawn at the size it is printed. Lines are means over seeds, bands their 95 % intervals
(`gtl_bench.stats`). Up to `TOGETHER` strategies share a pair of axes, each with its label at the
end of its line; of more, each gets a small panel or a row of its own, where it can be followed.
Labels and keys stand outside the axes, so that they never cover data.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from gtl_bench import metrics
from gtl_bench.report.info import PRINT, Layout, RunInfo
from gtl_bench.report.sheet import (
    BOTTOM,
    EDGE,
    GAP,
    HANDLE,
    LEFT,
    LINE,
    LONGEST,
    RIGHT,
    Reading,
    Sheet,
    colour_bar,
    draw_keys,
    fit_ticks,
    fit_titles,
    grid,
    headed,
    label_ends,
    name_axes,
    room_for_labels,
)
from gtl_bench.report.style import (
    GREY,
    PALE,
    SEQUENTIAL,
    SMALL,
    Look,
    cut,
    looks,
    rc,
    text_width,
)
from gtl_bench.stats import Interval, mean_interval

TOGETHER = 8  # strategies on one pair of axes
BACKGROUND = 51  # points of a line that stands behind another

CHANCE = Look(GREY, (), 0.5)

Drawing = Callable[[pd.DataFrame, RunInfo, Layout], Sheet]


@dataclass(frozen=True)
class Curve:
    """A strategy's line: mean and 95 % band, each (points,)."""

    label: str
    look: Look
    band: Interval


def drawn_for_layout(draw: Drawing) -> Callable[..., Sheet]:
    """Matplotlib's settings for the layout while a figure is drawn."""

    @functools.wraps(draw)
    def drawn(records: pd.DataFrame, info: RunInfo, layout: Layout = PRINT) -> Sheet:
        with rc(layout.scale):
            return draw(records, info, layout)

    return drawn


def of_run(info: RunInfo) -> list[Callable[..., Sheet]]:
    """What there is to draw of a run: forgetting and matrix need several experiences."""
    several = len(info.experiences) > 1
    return [accuracy, retention, *([forgetting, accuracy_matrix] if several else [])]


@drawn_for_layout
def accuracy(records: pd.DataFrame, info: RunInfo, layout: Layout) -> Sheet:
    """Accuracy on the whole test set along the stream.

    Raises:
        DataError: the records are incomplete.
    """
    table = metrics.curves(records, "accuracy")
    if len(info.strategies) > TOGETHER:
        return _panels(table, info, layout, "Test accuracy", "Examples seen")
    return _together(table, info, layout, "Test accuracy", "Examples seen")


@drawn_for_layout
def retention(records: pd.DataFrame, info: RunInfo, layout: Layout) -> Sheet:
    """The share of the stream's examples that are still classified right, against their age.

    Ages that fewer than a quarter of the examples reach are left out (`metrics.oldest_age`).

    Raises:
        DataError: the records are incomplete.
    """
    table = metrics.curves(records, "retention")
    table = table.loc[:, : metrics.oldest_age(info.boundaries[-1])]
    if len(info.strategies) > TOGETHER:
        return _panels(table, info, layout, "Still classified right", "Age (examples)")
    return _together(table, info, layout, "Still classified right", "Age (examples)")


@drawn_for_layout
def forgetting(records: pd.DataFrame, info: RunInfo, layout: Layout) -> Sheet:
    """Accuracy on each experience's test images along the stream, a small panel an experience.

    The time in which the experience itself is learned is shaded, or, where strategies are rows,
    marked by a bar above the panel.

    Raises:
        DataError: the records are incomplete.
    """
    tables = [metrics.curves(records, "accuracy", j) for j in range(len(info.experiences))]
    if len(info.strategies) > TOGETHER:
        return _forgetting_rows(tables, info, layout)
    return _forgetting_lines(tables, info, layout)


@drawn_for_layout
def accuracy_matrix(records: pd.DataFrame, info: RunInfo, layout: Layout) -> Sheet:
    """The accuracy matrix of each strategy, mean over seeds, as a heat map in percent.

    A row is a state (the base, then after each experience), a column the experience tested; a frame
    marks the experience that the state has just learned.

    Raises:
        DataError: the records are incomplete.
    """
    table = metrics.accuracy_matrices(records, info.boundaries) * 100
    shown = info.among(table.index.get_level_values("strategy"))
    size = len(info.experiences)
    names = [cut(name, SMALL, LONGEST) for name in info.experiences]
    states = ["base", *names]

    left = EDGE + LINE + max(text_width(state, SMALL) for state in states) + 0.05
    most = {"single": 2, "double": 4} if len(shown) <= TOGETHER else {"single": 3, "double": 6}
    across = min(len(shown), most[layout.column])
    width = (layout.width - left - EDGE - (across - 1) * 0.08) / across
    cell = width / size
    upright = max(text_width(name, SMALL) for name in names) > cell
    numbers = text_width("100", SMALL) < 0.95 * cell

    foot = EDGE + 2 * LINE + 0.04
    if upright:
        foot += max(text_width(name, SMALL) for name in names) - LINE
    every = math.ceil(LINE / cell) if upright else 1
    key = 0 if numbers else 0.3
    height = 0.13 * (size + 1)
    rows = math.ceil(len(shown) / across)
    titles, above = fit_titles([strategy.label for strategy in shown], width)
    body = key + foot + rows * (height + above)
    what = "Accuracy (%) on each experience after each experience"
    figure = on_sheet(info, what, table, layout, body, band=False)
    axes = grid(figure, len(shown), across, (left, key + foot), (width, height), 0.08, above)
    for strategy, ax, title in zip(shown, axes, titles, strict=True):
        cells = table.loc[strategy.name].to_numpy()
        band = Interval(*(part.reshape(size + 1, size) for part in mean_interval(cells)))
        values = band.mean
        for row, state in enumerate(("base", *(f"after {e}" for e in info.experiences))):
            part = Interval(*(part[row] for part in band))
            x = np.linspace(0.5, size - 0.5, size)
            figure.readings.append(Reading(ax, state, None, x, part, info.experiences))
        ax.pcolormesh(
            values,
            cmap=SEQUENTIAL,
            vmin=0,
            vmax=100,
            edgecolors="white",
            linewidth=0.4 * figure.scale,
        )
        if numbers:
            for (row, j), value in np.ndenumerate(values):
                ink = "white" if value > 65 else "black"
                ax.text(
                    j + 0.5,
                    row + 0.5,
                    f"{value:.0f}",
                    size=SMALL * figure.scale,
                    color=ink,
                    ha="center",
                    va="center_baseline",
                )
        ax.invert_yaxis()
        ax.set_xticks(
            np.arange(0, size, every) + 0.5,
            names[::every],
            rotation=90 if upright else 0,
        )
        ax.set_yticks(np.arange(size + 1) + 0.5, states)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        for j in range(size):
            ax.add_patch(
                Rectangle(
                    (j, j + 1), 1, 1, fill=False, edgecolor="black", linewidth=0.7 * figure.scale
                )
            )
        ax.set_title(title, loc="left")
    name_axes(figure, axes, "Tested on", "After learning", key + EDGE)
    if not numbers:
        colour_bar(figure, left)
    return figure


def _together(table: pd.DataFrame, info: RunInfo, layout: Layout, what: str, x_label: str) -> Sheet:
    """All strategies on one pair of axes, each with its label at the end of its line."""
    curves = curves_of(table, info)
    stream = x_label == "Examples seen" and len(info.experiences) > 1
    labels = [*(cut(curve.label, SMALL, LONGEST) for curve in curves), "chance"]
    width = layout.width - LEFT - room_for_labels(labels)
    height = {"single": 1.75, "double": 2.3}[layout.column]
    above = LINE if stream else 0.06
    figure = on_sheet(info, what, table, layout, BOTTOM + height + above)
    (ax,) = grid(figure, 1, 1, (LEFT, BOTTOM), (width, height), 0, 0)
    x = table.columns.to_numpy()
    for curve in curves:
        draw_curve(figure, ax, x, curve)
    _percent_axes(ax, int(x[-1]), top_of(curves))
    if stream:
        _mark_experiences(ax, info, width, figure.scale)
    mark_chance(ax, info, figure.scale)
    ax.set_xlabel(x_label)
    ax.set_ylabel(f"{what} (%)")

    ends = [*(float(curve.band.mean[-1]) for curve in curves), 100 * info.chance]
    label_ends(figure, ax, labels, [*(curve.look for curve in curves), CHANCE], ends)
    return figure


def _panels(table: pd.DataFrame, info: RunInfo, layout: Layout, what: str, x_label: str) -> Sheet:
    """A small panel a strategy, with the means of all the others in grey."""
    curves = curves_of(table, info)
    across = {"single": 3, "double": 6}[layout.column]
    width = (layout.width - LEFT - RIGHT - (across - 1) * GAP) / across
    height = 0.62
    rows = math.ceil(len(curves) / across)
    titles, above = fit_titles([curve.label for curve in curves], width)
    stream = x_label == "Examples seen" and len(info.experiences) > 1
    text = f"{what}, among the other strategies' means in grey; straight line: chance"
    if stream:
        text += f"; ticks part the experiences {', '.join(info.experiences)}"
    figure = on_sheet(info, text, table, layout, BOTTOM + rows * (height + above))
    axes = grid(figure, len(curves), across, (LEFT, BOTTOM), (width, height), GAP, above)
    x = table.columns.to_numpy()
    # All points of every line in every panel would make files of megabytes.
    some = np.unique(np.linspace(0, len(x) - 1, BACKGROUND).astype(int))
    for ax, curve, title in zip(axes, curves, titles, strict=True):
        for other in curves:
            mean = other.band.mean[some]
            ax.plot(x[some], mean, color="0.8", linewidth=0.4 * figure.scale, zorder=0)
        mark_chance(ax, info, figure.scale)
        draw_curve(figure, ax, x, curve)
        _percent_axes(ax, int(x[-1]), top_of(curves), ticks=2)
        if stream:
            ax.set_xticks(fit_ticks((0, *info.boundaries), width))
            ax.set_xticks(info.boundaries, minor=True)
        ax.set_title(title, loc="left")
    name_axes(figure, axes, x_label, f"{what} (%)", EDGE)
    return figure


def _forgetting_lines(tables: list[pd.DataFrame], info: RunInfo, layout: Layout) -> Sheet:
    """Panels in which every strategy is a line, with a key in the free cell or below."""
    size = len(tables)
    across = min(size, {"single": 2, "double": 3}[layout.column] + (size > 6))
    rows = math.ceil(size / across)
    width = (layout.width - LEFT - RIGHT - (across - 1) * GAP) / across
    height = 0.95
    curves = [curves_of(table, info) for table in tables]
    keys = [(curve.look, cut(curve.label, SMALL, LONGEST)) for curve in curves[0]]
    keys.append((CHANCE, "chance"))
    entry = HANDLE + 0.13 + max(text_width(label, SMALL) for _, label in keys)
    free = rows * across > size and entry < width
    per_row = 1 if free else max(1, int((layout.width - LEFT) / entry))
    below = 0 if free else LINE * math.ceil(len(keys) / per_row) + 0.04

    titles, above = fit_titles([f"Experience {name}" for name in info.experiences], width)
    what = "Accuracy on each experience's test images, its own time shaded"
    bottom = BOTTOM + below
    figure = on_sheet(info, what, tables[0], layout, bottom + rows * (height + above))
    axes = grid(figure, size, across, (LEFT, bottom), (width, height), GAP, above)
    top = max(top_of(of_experience) for of_experience in curves)
    starts = (0, *info.boundaries)
    for j, ax in enumerate(axes):
        ax.axvspan(starts[j], starts[j + 1], color=PALE, linewidth=0, zorder=0)
        mark_chance(ax, info, figure.scale)
        for curve in curves[j]:
            draw_curve(figure, ax, tables[j].columns.to_numpy(), curve)
        _percent_axes(ax, info.boundaries[-1], top, ticks=4)
        ax.set_xticks(fit_ticks(starts, width))
        ax.set_title(titles[j], loc="left")
    name_axes(figure, axes, "Examples seen", "Accuracy (%)", below + EDGE)

    x = LEFT + (across - 1) * (width + GAP) + 0.1 if free else LEFT
    y = BOTTOM + height - LINE / 2 if free else below - LINE / 2
    draw_keys(figure, keys, (x, y), entry, per_row)
    return figure


def _forgetting_rows(tables: list[pd.DataFrame], info: RunInfo, layout: Layout) -> Sheet:
    """Panels in which every strategy is a row whose shade is its mean accuracy."""
    size = len(tables)
    shown = info.among(tables[0].index.get_level_values("strategy"))
    labels = [cut(strategy.label, SMALL, LONGEST) for strategy in shown]
    left = EDGE + max(text_width(label, SMALL) for label in labels) + 0.05
    across = min(size, {"single": 2, "double": 3}[layout.column])
    rows = math.ceil(size / across)
    width = (layout.width - left - RIGHT - (across - 1) * GAP) / across
    height = LINE * len(shown)
    key, bar = 0.3, 0.05
    titles, above = fit_titles([f"Experience {name}" for name in info.experiences], width)
    above += bar
    what = "Accuracy on each experience's test images, its own time under the bar"
    body = key + BOTTOM + rows * (height + above)
    figure = on_sheet(info, what, tables[0], layout, body, band=False)
    axes = grid(figure, size, across, (left, key + BOTTOM), (width, height), GAP, above)
    end = info.boundaries[-1]
    starts = (0, *info.boundaries)
    for j, ax in enumerate(axes):
        bands = [mean_interval(100 * tables[j].loc[s.name].to_numpy()) for s in shown]
        x = tables[j].columns.to_numpy()
        for strategy, band in zip(shown, bands):
            figure.readings.append(Reading(ax, strategy.label, None, x, band))
        ax.imshow(
            np.stack([band.mean for band in bands]),
            aspect="auto",
            cmap=SEQUENTIAL,
            vmin=0,
            vmax=100,
            extent=(-0.5, end + 0.5, len(shown), 0),
            interpolation="nearest",
        )
        for row in range(1, len(shown)):
            ax.axhline(row, color="white", linewidth=0.4 * figure.scale)
        ax.plot(
            starts[j : j + 2],
            2 * [1 + 0.6 * bar / height],
            transform=ax.get_xaxis_transform(),
            clip_on=False,
            color="black",
            linewidth=1.5 * figure.scale,
            solid_capstyle="butt",
        )
        ax.set_xticks(fit_ticks(starts, width))
        ax.set_yticks(np.arange(len(shown)) + 0.5, labels)
        ax.tick_params(axis="y", length=0)
        ax.set_title(titles[j], loc="left", pad=figure.scale * (2 + 72 * bar))
    name_axes(figure, axes, "Examples seen", None, key + EDGE)
    colour_bar(figure, left)
    return figure


def curves_of(table: pd.DataFrame, info: RunInfo, unit: float = 100) -> list[Curve]:
    """The strategies' lines, in order; those without any cell are left out.

    Args:
        table: from `metrics.curves`.
        info: the run.
        unit: what values are multiplied by, 100 for shares.
    """
    shown = info.among(table.index.get_level_values("strategy"))
    look = looks(info.strategies)
    return [
        Curve(s.label, look[s.name], mean_interval(unit * table.loc[s.name].to_numpy()))
        for s in shown
    ]


def draw_curve(sheet: Sheet, ax: Axes, x: np.ndarray, curve: Curve, unit: str = " %") -> None:
    """A strategy's line with its band, which the page reads out in this unit."""
    sheet.readings.append(Reading(ax, curve.label, curve.look.colour, x, curve.band, unit=unit))
    plot_curve(ax, x, curve, sheet.scale)


def plot_curve(ax: Axes, x: np.ndarray, curve: Curve, scale: float) -> None:
    """A strategy's line with its band."""
    look = curve.look
    ax.plot(
        x,
        curve.band.mean,
        color=look.colour,
        linewidth=scale * look.width,
        dashes=look.dashes,
        zorder=2.1 if look.dashes else 2,  # a solid line shows through the gaps of one above it
    )
    ax.fill_between(
        x,
        curve.band.low,
        curve.band.high,
        color=look.colour,
        alpha=0.16,
        linewidth=0,
        zorder=1.5,
    )


def mark_chance(ax: Axes, info: RunInfo, scale: float) -> None:
    """The level of guessing, as a line behind all others."""
    width = scale * CHANCE.width
    ax.axhline(100 * info.chance, color=CHANCE.colour, linewidth=width, zorder=1)


def top_of(curves: Sequence[Curve]) -> float:
    """The next ten percent above every mean and band; a little above 100 to show lines there."""
    highest = max(float(np.nanmax([curve.band.mean, curve.band.high])) for curve in curves)
    return min(101.0, 10 * math.ceil(highest / 10))


def _percent_axes(ax: Axes, last: int, top: float, ticks: int = 5) -> None:
    ax.set_xlim(0, last)
    ax.set_ylim(0, top)
    ax.locator_params(axis="y", nbins=ticks)


def _mark_experiences(ax: Axes, info: RunInfo, width: float, scale: float) -> None:
    """Boundaries as lines; names above the axes, every k-th where not all of them fit."""
    starts = (0, *info.boundaries)
    ax.set_xticks(fit_ticks(starts, width))
    for boundary in info.boundaries[:-1]:
        ax.axvline(boundary, color=PALE, linewidth=0.6 * scale, zorder=0)
    share = width / len(info.experiences)
    widest = max(text_width(name, SMALL) for name in info.experiences)
    for j in range(0, len(info.experiences), math.ceil((widest + 0.03) / share)):
        ax.text(
            (starts[j] + starts[j + 1]) / 2,
            1.01,
            info.experiences[j],
            transform=ax.get_xaxis_transform(),
            ha="center",
            va="bottom",
            size=SMALL * scale,
            color=GREY,
        )


def on_sheet(
    info: RunInfo, what: str, table: pd.DataFrame, layout: Layout, body: float, band: bool = True
) -> Sheet:
    """A sheet headed by what is shown, of how many seeds, and how hyperparameters were set."""
    counts = Counter(table.index.get_level_values("strategy"))
    over_seeds = info.seeds_text(counts)
    if max(counts.values()) > 1:
        over_seeds = f"mean{' and 95 % band' if band else ''} over {over_seeds}"
    return headed(info.title, f"{what}; {over_seeds}; {info.regime}", layout, body)
