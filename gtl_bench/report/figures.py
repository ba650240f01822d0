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
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from scipy.optimize import isotonic_regression

from gtl_bench import metrics
from gtl_bench.report.info import PRINT, Layout, RunInfo
from gtl_bench.report.style import (
    GREY,
    NORMAL,
    PALE,
    SEQUENTIAL,
    SMALL,
    Look,
    Sheet,
    cut,
    looks,
    rc,
    text_width,
    wrapped,
)
from gtl_bench.stats import Interval, mean_interval

TOGETHER = 8  # strategies on one pair of axes

# Inches.
EDGE = 0.04  # around the figure
LEFT = 0.42  # for the y axis and its labels
BOTTOM = 0.33  # for the x axis and its labels
RIGHT = 0.12  # for half of the last tick's label
GAP = 0.16  # between panels side by side
LINE = SMALL * 1.3 / 72  # from one line of small text to the next
LONGEST = 1.0  # a longer label or name is cut
HANDLE = 0.24  # the sample of a line in front of its label

CHANCE = Look(GREY, (), 0.5)

Drawing = Callable[[pd.DataFrame, RunInfo, Layout], Sheet]


@dataclass(frozen=True)
class _Curve:
    """A strategy's line: mean and 95 % band in percent, each (points,)."""

    label: str
    look: Look
    band: Interval


def _drawn(draw: Drawing) -> Callable[..., Sheet]:
    """Matplotlib's settings for the layout while a figure is drawn."""

    @functools.wraps(draw)
    def drawn(records: pd.DataFrame, info: RunInfo, layout: Layout = PRINT) -> Sheet:
        with rc(layout.scale):
            return draw(records, info, layout)

    return drawn


@_drawn
def accuracy(records: pd.DataFrame, info: RunInfo, layout: Layout) -> Sheet:
    """Accuracy on the whole test set along the stream.

    Raises:
        DataError: the records are incomplete.
    """
    table = metrics.curves(records, "accuracy")
    if len(info.strategies) > TOGETHER:
        return _panels(table, info, layout, "Test accuracy", "Examples seen")
    return _together(table, info, layout, "Test accuracy", "Examples seen")


@_drawn
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


@_drawn
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


@_drawn
def accuracy_matrix(records: pd.DataFrame, info: RunInfo, layout: Layout) -> Sheet:
    """The accuracy matrix of each strategy, mean over seeds, as a heat map in percent.

    A row is a state (the base, then after each experience), a column the experience tested; a frame
    marks the experience that the state has just learned.

    Raises:
        DataError: the records are incomplete.
    """
    table = metrics.accuracy_matrices(records, info.boundaries) * 100
    shown = [s for s in info.strategies if s.name in table.index.get_level_values("strategy")]
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
    titles, above = _titles([strategy.label for strategy in shown], width)
    body = key + foot + rows * (height + above)
    what = "Accuracy (%) on each experience after each experience"
    figure = _sheet(info, what, table, layout, body, band=False)
    axes = _grid(figure, len(shown), across, (left, key + foot), (width, height), 0.08, above)
    for strategy, ax, title in zip(shown, axes, titles, strict=True):
        values = table.loc[strategy.name].to_numpy().mean(axis=0).reshape(size + 1, size)
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
    _name_axes(figure, axes, "Tested on", "After learning", key + EDGE)
    if not numbers:
        _colour_bar(figure, left)
    return figure


def _together(table: pd.DataFrame, info: RunInfo, layout: Layout, what: str, x_label: str) -> Sheet:
    """All strategies on one pair of axes, each with its label at the end of its line."""
    curves = _curves(table, info)
    stream = x_label == "Examples seen" and len(info.experiences) > 1
    labels = [*(cut(curve.label, SMALL, LONGEST) for curve in curves), "chance"]
    right = 0.1 + HANDLE + 0.03 + max(text_width(label, SMALL) for label in labels) + EDGE
    width = layout.width - LEFT - right
    height = {"single": 1.75, "double": 2.3}[layout.column]
    above = LINE if stream else 0.06
    figure = _sheet(info, what, table, layout, BOTTOM + height + above)
    (ax,) = _grid(figure, 1, 1, (LEFT, BOTTOM), (width, height), 0, 0)
    x = table.columns.to_numpy()
    for curve in curves:
        _draw(ax, x, curve, figure.scale)
    _percent_axes(ax, int(x[-1]), _top(curves))
    if stream:
        _mark_experiences(ax, info, width, figure.scale)
    _mark_chance(ax, info, figure.scale)
    ax.set_xlabel(x_label)
    ax.set_ylabel(f"{what} (%)")

    ends = [*(float(curve.band.mean[-1]) for curve in curves), 100 * info.chance]
    low, high = ax.get_ylim()
    wanted = BOTTOM + height * (np.array(ends) - low) / (high - low)
    placed = _spread(wanted, LINE, BOTTOM, BOTTOM + height)
    every = [*(curve.look for curve in curves), CHANCE]
    end = LEFT + width
    for label, look, y_line, y_label in zip(labels, every, wanted, placed, strict=True):
        _line(figure, [end, end + 0.09], [y_line, y_label], Look(GREY, (), 0.35))
        _key(figure, end + 0.1, y_label, look, label)
    return figure


