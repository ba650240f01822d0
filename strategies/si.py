"""Synaptic intelligence (Zenke, Poole, Ganguli, ICML 2017)."""

from gtl_bench import Log, strategy


@strategy(
    "si",
    label="SI",
   
    search={"lr": Log(1e-4, 1e-1), "si_lambda": Log(1e-3, 1e2), "damping": Log(1e-3, 1e0)},
)
def si(source, si_lambda: float = 0.1, damping: float = 0.1):
    """The path integral begins with the source phase; each example of the stream adds to it."""
    from gtl_bench.regularizers import SynapticIntelligence

    plugin = SynapticIntelligence(si_lambda, damping)
    source.replay(plugin)
    return [plugin]
