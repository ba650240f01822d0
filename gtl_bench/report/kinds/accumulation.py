"""Further examples after one-shot learning: does accuracy accumulate, and at which learning rates?

What the records hold is told in `gtl_bench.experiments.accumulation`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gtl_bench import metrics
from gtl_bench.metrics import Metric
from gtl_bench.report.claims import CONTROLS, Difference, corrected, difference, mean_of
from gtl_bench.report.figures import (
    CHANCE,
    curves_of,
    draw_curve,
    drawn_for_layout,
    mark_chance,
    on_sheet,
    top_of,
)
from gtl_bench.report.info import Layout, RunInfo
from gtl_bench.report.kinds import Kind
from gtl_bench.report.sheet import (
    BOTTOM,
    EDGE,
    GAP,
    HANDLE,
    LEFT,
    LINE,
    LONGEST,
    RIGHT,
    Sheet,
    draw_keys,
    fit_titles,
    grid,
    height_for_labels,
    label_ends,
    name_axes,
    room_for_labels,
)
from gtl_bench.report.style import GREY, SMALL, Look, cut, text_width
from gtl_bench.report.tables import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def scalars(records: pd.DataFrame, info: RunInfo) -> pd.DataFrame:
    """A row a cell: accuracies at the strategy's own rate, and what later examples add."""
    accuracy = metrics.curves(records, "accuracy")
    return pd.DataFrame(
        {
            "final_accuracy": accuracy[info.boundaries[-1]],
            "oneshot_accuracy": accuracy[_oneshot(info)],
            "gain": _gain(accuracy, info),
        }
    )


def claim(table: pd.DataFrame, records: pd.DataFrame, info: RunInfo) -> str:
    """What the run shows of the claim that later examples help with guides alone.

    It holds at a rate where the gain with guides is above 0 and above that with pretraining alone,
    which is not told to be above 0 itself; each is one of a family of tests, one a rate.
    """
    what = "That later examples help with guides, and with pretraining alone don't,"
    if not {"gtl", "naive"} <= set(table.index.get_level_values("strategy")):
        return f"{what} is not tested: GTL or pretraining alone (naive) is not in this run."
    accuracies = [metrics.curves(records, "accuracy", k) for k in _rungs(info)]
    gains = [_gain(accuracy, info) for accuracy in accuracies]
    guided, alone = (_of_strategy(gains, name) for name in ("gtl", "naive"))
    more = corrected({k: difference(gain, "gtl", "naive") for k, gain in enumerate(gains)})
    if not more:
        return f"{what} is not tested: GTL and pretraining alone (naive) have no seed in common."
    if more[0].too_few:
        named = [k for k in more if guided[k].side > 0 >= alone[k].side and more[k].side > 0]
        verdict = more[0].outcome("", "")
    else:
        named = [k for k in more if guided[k].sign > 0 >= alone[k].sign and more[k].sign > 0]
        verdict = (
            f"holds at {_rates(named, info)} of the ladder {_range(info)}"
            f"{_controls(gains, named, info)}; later examples raise the accuracy with guides at "
            f"{_rates(_helped(guided), info)}, with pretraining alone at "
            f"{_rates(_helped(alone), info)}"
        )
    parts = [
        f"at rate {info.experiences[k]} they add {percent(guided[k].mean, True)} points with "
        f"guides and {percent(alone[k].mean, True)} with pretraining alone (difference {more[k]})"
        for k in named
    ]
    return f"{what} {'; '.join([verdict, *parts, _at_best(accuracies, info)])}."


def _at_best(accuracies: list[pd.DataFrame], info: RunInfo) -> str:
    """Where GTL and naive end, each at its best rate of the ladder."""
    ends = {
        name: [accuracy[info.boundaries[-1]].xs(name, level="strategy") for accuracy in accuracies]
        for name in ("gtl", "naive")
    }
    best = {name: int(np.argmax([end.mean() for end in ends[name]])) for name in ends}
    guided, alone = (ends[name][best[name]] for name in ("gtl", "naive"))
    return (
        f"each at the rate of the ladder that is best for it, accuracy ends at "
        f"{percent(guided.mean())} % with guides (rate {info.experiences[best['gtl']]}) and at "
        f"{percent(alone.mean())} % with pretraining alone (rate "
        f"{info.experiences[best['naive']]}), a difference of {mean_of((guided - alone).dropna())}"
    )


def _oneshot(info: RunInfo) -> int:
    """The step at which one-shot learning ends."""
    return int(info.more["ways"])


def _rungs(info: RunInfo) -> range:
    return range(len(info.experiences))


def _gain(accuracy: pd.DataFrame, info: RunInfo) -> pd.Series:
    """What the further examples add, of each cell."""
    return accuracy[info.boundaries[-1]] - accuracy[_oneshot(info)]


def _of_strategy(gains: list[pd.Series], name: str) -> dict[int, Difference]:
    """A strategy's gain at each rung."""
    return corrected({k: mean_of(gain.loc[name]) for k, gain in enumerate(gains)})


def _helped(gains: dict[int, Difference]) -> list[int]:
    """The rungs at which a gain is told to be above 0."""
    return [k for k, gain in gains.items() if gain.sign > 0]


def _controls(gains: list[pd.Series], rungs: list[int], info: RunInfo) -> str:
    """Which controls of GTL gain at all of these rungs as well."""
    if not rungs:
        return ""
    names = set(gains[0].index.get_level_values("strategy"))
    too = [
        info.label(name)
        for name in CONTROLS
        if name in names and set(rungs) <= set(_helped(_of_strategy(gains, name)))
    ]
    if too:
        return f" (where {' and '.join(too)} gain{'s' if len(too) == 1 else ''} too)"
    return " (where none of its controls in the run gains throughout)"


