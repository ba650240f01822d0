"""Guided Transfer Learning for any Avalanche strategy (Nikolić et al., arXiv 2303.16154).

    raw = scout(model, source_dataset, generator=g)     # where scouts had to change the base
    guide = raw.focused()                               # how much each parameter may change
    strategy = Naive(..., plugins=[GTLPlugin(guide)])   # learn the target with that guide

`guide.py` is what a guide is, `scouts.py` how one is learned, `plugin.py` how one is applied.
This package is a library of its own: it imports nothing of the rest of gtl-bench, and Avalanche
only once `GTLPlugin` is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gtl_bench.gtl.distance import DistanceGuides, scout_by_distance
from gtl_bench.gtl.guide import Guide, ScoutRecord
from gtl_bench.gtl.scouts import scout

if TYPE_CHECKING:
    from gtl_bench.gtl.figures import plot_heat_map, plot_histograms
    from gtl_bench.gtl.plugin import DistanceGTLPlugin, GTLPlugin

__all__ = [
    "DistanceGTLPlugin",
    "DistanceGuides",
    "GTLPlugin",
    "Guide",
    "ScoutRecord",
    "plot_heat_map",
    "plot_histograms",
    "scout",
    "scout_by_distance",
]


def __getattr__(name: str) -> Any:
    """The names whose modules import Avalanche or matplotlib, imported when first asked for."""
    if name in ("GTLPlugin", "DistanceGTLPlugin"):
        from gtl_bench.gtl import plugin

        return getattr(plugin, name)
    if name in ("plot_heat_map", "plot_histograms"):
        from gtl_bench.gtl import figures

        return getattr(figures, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
