"""Figures of a guide."""

from __future__ import annotations

import io

import matplotlib
import pytest
import torch
from matplotlib.figure import Figure

from gtl_bench.gtl import Guide, plot_heat_map, plot_histograms

GUIDE = Guide({"conv": torch.rand(3, 2, 2, 2), "w": torch.rand(4, 5), "b": torch.zeros(4)})


def test_a_histogram_for_each_tensor() -> None:
    figure = plot_histograms(GUIDE, bins=7)
    assert [ax.get_title() for ax in figure.axes] == ["conv", "w", "b"]
    for ax, value in zip(figure.axes, GUIDE.values.values()):
        assert len(ax.patches) == 7
        assert sum(bar.get_height() for bar in ax.patches) == value.numel()
    figure.savefig(io.BytesIO())


@pytest.mark.parametrize(("name", "shape"), [("conv", (3, 8)), ("w", (4, 5)), ("b", (4, 1))])
def test_a_heat_map_has_a_row_for_each_output(name: str, shape: tuple[int, int]) -> None:
    ax = plot_heat_map(GUIDE, name)
    (image,) = ax.images
    assert image.get_array().shape == shape
    assert image.get_array().sum() == pytest.approx(float(GUIDE.values[name].sum()), rel=1e-5)
    ax.figure.savefig(io.BytesIO())


def test_a_heat_map_is_drawn_where_it_is_asked_for() -> None:
    ax = Figure().add_subplot()
    assert plot_heat_map(GUIDE, "w", ax) is ax
    with pytest.raises(ValueError, match="the guide has no v; it has conv, w, b"):
        plot_heat_map(GUIDE, "v")


def test_pyplot_is_left_alone() -> None:
    from matplotlib import pyplot

    before = pyplot.get_fignums(), matplotlib.get_backend()
    plot_histograms(GUIDE)
    plot_heat_map(GUIDE, "w")
    assert (pyplot.get_fignums(), matplotlib.get_backend()) == before
