"""Sub-problems learned from one base: accuracy and loss along training.

What the records hold is told in `gtl_bench.experiments.cousins`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gtl_bench import metrics
from gtl_bench.metrics import Metric
from gtl_bench.report.claims import Difference, difference, differences
from gtl_bench.report.figures import Curve, curves_of, draw_curve, drawn_for_layout, on_sheet
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

#: Strategies that the claim is about.
GUIDED = ("gtl", "gtl-gradient")

#: Controls of GTL, and what each keeps of it.
CONTROLS = {
    "gtl-shuffled": "the guide shuffled",
    "gtl-scalar": "each tensor's mean as its guide, a smaller step",
}


def scalars(records: pd.DataFrame, info: RunInfo) -> pd.DataFrame:
    """Accuracy (0 to 1) and loss of each cell, at the end and along the epochs."""
    accuracy, loss = metrics.curves(records, "accuracy"), _losses(records)
    return pd.DataFrame(
        {
            "final_accuracy": accuracy.iloc[:, -1],
            "accuracy_along": accuracy.iloc[:, 1:].mean(axis=1),
            "final_loss": loss.iloc[:, -1],
            "loss_along": loss.iloc[:, 1:].mean(axis=1),
        }
    )


def _losses(records: pd.DataFrame) -> pd.DataFrame:
    """The loss of each cell along the epochs; infinite where outputs were not finite."""
    return metrics.curves(records.fillna({"value": np.inf}), "loss")


def claim(table: pd.DataFrame, records: pd.DataFrame, info: RunInfo) -> str:
    """Whether cousins are learned to a lower loss with guides; empty where none is in the run.

    What diverged has no finite loss. Accuracy, by which all its answers are wrong, is judged then.
    """
    names = set(table.index.get_level_values("strategy"))
    guided = [name for name in GUIDED if name in names]
    if not guided or "naive" not in names:
        return ""
    controls = [name for name in CONTROLS if name in names and "gtl" in names]
    broken = _diverged(table["final_loss"], info, {*guided, "naive", *controls})
    measure, shown, better = ("accuracy", _accuracy, 1) if broken else ("loss", _loss, -1)
    values = table[f"final_{measure}"]
    parts = []
    for name in guided:
        found = differences(values, name, info).get("naive")
        if found is None:
            parts.append(f"for {info.label(name)} it is not tested, for want of a common seed")
            continue
        numbers = (
            f"{measure} {shown(values[name].mean())}, without guides "
            f"{shown(values['naive'].mean())}, difference {_difference(found, measure)}"
        )
        if not broken:
            numbers += f"; accuracy {difference(table['final_accuracy'], name, 'naive')}"
        above, below = ("holds", "does not hold")[::better]
        parts.append(f"for {info.label(name)} it {found.outcome(above, below)} ({numbers})")
    gain = difference(values, "gtl", "naive")
    for name in controls:
        less, alone = (difference(values, *two) for two in (("gtl", name), (name, "naive")))
        if less is None:
            continue
        how = CONTROLS[name]
        text = f"GTL's {measure} less that with {how} is {_difference(less, measure)}"
        if gain and alone and better * gain.mean > 0:
            share = max(0.0, 100 * alone.mean / gain.mean)
            text += f", which alone makes {f'{share:.0f} %' if share else 'nothing'} of the gain"
        parts.append(text)
    by = f", judged by accuracy since {broken}" if broken else ""
    return f"“Guides lower the loss on cousins”{by}: {'; '.join(parts)}."


def _diverged(loss: pd.Series, info: RunInfo, names: set[str]) -> str:
    """Which of these strategies diverged, and in how many runs; empty where none did."""
    finite = np.isfinite(loss).groupby("strategy").agg(["sum", "size"])
    texts = [
        f"{strategy.label} diverged in {runs - right} of {runs} runs"
        for strategy in info.among(names)
        for right, runs in [finite.loc[strategy.name]]
        if right < runs
    ]
    return " and ".join(texts)


def _accuracy(share: float) -> str:
    return f"{percent(share)} %"


def _loss(value: float) -> str:
    return f"{value:.4f}"


def _difference(found: Difference, measure: str) -> str:
    if measure == "accuracy":
        return str(found)
    mean, low, high = (f"{value:+.4f}".replace("-", "−") for value in found[:3])
    return (
        mean if found.seeds == 1 else f"{mean}, 95 % interval {low} to {high}, {found.seeds} seeds"
    )


@drawn_for_layout
def training(records: pd.DataFrame, info: RunInfo, layout: Layout) -> Sheet:
    """Accuracy and loss on the cousins along training.

    Raises:
        DataError: the records are incomplete.
    """
    accuracy = metrics.curves(records, "accuracy")
    with np.errstate(invalid="ignore"):  # the loss of what diverged is infinite
        losses = curves_of(_losses(records), info, 1)
    curves = curves_of(accuracy, info)
    labels = [cut(curve.label, SMALL, LONGEST) for curve in curves]
    room = room_for_labels(labels)
    what = f"Accuracy and loss on the patterns learned, mean over {info.more['cousins']} cousins"
    if layout.column == "single":
        heights = 2 * (height_for_labels(labels, 1.4),)
        sheet = on_sheet(info, what, accuracy, layout, sum(heights) + 2 * BOTTOM + 0.06)
        width = layout.width - LEFT - room
        places = [(LEFT, heights[1] + 2 * BOTTOM), (LEFT, BOTTOM)]
    else:
        heights = 2 * (height_for_labels(labels, 1.75),)
        sheet = on_sheet(info, what, accuracy, layout, heights[0] + BOTTOM + 0.06)
        width = (layout.width - 2 * LEFT - room - RIGHT) / 2
        places = [(LEFT, BOTTOM), (LEFT + width + RIGHT + LEFT, BOTTOM)]
    # In one column both panels have labels; in two, the one at the right has them.
    labelled = (True, True) if layout.column == "single" else (False, True)
    x = accuracy.columns.to_numpy()
    for lines, corner, height, y_label, named in zip(
        (curves, losses), places, heights, ("Accuracy (%)", "Loss (squared error)"), labelled
    ):
        (ax,) = grid(sheet, 1, 1, corner, (width, height), 0, 0)
        for curve in lines:
            draw_curve(sheet, ax, x, curve, " %" if lines is curves else "")
        _scale(ax, x, lines)
        name_y_axis(sheet, ax, y_label)
        ax.set_xlabel("Epochs")
        if named:
            ends = [float(curve.band.mean[-1]) for curve in lines]
            label_ends(sheet, ax, labels, [curve.look for curve in lines], ends)
    return sheet


def _scale(ax: Axes, x: np.ndarray, curves: Sequence[Curve]) -> None:
    """Axes as wide as the means, with a little room: neither 0 nor 100 % is near."""
    means = np.concatenate([curve.band.mean for curve in curves])
    low, high = np.nanmin(means), np.nanmax(means[np.isfinite(means)])
    room = 0.06 * (high - low) or 1.0
    ax.set_xlim(0, x[-1])
    ax.set_ylim(low - room, high + room)
    ax.locator_params(axis="x", integer=True, nbins=5)
    ax.locator_params(axis="y", nbins=5)
    ax.yaxis.set_major_formatter("{x:g}")


def _figures(info: RunInfo) -> list[Callable[..., Sheet]]:
    return [training]


KIND = Kind(
    metrics={
        metric.name: metric
        for metric in (
            Metric("final_accuracy", "Accuracy", "%", True),
            Metric("accuracy_along", "Accuracy along training", "%", True),
            Metric("final_loss", "Loss", "squared error", False),
            Metric("loss_along", "Loss along training", "squared error", False),
        )
    },
    scalars=scalars,
    figures=_figures,
    plots={"training": ("Accuracy and loss on the cousins along training.", "Epochs")},
    claim=claim,
)
