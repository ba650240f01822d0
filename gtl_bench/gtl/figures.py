"""Figures of a guide. They leave pyplot alone: no window opens, no global figure changes."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gtl_bench.gtl.guide import Guide


def plot_histograms(guide: Guide, bins: int = 50) -> Figure:
    """A histogram of the values of each tensor, with the number of values on a logarithmic axis.

    Args:
        guide: what to look at.
        bins: bars a histogram.

    Returns:
        A figure with one panel a tensor, in the model's order.
    """
    columns = min(3, len(guide.values))
    rows = math.ceil(len(guide.values) / columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * rows), layout="constrained")
    for index, (name, g) in enumerate(guide.values.items()):
        ax = figure.add_subplot(rows, columns, index + 1)
        ax.hist(g.flatten().numpy(), bins=bins, color="C0")
        ax.set(title=name, yscale="log", xlabel="guide", ylabel="parameters")
    return figure


def plot_heat_map(guide: Guide, name: str, ax: Axes | None = None) -> Axes:
    """The values of one tensor as a picture: a row for each output, a column for each input.

    Args:
        guide: what to look at.
        name: a tensor of the guide; of one with more than two dimensions, all but the first are
            laid side by side.
        ax: drawn on; a new figure's (`ax.figure`) where it is None.

    Raises:
        ValueError: if the guide has no such tensor.
    """
    if name not in guide.values:
        raise ValueError(f"the guide has no {name}; it has {', '.join(guide.values)}")
    g = guide.values[name]
    if ax is None:
        ax = Figure(layout="constrained").add_subplot()
    picture = g.flatten(1) if g.ndim > 1 else g.reshape(-1, 1)
    image = ax.imshow(picture.numpy(), aspect="auto", interpolation="nearest", vmin=0)
    assert ax.figure is not None
    ax.figure.colorbar(image, ax=ax, label="guide")
    ax.set(title=name, xlabel="input", ylabel="output")
    return ax
