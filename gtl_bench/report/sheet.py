"""The sheet that a figure is drawn on: its size, its panels, and what is written around them.

Places and sizes are in inches of print, sizes of text and lines in points; a sheet for slides draws
them larger.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pgf import LatexError
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, Formatter, FuncFormatter
from matplotlib.transforms import Affine2D
from scipy.optimize import isotonic_regression

from gtl_bench.errors import UsageError
from gtl_bench.report.info import FORMATS, Layout
from gtl_bench.report.latex import escaped
from gtl_bench.report.style import GREY, NORMAL, SEQUENTIAL, SMALL, Look, rc, text_width, wrapped
from gtl_bench.stats import Array, Interval

# Inches.
EDGE = 0.04  # around the figure
LEFT = 0.42  # for the y axis and its labels
BOTTOM = 0.33  # for the x axis and its labels
RIGHT = 0.12  # for half of the last tick's label
GAP = 0.16  # between panels side by side
LINE = SMALL * 1.3 / 72  # from one line of small text to the next
LONGEST = 1.0  # a longer label or name is cut
HANDLE = 0.24  # the sample of a line in front of its label


@dataclass(frozen=True)
class Reading:
    """The numbers behind a line, or behind a row of a heat map.

    Attributes:
        axes: where it is drawn.
        label: what it is of.
        colour: that it is drawn in; None for a row of a heat map.
        x: places along the axes' x axis, (points,).
        values: mean and 95 % interval at each, (points,) each.
        names: of the places, where these are not numbers.
        unit: of the values, as it stands after a number; empty where they have none.
    """

    axes: Axes
    label: str
    colour: str | None
    x: Array
    values: Interval
    names: tuple[str, ...] = ()
    unit: str = " %"


class Sheet(Figure):
    """A figure laid out in inches of print, and drawn `scale` times as large.

    It has a canvas of its own and touches no global state.

    Attributes:
        width: in inches of print.
        height: in inches of print.
        scale: 1 for print, more for slides.
        inches: from inches of print, from the lower left, to pixels.
        readings: the numbers behind what is drawn, for who can point at it.
    """

    def __init__(self, width: float, height: float, scale: float = 1.0) -> None:
        super().__init__(figsize=(scale * width, scale * height))
        FigureCanvasAgg(self)
        self.width, self.height, self.scale = width, height, scale
        self.readings: list[Reading] = []
        self.inches = Affine2D().scale(scale) + self.dpi_scale_trans


def headed(title: str, text: str, layout: Layout, body: float) -> Sheet:
    """A sheet with a title and a line or two below it, and room for a body of that many inches."""
    width = layout.width
    heading = wrapped(title, NORMAL, width - 2 * EDGE)
    notes = wrapped(text, SMALL, width - 2 * EDGE)
    title_line = NORMAL * 1.3 / 72
    height = body + EDGE + title_line * len(heading) + LINE * len(notes) + 0.04
    sheet = Sheet(width, height, layout.scale)
    y = height - EDGE
    for lines, size, colour, step in (
        (heading, NORMAL, "black", title_line),
        (notes, SMALL, "0.25", LINE),
    ):
        for line in lines:
            write(sheet, EDGE, y - step / 2, line, size, color=colour)
            y -= step
    return sheet


def grid(
    sheet: Sheet,
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
        ax = sheet.add_axes(
            (x / sheet.width, y / sheet.height, width / sheet.width, height / sheet.height)
        )
        ax.tick_params(labelbottom=i + across >= count, labelleft=i % across == 0)
        axes.append(ax)
    return axes


def write(
    sheet: Sheet, x: float, y: float, text: str, size: float = SMALL, **settings: Any
) -> None:
    """Text that begins at a point, in inches from the figure's lower left."""
    size *= sheet.scale
    sheet.text(x, y, text, transform=sheet.inches, va="center_baseline", size=size, **settings)


def draw_line(sheet: Sheet, x: Sequence[float], y: Sequence[float], look: Look) -> None:
    """A line between points, in inches from the figure's lower left."""
    sheet.add_artist(
        Line2D(
            x,
            y,
            transform=sheet.inches,
            color=look.colour,
            linewidth=sheet.scale * look.width,
            dashes=look.dashes,
        )
    )


def draw_key(sheet: Sheet, x: float, y: float, look: Look, label: str) -> None:
    """A sample of a line and its label, side by side."""
    draw_line(sheet, [x, x + HANDLE], [y, y], look)
    write(sheet, x + HANDLE + 0.03, y, label)


