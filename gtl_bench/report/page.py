"""The page of a report: one HTML file that holds everything it shows and opens offline.

Figures are the printed ones as SVG; beside them go the numbers that a pointer reads out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from gtl_bench.report.html import render
from gtl_bench.report.provenance import Provenance
from gtl_bench.report.sheet import Reading, Sheet, save
from gtl_bench.report.tables import Table
from gtl_bench.report.verdict import Verdict
from gtl_bench.stats import Array


@dataclass(frozen=True)
class Plot:
    """A figure on the page.

    Attributes:
        caption: of what.
        svg: the figure.
        x: what a point's place along a panel means.
        panels: a panel each, as the page's script reads it (`panel`).
    """

    caption: str
    svg: Markup
    x: str
    panels: Sequence[Mapping[str, Any]]


def page(
    title: str,
    lead: str,
    *,
    warnings: Sequence[str],
    verdicts: Sequence[Verdict],
    no_verdict: str,
    plots: Sequence[Plot],
    shown: Sequence[Table],
    runs: Sequence[Provenance],
) -> str:
    """The page as HTML.

    Args:
        title: what it reports on.
        lead: a line below it.
        warnings: what has to be said before anything else, such as that a stand-in ran.
        verdicts: what the runs show.
        no_verdict: what stands in their place where there are none.
        plots: the figures.
        shown: the tables.
        runs: where the numbers come from.
    """
    readouts = [{"x": plot.x, "panels": plot.panels} for plot in plots]
    return render(
        "page.html",
        title=title,
        lead=lead,
        warnings=warnings,
        verdicts=verdicts,
        no_verdict=no_verdict,
        plots=plots,
        tables=shown,
        runs=runs,
        readouts=readouts,
    )


def plot(figure: Sheet, name: str, caption: str, x: str) -> Plot:
    """A figure for the page.

    Args:
        figure: drawn at the scale of print.
        name: of no other figure on the page.
        caption: of what.
        x: what a point's place along a panel means.
    """
    svg = _inline(figure, name, _described(caption, figure))  # drawing settles the axes' limits
    panels = [panel for ax in figure.axes if (panel := _panel(figure, ax))]
    return Plot(caption, svg, x, panels)


def _described(caption: str, figure: Sheet) -> str:
    """The caption, and where lines end, for who can't see them; of several units, the first."""
    lines = [reading for reading in figure.readings if reading.colour]
    lines = [line for line in lines if line.unit == lines[0].unit]
    if len({reading.label for reading in lines}) < len(lines) or not lines:
        return f"{caption} Its numbers are in the folder tables."
    ends = ", ".join(f"{line.label} {_end(line)}" for line in lines)
    where = lines[0].names[-1].capitalize() if lines[0].names else "At the right end"
    return f"{caption} {where}: {ends}."


def _end(line: Reading) -> str:
    """The value at a line's end, with its unit."""
    (value,) = _values(line, line.values.mean[-1:])
    return f"{value}{line.unit}".replace("-", "−")


def _panel(figure: Sheet, ax: Axes) -> dict[str, Any] | None:
    """What the page's script reads of a panel: its place in the SVG, and its numbers."""
    readings = [reading for reading in figure.readings if reading.axes is ax]
    if not readings:
        return None
    width, height = 72 * figure.width, 72 * figure.height
    (left, low), (right, high) = ax.get_position().get_points()
    return {
        "title": " ".join((ax.get_title(loc="left") or ax.get_ylabel()).split()),
        "box": _rounded([left * width, (1 - high) * height, right * width, (1 - low) * height]),
        "places": _rounded(_places(ax, readings[0].x), 4),
        "x": [_significant(value) for value in readings[0].x],
        "names": readings[0].names or None,
        "ranked": not readings[0].names,
        "unit": readings[0].unit,
        "series": [
            {
                "label": reading.label,
                "colour": reading.colour,
                **{name: _values(reading, part) for name, part in reading.values._asdict().items()},
            }
            for reading in readings
        ],
    }


def _places(ax: Axes, x: Array) -> Array:
    """Where values of x lie along a panel, whatever its scale: 0 is its left end, 1 its right."""
    pixels = ax.get_xaxis_transform().transform(np.column_stack([x, np.zeros(len(x))]))
    places: Array = ax.transAxes.inverted().transform(pixels)[:, 0]
    return places.clip(0, 1)  # what stands for a whole panel is read out at its left end


def _values(reading: Reading, values: Array) -> list[float | None]:
    """Values as they are read out: with one decimal, or 4 digits where they have no unit."""
    if reading.unit:
        return _rounded(values, 1)
    return [_significant(value) for value in values]


def _rounded(values: Any, digits: int = 2) -> list[float | None]:
    """Numbers with few decimals; None for what JSON lacks: NaN and the infinite."""
    return [round(float(value), digits) + 0.0 if np.isfinite(value) else None for value in values]


def _significant(value: float) -> float | None:
    """A number with 4 digits or as many as stand before its point; None for what JSON lacks."""
    if not np.isfinite(value):
        return None
    return float(f"{value:.4g}") if abs(value) < 1000 else float(round(value))


def _shortened(path: re.Match[str]) -> str:
    """A path in hundredths of a point, less than can be seen, and without line breaks."""
    return re.sub(r"\s+", " ", re.sub(r"\d+\.\d+", lambda n: f"{float(n[0]):.2f}", path[0]))


def _inline(figure: Sheet, name: str, text: str) -> Markup:
    """The figure as an SVG element: as wide as its place, with ids of its own."""
    buffer = io.BytesIO()
    save(figure, buffer, "svg")
    svg = buffer.getvalue().decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r' d="[^"]*"', _shortened, svg)
    head = Markup('<svg viewBox="0 0 {:.2f} {:.2f}" role="img" aria-label="{}">').format(
        72 * figure.width, 72 * figure.height, text
    )
    # Matplotlib's own, in which text is drawn as shapes: nothing of a record's is left in it.
    return head + Markup(svg[svg.index(">") + 1 :])  # noqa: S704
