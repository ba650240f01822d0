"""One-shot learning: accuracy and loss along training, and the guide's histogram.

What the records hold is told in `gtl_bench.experiments.oneshot`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gtl_bench import metrics
from gtl_bench.metrics import Metric
from gtl_bench.report.claims import beside_controls, differences, mean_of
from gtl_bench.report.figures import (
    CHANCE,
    Curve,
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
    LEFT,
    LONGEST,
    RIGHT,
    Sheet,
    grid,
    height_for_labels,
    label_ends,
    name_y_axis,
    room_for_labels,
)
from gtl_bench.report.style import SMALL, cut
from gtl_bench.report.tables import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Corner = tuple[float, float]
Size = tuple[float, float]


def scalars(records: pd.DataFrame, info: RunInfo) -> pd.DataFrame:
    """A row a cell: what is right after the last epoch."""
    return pd.DataFrame(
        {
            "final_accuracy": metrics.curves(records, "accuracy")[info.boundaries[-1]],
            "learned_accuracy": metrics.curves(records, "learned_accuracy")[info.boundaries[-1]],
        }
    )


def claim(table: pd.DataFrame, records: pd.DataFrame, info: RunInfo) -> str:
    """What the run shows of the claim that guides raise one-shot accuracy."""
    final = table["final_accuracy"]
    what = f"That guides raise one-shot accuracy ({info.more['ways']}-way)"
    if not {"gtl", "naive"} <= set(table.index.get_level_values("strategy")):
        return f"{what} is not tested: GTL or pretraining alone (naive) is not in this run."
    gain = differences(final, "gtl", info).get("naive")
    if gain is None:
        return f"{what} is not tested: GTL and pretraining alone (naive) have no seed in common."
    with_guides, alone = (mean_of(final.loc[name]) for name in ("gtl", "naive"))
    return (
        f"{what} {gain.outcome('holds here', 'does not hold here')}: {percent(with_guides.mean)} % "
        f"with guides, {percent(alone.mean)} % with pretraining alone (difference {gain})"
        f"{beside_controls(final, info) if gain.sign > 0 else ''}."
    )


@drawn_for_layout
def training(records: pd.DataFrame, info: RunInfo, layout: Layout) -> Sheet:
    """Test accuracy and loss along training, and the histogram of the methods' guides.

    Epochs are on a scale that is logarithmic from 1 on.

    Raises:
        DataError: the records are incomplete.
    """
    accuracy = metrics.curves(records, "accuracy")
    with np.errstate(invalid="ignore"):  # the loss of what diverged is infinite
        losses = curves_of(metrics.curves(records, "loss"), info, 1)
    shares = _histograms(records, info)
    curves = curves_of(accuracy, info)
    labels = [*(cut(curve.label, SMALL, LONGEST) for curve in curves), "chance"]
    panels = 3 if shares else 2
    text = (
        f"Accuracy and loss on the test drawings along training, {info.more['ways']}-way, mean "
        f"over {info.more['draws']} draws of characters a seed"
    )
    if shares:
        text += "; and how many of the guide's values are how large"
    room = room_for_labels(labels)
    if layout.column == "single":
        heights = [height_for_labels(labels, 1.75), 0.9, 0.7][:panels]
        sheet = on_sheet(info, text, accuracy, layout, sum(heights) + panels * BOTTOM + 0.06)
        width = layout.width - LEFT - room
        bottoms = [sum(heights[k + 1 :]) + (panels - k) * BOTTOM for k in range(panels)]
        places = [((LEFT, low), (width, height)) for low, height in zip(bottoms, heights)]
    else:
        height = height_for_labels(labels, 1.75)
        sheet = on_sheet(info, text, accuracy, layout, BOTTOM + height + 0.06)
        width = (layout.width - panels * LEFT - room - RIGHT) / panels
        lefts = [LEFT + k * (width + LEFT) + (room if k else 0) for k in range(panels)]
        places = [((left, BOTTOM), (width, height)) for left in lefts]

    x = accuracy.columns.to_numpy()
    ax = _axes(sheet, places[0], x, "Test accuracy (%)")
    for curve in curves:
        draw_curve(sheet, ax, x, curve)
    ax.set_ylim(0, top_of(curves))
    mark_chance(ax, info, sheet.scale)
    ends = [*(float(curve.band.mean[-1]) for curve in curves), 100 * info.chance]
    label_ends(sheet, ax, labels, [*(curve.look for curve in curves), CHANCE], ends)

    ax = _axes(sheet, places[1], x, "Test loss")
    for curve in losses:
        draw_curve(sheet, ax, x, curve, "")
    ax.set_ylim(0, 1.05 * _highest(losses))
    if shares:
        _draw_histograms(sheet, places[2], shares)
    return sheet


def _axes(sheet: Sheet, place: tuple[Corner, Size], x: np.ndarray, y_label: str) -> Axes:
    """A panel along training."""
    (ax,) = grid(sheet, 1, 1, *place, 0, 0)
    ax.set_xscale("symlog", linthresh=1)
    ax.set_xlim(0, x[-1])
    ax.set_xticks([0, *(10**k for k in range(len(str(x[-1]))))])
    ax.minorticks_off()
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("Epochs")
    name_y_axis(sheet, ax, y_label)
    return ax


def _highest(losses: Sequence[Curve]) -> float:
    """The highest mean or band, but no more than twice the highest mean."""
    means, highs = (
        np.concatenate([getattr(curve.band, part) for curve in losses]) for part in ("mean", "high")
    )
    highest = means[np.isfinite(means)].max()
    return float(min(2 * highest, max([highest, *highs[np.isfinite(highs)]])))


def _histograms(records: pd.DataFrame, info: RunInfo) -> list[Curve]:
    """The guides' histograms; those of controls, and of layers chosen by hand, are left out."""
    table = metrics.curves(records, "guide")
    methods = {strategy.label for strategy in info.strategies if not strategy.control}
    return [
        curve
        for curve in (curves_of(table, info) if len(table) else [])
        if curve.label in methods and curve.band.mean[1:-1].any()
    ]


def _draw_histograms(sheet: Sheet, place: tuple[Corner, Size], shares: Sequence[Curve]) -> None:
    (ax,) = grid(sheet, 1, 1, *place, 0, 0)
    for curve in shares:
        mean, look = curve.band.mean, curve.look
        ax.stairs(
            mean,
            np.linspace(0, 1, len(mean) + 1),
            baseline=None,
            color=look.colour,
            linewidth=sheet.scale * look.width,
            linestyle=(0, look.dashes) if look.dashes else "-",
        )
    ax.set_yscale("log")
    ax.set_yticks([0.01, 1, 100])
    ax.minorticks_off()
    least = min(curve.band.mean[curve.band.mean > 0].min() for curve in shares)
    ax.set_ylim(least / 2, 200)
    ax.set_xlim(0, 1)
    ax.set_xlabel("Guide")
    name_y_axis(sheet, ax, "Values (%)")
    ax.yaxis.set_major_formatter("{x:g}")


def _figures(info: RunInfo) -> list[Callable[..., Sheet]]:
    return [training]


KIND = Kind(
    metrics={
        metric.name: metric
        for metric in (
            Metric("final_accuracy", "Final accuracy", "%", True),
            Metric("learned_accuracy", "On the drawings learned", "%", True),
        )
    },
    scalars=scalars,
    figures=_figures,
    plots={
        "training": (
            "Accuracy and loss on the test drawings along training, and the guide's histogram.",
            "Epochs",
        )
    },
    claim=claim,
)
