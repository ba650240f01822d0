"""Synaptic intelligence (Zenke, Poole, Ganguli, ICML 2017).

The path integral begins with the source phase; each example of the stream is a task of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy(
    "si",
    label="SI",
    search={"lr": Log(1e-5, 1e0), "si_lambda": Log(1e-3, 1e2), "damping": Log(1e-3, 1e0)},
)
def si(source: Source, si_lambda: float = 0.1, damping: float = 0.1) -> Plugins:
    """Synaptic intelligence."""
    from gtl_bench.regularizers import SynapticIntelligence

    plugin = SynapticIntelligence(si_lambda, damping)
    source.replay(plugin)
    return [plugin]