def _panels(table: pd.DataFrame, info: RunInfo, layout: Layout, what: str, x_label: str) -> Sheet:
    """A small panel a strategy, with the means of all the others in grey."""
    curves = _curves(table, info)
    across = {"single": 3, "double": 6}[layout.column]
    width = (layout.width - LEFT - RIGHT - (across - 1) * GAP) / across
    height = 0.62
    rows = math.ceil(len(curves) / across)
    titles, above = _titles([curve.label for curve in curves], width)
    stream = x_label == "Examples seen" and len(info.experiences) > 1
    text = f"{what}, among the other strategies' means in grey; straight line: chance"
    if stream:
        text += f"; ticks part the experiences {', '.join(info.experiences)}"
    figure = _sheet(info, text, table, layout, BOTTOM + rows * (height + above))
    axes = _grid(figure, len(curves), across, (LEFT, BOTTOM), (width, height), GAP, above)
    x = table.columns.to_numpy()
    for ax, curve, title in zip(axes, curves, titles, strict=True):
        for other in curves:
            ax.plot(x, other.band.mean, color="0.8", linewidth=0.4 * figure.scale, zorder=0)
        _mark_chance(ax, info, figure.scale)
        _draw(ax, x, curve, figure.scale)
        _percent_axes(ax, int(x[-1]), _top(curves), ticks=2)
        if stream:
            ax.set_xticks(_ticks((0, *info.boundaries), width))
            ax.set_xticks(info.boundaries, minor=True)
        ax.set_title(title, loc="left")
    _name_axes(figure, axes, x_label, f"{what} (%)", EDGE)
    return figure


