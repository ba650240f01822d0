"""Transfer to four targets: few or many examples, near or far.

What the records hold is told in `gtl_bench.experiments.transfer`; the run's `more` holds
`examples`, the number of training examples in each quadrant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gtl_bench import metrics, stats
from gtl_bench.metrics import Metric
from gtl_bench.report.claims import difference
from gtl_bench.report.info import PRINT, Layout, RunInfo
from gtl_bench.report.kinds import Kind

if TYPE_CHECKING:
    from gtl_bench.report.sheet import Sheet

#: The quadrants' names as metrics, in the order of the records' experiences.
QUADRANTS = ("few_near", "few_far", "many_near", "many_far")

#: What the textbook says to do in each quadrant.
RULE = {
    "few_near": "feature-extraction",
    "few_far": "partial-finetune",
    "many_near": "partial-finetune",
    "many_far": "naive",
}

#: What the rule chooses from: nothing but a new head, the upper layers, everything.
CHOICES = ("feature-extraction", "partial-finetune", "naive")

_METRICS = {
    metric.name: metric
    for metric in (
        Metric("mean_accuracy", "Mean of the four", "%", True),
        *(Metric(name, name.replace("_", ", ").capitalize(), "%", True) for name in QUADRANTS),
    )
}


def _scalars(records: pd.DataFrame, info: RunInfo) -> pd.DataFrame:
    """The accuracy after the last epoch, in each quadrant and as their mean."""
    columns = {}
    for experience, name in enumerate(_METRICS, start=metrics.WHOLE):
        columns[name] = metrics.curves(records, "accuracy", experience)[info.boundaries[-1]]
    return pd.DataFrame(columns)


def _figures(info: RunInfo) -> list[Callable[..., Sheet]]:
    return [quadrants]


def claim(scalars: pd.DataFrame, records: pd.DataFrame, info: RunInfo) -> str:
    """In which quadrants the textbook's choice is the best of the textbook's, and what else is."""
    present = set(scalars.index.get_level_values("strategy"))
    if not set(CHOICES) <= present:
        missing = ", ".join(name for name in CHOICES if name not in present)
        return f"The textbook's rule is not tested: {missing} is not in this run."
    holds, parts = 0, []
    for name in QUADRANTS:
        values, chosen = scalars[name], RULE[name]
        means = values.groupby("strategy").mean()
        others = {other: difference(values, chosen, other) for other in CHOICES if other != chosen}
        rival = max(others, key=lambda other: means[other])
        found = others[rival]
        if found is None:
            continue
        holds += found.mean > 0
        best = str(means.idxmax())
        text = f"{name.replace('_', ', ')}: {info.label(chosen)} less {info.label(rival)} {found}"
        parts.append(f"{text}; best of all is {info.label(best)}")
    return (
        f"The textbook's choice among a new head alone, the upper layers and everything has the "
        f"best mean in {holds} of {len(parts)} quadrants ({'. '.join(parts)})."
    )


def quadrants(records: pd.DataFrame, info: RunInfo, layout: Layout = PRINT) -> Sheet:
    """Accuracy of each strategy in each quadrant as a heat map; the best of each is framed.

    A triangle marks the textbook's choice.

    Raises:
        DataError: the records are incomplete.
    """
    from matplotlib.patches import Rectangle

    from gtl_bench.report.sheet import (
        EDGE,
        LINE,
        LONGEST,
        Reading,
        colour_bar,
        grid,
        headed,
    )
    from gtl_bench.report.style import SEQUENTIAL, SMALL, cut, rc, text_width

    table = _scalars(records, info)[list(QUADRANTS)]
    shown = info.among(table.index.get_level_values("strategy"))
    labels = [cut(strategy.label, SMALL, LONGEST) for strategy in shown]
    counts = {strategy.name: len(table.loc[strategy.name]) for strategy in shown}
    bands = [stats.mean_interval(100 * table.loc[s.name].to_numpy()) for s in shown]
    values = np.stack([band.mean for band in bands])
    examples = info.more.get("examples", [0, 0, 0, 0])
    columns = [f"{name.partition('_')[2]}, {n}" for name, n in zip(QUADRANTS, examples)]
    text = f"Accuracy (%) after training; mean over {info.seeds_text(counts)}"
    text += "; frame: best of the column; triangle: the textbook's choice"
    left = EDGE + max(text_width(label, SMALL) for label in labels) + 0.05
    row, foot, key = 0.17, 2 * LINE + 0.06, 0.3
    with rc(layout.scale):
        height = row * len(shown)
        body = key + foot + height + 0.04
        figure = headed(info.title, f"{text}; {info.regime}", layout, body)
        panel = (layout.width - left - EDGE, height)
        (ax,) = grid(figure, 1, 1, (left, key + foot), panel, 0, 0)
        ax.pcolormesh(
            values,
            cmap=SEQUENTIAL,
            vmin=0,
            vmax=100,
            edgecolors="white",
            linewidth=0.4 * figure.scale,
        )
        for (y, x), value in np.ndenumerate(values):
            chosen = RULE[QUADRANTS[x]] == shown[y].name
            ink = "white" if value > 65 else "black"
            ax.text(
                x + 0.5,
                y + 0.5,
                f"{value:.1f}",
                size=SMALL * figure.scale,
                color=ink,
                ha="center",
                va="center_baseline",
            )
            if chosen:
                ax.plot(x + 0.12, y + 0.5, ">", color=ink, ms=3 * figure.scale)
        for x, y in enumerate(values.argmax(0)):
            width = 1.2 * figure.scale
            frame = Rectangle((x, y), 1, 1, fill=False, edgecolor="black", linewidth=width)
            frame.set_clip_on(False)
            ax.add_patch(frame)
        for strategy, band in zip(shown, bands):
            x_places = np.linspace(0.5, 3.5, 4)
            figure.readings.append(
                Reading(ax, strategy.label, None, x_places, band, tuple(info.experiences))
            )
        ax.set_xlim(0, 4)
        ax.set_ylim(len(shown), 0)
        ax.set_xticks(np.arange(4) + 0.5, columns)
        ax.set_yticks(np.arange(len(shown)) + 0.5, labels)
        ax.set_xlabel("Target: similarity, training examples")
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        colour_bar(figure, left)
    return figure


KIND = Kind(
    metrics=_METRICS,
    scalars=_scalars,
    figures=_figures,
    plots={
        "quadrants": ("Accuracy in each quadrant; the best of each is framed.", "Quadrant"),
    },
    claim=claim,
)
