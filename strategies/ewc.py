"""Elastic weight consolidation (Kirkpatrick et al., PNAS 2017), online (Schwarz et al., ICML 2018)."""

from gtl_bench import Linear, Log, strategy


@strategy(
    "ewc",
    label="EWC",
   
    search={"lr": Log(1e-4, 1e-1), "ewc_lambda": Log(1e0, 1e5), "decay": Linear(0.5, 1.0)},
)
def ewc(source, ewc_lambda: float = 100.0, decay: float = 1.0):
    """The source task is the first experience; each example of the stream is another."""
    from gtl_bench.regularizers import EWC

    plugin = EWC(ewc_lambda, decay)
    source.replay(plugin)
    return [plugin]
