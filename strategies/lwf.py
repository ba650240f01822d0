"""Learning without forgetting (Li & Hoiem, ECCV 2016), by Avalanche's plugin.

At first the teacher is the base; after each example it is the model as it then is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy("lwf", label="LwF", search={"lr": Log(1e-5, 1e0), "alpha": Log(1e-2, 1e2)})
def lwf(source: Source, alpha: float = 1.0, temperature: float = 2.0) -> Plugins:
    """Learning without forgetting."""
    from avalanche.training.plugins import LwFPlugin

    plugin = LwFPlugin(alpha, temperature)
    source.replay(plugin)
    return [plugin]
