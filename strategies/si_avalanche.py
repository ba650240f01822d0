"""Avalanche's own synaptic intelligence, its `SynapticIntelligencePlugin`.

`si` is the default in its place: on the CPU the plugin compares the parameters with views of
themselves, finds that nothing moved, and penalises nothing. `tests/test_regularizers.py` shows
that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy(
    "si-avalanche",
    label="SI, Avalanche",
    search={"lr": Log(1e-5, 1e0), "si_lambda": Log(1e-3, 1e2), "damping": Log(1e-3, 1e0)},
)
def si_avalanche(source: Source, si_lambda: float = 0.1, damping: float = 0.1) -> Plugins:
    """Synaptic intelligence by Avalanche's plugin; naive fine-tuning on the CPU."""
    from avalanche.training.plugins import SynapticIntelligencePlugin

    plugin = SynapticIntelligencePlugin(si_lambda, eps=damping)
    source.replay(plugin)
    return [plugin]
