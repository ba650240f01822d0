"""Memory aware synapses (Aljundi et al., ECCV 2018).

The source task is the first experience; each example of the stream is another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Linear, Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy(
    "mas",
    label="MAS",
    search={"lr": Log(1e-5, 1e0), "mas_lambda": Log(1e-2, 1e3), "alpha": Linear(0.0, 1.0)},
)
def mas(source: Source, mas_lambda: float = 1.0, alpha: float = 0.5) -> Plugins:
    """Memory aware synapses."""
    from gtl_bench.regularizers import MAS

    plugin = MAS(mas_lambda, alpha)
    source.replay(plugin)
    return [plugin]