def _rates(rungs: list[int], info: RunInfo) -> str:
    rates = [info.experiences[k] for k in rungs]
    return f"rate{'s' if len(rates) > 1 else ''} {', '.join(rates)}" if rates else "no rate"


def _range(info: RunInfo) -> str:
    return " … ".join(dict.fromkeys((info.experiences[0], info.experiences[-1])))


@drawn_for_layout
def accumulation(records: pd.DataFrame, info: RunInfo, layout: Layout) -> Sheet:
    """Test accuracy along the further examples, a small panel a learning rate.

    Raises:
        DataError: the records are incomplete.
    """
    tables = [metrics.curves(records, "accuracy", k) for k in _rungs(info)]
    curves = [curves_of(table, info) for table in tables]
    across = min(len(tables), {"single": 2, "double": 3}[layout.column])
    rows = math.ceil(len(tables) / across)
    width = (layout.width - LEFT - RIGHT - (across - 1) * GAP) / across
    keys = [(curve.look, cut(curve.label, SMALL, LONGEST)) for curve in curves[0]]
    keys.append((CHANCE, "chance"))
    entry = HANDLE + 0.13 + max(text_width(label, SMALL) for _, label in keys)
    per_row = max(1, int((layout.width - LEFT) / entry))
    below = LINE * math.ceil(len(keys) / per_row) + 0.04
    height = 0.95
    titles, above = fit_titles([f"Learning rate {rate}" for rate in info.experiences], width)
    text = (
        f"Test accuracy along the examples: {_oneshot(info)} characters one-shot (dotted line), "
        f"then one further drawing after another; mean over {info.more['draws']} draws a seed"
    )
    sheet = on_sheet(info, text, tables[0], layout, below + BOTTOM + rows * (height + above))
    axes = grid(sheet, len(tables), across, (LEFT, below + BOTTOM), (width, height), GAP, above)
    top = max(top_of(lines) for lines in curves)
    for ax, lines, table, title in zip(axes, curves, tables, titles, strict=True):
        x = table.columns.to_numpy()
        mark_chance(ax, info, sheet.scale)
        ax.axvline(_oneshot(info), color=GREY, linewidth=0.5 * sheet.scale, linestyle=":", zorder=1)
        for curve in lines:
            draw_curve(sheet, ax, x, curve)
        ax.set_xlim(0, x[-1])
        ax.set_ylim(0, top)
        ax.locator_params(nbins=4)
        ax.set_title(title, loc="left")
    name_axes(sheet, axes, "Examples learned", "Test accuracy (%)", below + EDGE)
    draw_keys(sheet, keys, (LEFT, below - LINE / 2), entry, per_row)
    return sheet


@drawn_for_layout
def gain_by_rate(records: pd.DataFrame, info: RunInfo, layout: Layout) -> Sheet:
    """What further examples add to the accuracy, against the rate at which they are learned.

    Raises:
        DataError: the records are incomplete.
    """
    gains = {
        float(rate): _gain(metrics.curves(records, "accuracy", k), info)
        for k, rate in enumerate(info.experiences)
    }
    table = pd.DataFrame(gains)
    curves = curves_of(table, info)
    labels = [*(cut(curve.label, SMALL, LONGEST) for curve in curves), "no gain"]
    width = layout.width - LEFT - room_for_labels(labels)
    height = height_for_labels(labels, {"single": 1.75, "double": 2.3}[layout.column])
    text = (
        "Test accuracy after the last example less that after one-shot learning, in percentage "
        "points, by the learning rate of the further examples"
    )
    sheet = on_sheet(info, text, table, layout, BOTTOM + height + 0.06)
    (ax,) = grid(sheet, 1, 1, (LEFT, BOTTOM), (width, height), 0, 0)
    x = table.columns.to_numpy()
    for curve in curves:
        draw_curve(sheet, ax, x, curve, " points")
    zero = Look(GREY, (), 0.5)
    ax.axhline(0, color=zero.colour, linewidth=sheet.scale * zero.width, zorder=1)
    _rate_axis(ax, x)
    ax.set_ylabel("Gain (points)")
    ends = [*(float(curve.band.mean[-1]) for curve in curves), 0.0]
    label_ends(sheet, ax, labels, [*(curve.look for curve in curves), zero], ends)
    return sheet


def _rate_axis(ax: Axes, rates: np.ndarray) -> None:
    ax.set_xscale("log")
    if len(rates) > 1:
        ax.set_xlim(rates[0], rates[-1])
    ax.set_xticks(rates[:: math.ceil(len(rates) / 4)])
    ax.minorticks_off()
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("Learning rate of the further examples")


def _figures(info: RunInfo) -> list[Callable[..., Sheet]]:
    return [accumulation, gain_by_rate]


def _notes(info: RunInfo) -> list[str]:
    return [
        "The metrics are at each strategy's own learning rate; the figures show a ladder of rates "
        "for the further examples, each after one-shot learning at the strategy's own rate."
    ]


KIND = Kind(
    metrics={
        metric.name: metric
        for metric in (
            Metric("final_accuracy", "Final accuracy", "%", True),
            Metric("oneshot_accuracy", "One-shot accuracy", "%", True),
            Metric("gain", "Gain by later examples", "%", True),
        )
    },
    scalars=scalars,
    figures=_figures,
    plots={
        "accumulation": (
            "Test accuracy along the examples, at each learning rate.",
            "Examples learned",
        ),
        "gain_by_rate": (
            "What further examples add to the accuracy, by the learning rate.",
            "Learning rate",
        ),
    },
    claim=claim,
    notes=_notes,
)