def _forgetting_lines(tables: list[pd.DataFrame], info: RunInfo, layout: Layout) -> Sheet:
    """Panels in which every strategy is a line, with a key in the free cell or below."""
    size = len(tables)
    across = min(size, {"single": 2, "double": 3}[layout.column] + (size > 6))
    rows = math.ceil(size / across)
    width = (layout.width - LEFT - RIGHT - (across - 1) * GAP) / across
    height = 0.95
    curves = [_curves(table, info) for table in tables]
    keys = [(curve.look, cut(curve.label, SMALL, LONGEST)) for curve in curves[0]]
    keys.append((CHANCE, "chance"))
    entry = HANDLE + 0.13 + max(text_width(label, SMALL) for _, label in keys)
    free = rows * across > size and entry < width
    per_row = 1 if free else max(1, int((layout.width - LEFT) / entry))
    below = 0 if free else LINE * math.ceil(len(keys) / per_row) + 0.04

    titles, above = _titles([f"Experience {name}" for name in info.experiences], width)
    what = "Accuracy on each experience's test images, its own time shaded"
    bottom = BOTTOM + below
    figure = _sheet(info, what, tables[0], layout, bottom + rows * (height + above))
    axes = _grid(figure, size, across, (LEFT, bottom), (width, height), GAP, above)
    top = max(_top(of_experience) for of_experience in curves)
    starts = (0, *info.boundaries)
    for j, ax in enumerate(axes):
        ax.axvspan(starts[j], starts[j + 1], color=PALE, linewidth=0, zorder=0)
        _mark_chance(ax, info, figure.scale)
        for curve in curves[j]:
            _draw(ax, tables[j].columns.to_numpy(), curve, figure.scale)
        _percent_axes(ax, info.boundaries[-1], top, ticks=4)
        ax.set_xticks(_ticks(starts, width))
        ax.set_title(titles[j], loc="left")
    _name_axes(figure, axes, "Examples seen", "Accuracy (%)", below + EDGE)

    x = LEFT + (across - 1) * (width + GAP) + 0.1 if free else LEFT
    y = BOTTOM + height - LINE / 2 if free else below - LINE / 2
    for k, (look, label) in enumerate(keys):
        _key(figure, x + entry * (k % per_row), y - LINE * (k // per_row), look, label)
    return figure


def _forgetting_rows(tables: list[pd.DataFrame], info: RunInfo, layout: Layout) -> Sheet:
    """Panels in which every strategy is a row whose shade is its mean accuracy."""
    size = len(tables)
    names = tables[0].index.get_level_values("strategy")
    shown = [strategy for strategy in info.strategies if strategy.name in names]
    labels = [cut(strategy.label, SMALL, LONGEST) for strategy in shown]
    left = EDGE + max(text_width(label, SMALL) for label in labels) + 0.05
    across = min(size, {"single": 2, "double": 3}[layout.column])
    rows = math.ceil(size / across)
    width = (layout.width - left - RIGHT - (across - 1) * GAP) / across
    height = LINE * len(shown)
    key, bar = 0.3, 0.05
    titles, above = _titles([f"Experience {name}" for name in info.experiences], width)
    above += bar
    what = "Accuracy on each experience's test images, its own time under the bar"
    body = key + BOTTOM + rows * (height + above)
    figure = _sheet(info, what, tables[0], layout, body, band=False)
    axes = _grid(figure, size, across, (left, key + BOTTOM), (width, height), GAP, above)
    end = info.boundaries[-1]
    starts = (0, *info.boundaries)
    for j, ax in enumerate(axes):
        means = [tables[j].loc[strategy.name].to_numpy().mean(axis=0) * 100 for strategy in shown]
        ax.imshow(
            np.stack(means),
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
        ax.set_xticks(_ticks(starts, width))
        ax.set_yticks(np.arange(len(shown)) + 0.5, labels)
        ax.tick_params(axis="y", length=0)
        ax.set_title(titles[j], loc="left", pad=figure.scale * (2 + 72 * bar))
    _name_axes(figure, axes, "Examples seen", None, key + EDGE)
    _colour_bar(figure, left)
    return figure


def _curves(table: pd.DataFrame, info: RunInfo) -> list[_Curve]:
    """The strategies' lines, in order; those without any cell are left out."""
    found = set(table.index.get_level_values("strategy"))
    shown = [strategy for strategy in info.strategies if strategy.name in found]
    look = looks(info.strategies)
    return [
        _Curve(s.label, look[s.name], mean_interval(100 * table.loc[s.name].to_numpy()))
        for s in shown
    ]


def _sheet(
    info: RunInfo, what: str, table: pd.DataFrame, layout: Layout, body: float, band: bool = True
) -> Sheet:
    """A figure with its title on top and room for a body of that many inches below."""
    width = layout.width
    counts = Counter(table.index.get_level_values("strategy"))
    spread = info.seeds_text(counts)
    if max(counts.values()) > 1:
        spread = f"mean{' and 95 % band' if band else ''} over {spread}"
    title = wrapped(info.title, NORMAL, width - 2 * EDGE)
    text = f"{what}; {spread}; {info.regime}"
    notes = wrapped(text, SMALL, width - 2 * EDGE)
    title_line = NORMAL * 1.3 / 72
    height = body + EDGE + title_line * len(title) + LINE * len(notes) + 0.04
    figure = Sheet(width, height, layout.scale)
    y = height - EDGE
    for lines, size, colour, step in (
        (title, NORMAL, "black", title_line),
        (notes, SMALL, "0.25", LINE),
    ):
        for line in lines:
            _text(figure, EDGE, y - step / 2, line, size, color=colour)
            y -= step
    return figure


def _grid(
    figure: Sheet,
    count: int,
    across: int,
    corner: tuple[float, float],
    panel: tuple[float, float],
    gap: float,
    above: float,
) -> list[Axes]:
    """Panels of one size, row by row from the top left; ticks are labelled at the outer ones."""
    (left, bottom), (width, height) = corner, panel
    rows = math.ceil(count / across)
    axes = []
    for i in range(count):
        x = left + (i % across) * (width + gap)
        y = bottom + (rows - 1 - i // across) * (height + above)
        ax = figure.add_axes(
            (x / figure.width, y / figure.height, width / figure.width, height / figure.height)
        )
        ax.tick_params(labelbottom=i + across >= count, labelleft=i % across == 0)
        axes.append(ax)
    return axes


def _draw(ax: Axes, x: np.ndarray, curve: _Curve, scale: float) -> None:
    look = curve.look
    ax.plot(
        x,
        curve.band.mean,
        color=look.colour,
        linewidth=scale * look.width,
        dashes=look.dashes,
        label=curve.label,
        zorder=2.1 if look.dashes else 2,  # a solid line shows through the gaps of one above it
    )
    ax.fill_between(
        x,
        curve.band.low,
        curve.band.high,
        color=look.colour,
        alpha=0.16,
        linewidth=0,
        label=curve.label,
        zorder=1.5,
    )


def _mark_chance(ax: Axes, info: RunInfo, scale: float) -> None:
    width = scale * CHANCE.width
    ax.axhline(100 * info.chance, color=CHANCE.colour, linewidth=width, zorder=1)


def _top(curves: Sequence[_Curve]) -> float:
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
    ax.set_xticks(_ticks(starts, width))
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


def _ticks(marks: Sequence[int], width: float) -> list[int]:
    """As many of the marks as have room for their labels: evenly spaced, the first and last too."""
    room = width / (text_width(str(marks[-1]), SMALL) + 0.06)
    intervals = len(marks) - 1
    step = next(k for k in range(1, intervals + 1) if intervals % k == 0 and intervals / k <= room)
    return list(marks[::step])


def _spread(wanted: np.ndarray, step: float, low: float, high: float) -> np.ndarray:
    """Heights at least a step apart, within bounds, as near as can be to those wanted.

    Least squares under these constraints: an isotonic regression of the heights less their rank's
    share of steps.
    """
    order = np.argsort(wanted, kind="stable")
    ranks = np.arange(len(wanted)) * step
    fitted = isotonic_regression(wanted[order] - ranks).x
    placed = np.empty_like(wanted)
    placed[order] = np.clip(fitted, low, max(low, high - ranks[-1])) + ranks
    return placed


def _titles(labels: Sequence[str], width: float) -> tuple[list[str], float]:
    """The labels in lines no wider than a panel, and the room that they need above it."""
    lines = [wrapped(label, SMALL, width) for label in labels]
    return ["\n".join(text) for text in lines], LINE * max(map(len, lines)) + 0.06


def _text(
    figure: Sheet, x: float, y: float, text: str, size: float = SMALL, **settings: Any
) -> None:
    """Text that begins at a point, in inches from the figure's lower left."""
    size *= figure.scale
    figure.text(x, y, text, transform=figure.inches, va="center_baseline", size=size, **settings)


def _line(figure: Sheet, x: Sequence[float], y: Sequence[float], look: Look) -> None:
    """A line between points, in inches from the figure's lower left."""
    figure.add_artist(
        Line2D(
            x,
            y,
            transform=figure.inches,
            color=look.colour,
            linewidth=figure.scale * look.width,
            dashes=look.dashes,
        )
    )


def _key(figure: Sheet, x: float, y: float, look: Look, label: str) -> None:
    """A sample of a line and its label, side by side."""
    _line(figure, [x, x + HANDLE], [y, y], look)
    _text(figure, x + HANDLE + 0.03, y, label)


def _name_axes(
    figure: Sheet, axes: Sequence[Axes], x_label: str, y_label: str | None, bottom: float
) -> None:
    """One label for the x axes of all panels and one for their y axes."""
    boxes = [ax.get_position() for ax in axes]
    left, right = min(box.x0 for box in boxes), max(box.x1 for box in boxes)
    low, high = min(box.y0 for box in boxes), max(box.y1 for box in boxes)
    y, size = bottom / figure.height, NORMAL * figure.scale
    figure.text((left + right) / 2, y, x_label, ha="center", va="bottom", size=size)
    if y_label:
        x = EDGE / figure.width
        middle = (low + high) / 2
        figure.text(x, middle, y_label, ha="left", va="center", rotation=90, size=size)


def _colour_bar(figure: Sheet, left: float) -> None:
    """The scale of a heat map from 0 to 100 %, at the foot of the figure."""
    width, height = figure.width, figure.height
    ax = figure.add_axes((left / width, 0.17 / height, 1.2 / width, 0.07 / height))
    figure.colorbar(ScalarMappable(Normalize(0, 100), SEQUENTIAL), cax=ax, orientation="horizontal")
    ax.tick_params(length=1.5 * figure.scale, width=0.4 * figure.scale)
    _text(figure, left + 1.32, 0.2, "Accuracy (%)")
