"""Avalanche's own elastic weight consolidation, its `EWCPlugin` in the online mode.

`ewc` is the default in its place: the plugin squares the gradients of mini-batches, where Fisher
information asks for those of single examples. `tests/test_regularizers.py` shows that, and that
both agree where it is right: λ here is as 2 λ there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Linear, Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy(
    "ewc-avalanche",
    label="EWC, Avalanche",
    search={"lr": Log(1e-5, 1e0), "ewc_lambda": Log(1e0, 1e5), "decay": Linear(0.5, 1.0)},
)
def ewc_avalanche(source: Source, ewc_lambda: float = 100.0, decay: float = 1.0) -> Plugins:
    """Elastic weight consolidation, online, by Avalanche's plugin."""
    import torch
    from avalanche.training.plugins import EWCPlugin

    plugin = EWCPlugin(ewc_lambda, mode="online", decay_factor=decay)
    with torch.random.fork_rng(devices=[]):  # its data loader draws a seed that it never uses
        source.replay(plugin)
    # The plugin can't do without a parameter that it knows: it forgets a head that is replaced.
    kept = source.guide({name: torch.ones_like(p) for name, p in source.model.named_parameters()})
    for known in (plugin.importances[0], plugin.saved_params[0]):
        for name in known.keys() - kept.values.keys():
            del known[name]
    return [plugin]