def draw_keys(
    sheet: Sheet,
    keys: Sequence[tuple[Look, str]],
    corner: tuple[float, float],
    entry: float,
    per_row: int,
) -> None:
    """Keys in rows, the first at the left end of the uppermost.

    Args:
        sheet: where they are drawn.
        keys: looks and labels.
        corner: of the first key, x and y in inches.
        entry: width of one in inches.
        per_row: how many stand side by side.
    """
    for k, (look, label) in enumerate(keys):
        x, y = corner[0] + entry * (k % per_row), corner[1] - LINE * (k // per_row)
        draw_key(sheet, x, y, look, label)


def room_for_labels(labels: Sequence[str]) -> float:
    """The room that `label_ends` needs to the right of a panel."""
    return 0.1 + HANDLE + 0.03 + max(text_width(label, SMALL) for label in labels) + EDGE


def height_for_labels(labels: Sequence[str], height: float) -> float:
    """The height of a panel at whose right `label_ends` finds room, at least the one given."""
    return max(height, LINE * (len(labels) + 1))


def label_ends(
    sheet: Sheet, ax: Axes, labels: Sequence[str], looks: Sequence[Look], ends: Sequence[float]
) -> None:
    """Label lines where they end at the right of a panel, none of the labels on another.

    Args:
        sheet: where the panel is.
        ax: the panel.
        labels: of the lines.
        looks: of the lines.
        ends: where on the y axis each line ends.
    """
    (_, bottom), (right, top) = ax.get_position().get_points() * (sheet.width, sheet.height)
    low, high = ax.get_ylim()
    wanted = bottom + (top - bottom) * (np.array(ends) - low) / (high - low)
    placed = spread_out(wanted, LINE, bottom, top)
    for label, look, y_line, y_label in zip(labels, looks, wanted, placed, strict=True):
        draw_line(sheet, [right, right + 0.09], [y_line, y_label], Look(GREY, (), 0.35))
        draw_key(sheet, right + 0.1, y_label, look, label)


def name_axes(
    sheet: Sheet, axes: Sequence[Axes], x_label: str, y_label: str | None, bottom: float
) -> None:
    """One label for the x axes of all panels and one for their y axes."""
    boxes = [ax.get_position() for ax in axes]
    left, right = min(box.x0 for box in boxes), max(box.x1 for box in boxes)
    low, high = min(box.y0 for box in boxes), max(box.y1 for box in boxes)
    y, size = bottom / sheet.height, NORMAL * sheet.scale
    sheet.text((left + right) / 2, y, x_label, ha="center", va="bottom", size=size)
    if y_label:
        x = EDGE / sheet.width
        middle = (low + high) / 2
        sheet.text(x, middle, y_label, ha="left", va="center", rotation=90, size=size)


def name_y_axis(sheet: Sheet, ax: Axes, label: str) -> None:
    """A label at the left end of the room for it, so that those of a column are in line."""
    width = ax.get_position().width * sheet.width
    ax.set_ylabel(label, va="top")
    ax.yaxis.set_label_coords(-(LEFT - EDGE) / width, 0.5)


def colour_bar(sheet: Sheet, left: float) -> None:
    """The scale of a heat map from 0 to 100 %, at the foot of the sheet."""
    width, height = sheet.width, sheet.height
    ax = sheet.add_axes((left / width, 0.17 / height, 1.2 / width, 0.07 / height))
    sheet.colorbar(ScalarMappable(Normalize(0, 100), SEQUENTIAL), cax=ax, orientation="horizontal")
    ax.tick_params(length=1.5 * sheet.scale, width=0.4 * sheet.scale)
    write(sheet, left + 1.32, 0.2, "Accuracy (%)")


def fit_titles(labels: Sequence[str], width: float) -> tuple[list[str], float]:
    """The labels in lines no wider than a panel, and the room that they need above it."""
    lines = [wrapped(label, SMALL, width) for label in labels]
    return ["\n".join(text) for text in lines], LINE * max(map(len, lines)) + 0.06


def fit_ticks(marks: Sequence[int], width: float) -> list[int]:
    """As many of the marks as have room for their labels: evenly spaced, the first and last too."""
    room = width / (text_width(str(marks[-1]), SMALL) + 0.06)
    intervals = len(marks) - 1
    step = next(k for k in range(1, intervals + 1) if intervals % k == 0 and intervals / k <= room)
    return list(marks[::step])


def spread_out(wanted: np.ndarray, step: float, low: float, high: float) -> np.ndarray:
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


def save(sheet: Sheet, target: Path | BinaryIO, file_format: str) -> None:
    """Write a figure; the same figure gives the same bytes.

    Args:
        figure: from this package's functions.
        target: where to write.
        file_format: one of `FORMATS`.

    Raises:
        UsageError: for pgf, where LaTeX with the package pgf is not there, or can't set a text.
    """
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    metadata: dict[str, Any] = {"metadata": undated[file_format]} if file_format in undated else {}
    with rc(sheet.scale), _as_latex(sheet) if file_format == "pgf" else nullcontext():
        try:
            sheet.savefig(target, format=file_format, dpi=300, **metadata)
        except (LatexError, RuntimeError, ValueError) as error:
            if file_format != "pgf":
                raise
            others = ", ".join(FORMATS[:-1])
            # Of a text that it can't set, LaTeX complains in a line that begins with "!".
            complaints = [line for line in str(error).splitlines() if line.startswith("!")]
            if complaints:
                raise UsageError(
                    f"--format pgf: LaTeX can't set a text of this figure ({complaints[0][2:]}): "
                    f"give what it names a label in plain letters, or choose {others}."
                ) from None
            if isinstance(error, ValueError):
                raise
            reason = " ".join(str(error).split())[:100]
            raise UsageError(
                f"--format pgf needs pdflatex and the LaTeX package pgf, which measure its text "
                f"({reason}…): install them, or choose {others}."
            ) from None


@contextmanager
def _as_latex(sheet: Sheet) -> Iterator[None]:
    """A figure's texts as LaTeX, while the block runs."""
    texts = {text: text.get_text() for text in sheet.findobj(Text)}
    # Names at ticks are written anew by their formatter whenever the figure is drawn.
    named = {
        axis: formatter
        for ax in sheet.axes
        for axis in (ax.xaxis, ax.yaxis)
        if isinstance(formatter := axis.get_major_formatter(), FixedFormatter | FuncFormatter)
    }
    for text, written in texts.items():
        text.set_text(escaped(written))
    for axis, formatter in named.items():
        axis.set_major_formatter(_escaping(formatter))
    try:
        yield
    finally:
        for axis, formatter in named.items():
            axis.set_major_formatter(formatter)
        for text, written in texts.items():
            text.set_text(written)


def _escaping(formatter: Formatter) -> Formatter:
    return FuncFormatter(lambda value, place: escaped(formatter(value, place)))
