"""Elastic weight consolidation (Kirkpatrick et al., PNAS 2017), online (Schwarz et al., ICML 2018).

The source task is the first experience; each example of the stream is another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Linear, Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy(
    "ewc",
    label="EWC",
    search={"lr": Log(1e-5, 1e0), "ewc_lambda": Log(1e0, 1e5), "decay": Linear(0.5, 1.0)},
)
def ewc(source: Source, ewc_lambda: float = 100.0, decay: float = 1.0) -> Plugins:
    """Elastic weight consolidation, online."""
    from gtl_bench.regularizers import EWC

    plugin = EWC(ewc_lambda, decay)
    source.replay(plugin)
    return [plugin]
