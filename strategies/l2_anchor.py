"""A penalty on the distance from the base, all parameters alike (L2-SP, Li et al., ICML 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy("l2-anchor", label="L2 anchor", search={"lr": Log(1e-5, 1e0), "strength": Log(1e-4, 1e1)})
def l2_anchor(source: Source, strength: float = 0.01) -> Plugins:
    """A penalty on the distance from the base, all parameters alike."""
    import torch

    from gtl_bench.regularizers import QuadraticPenalty

    plugin = QuadraticPenalty(strength)
    for name, parameter in source.model.named_parameters():
        plugin.anchor[name] = parameter.detach().clone()
        plugin.importance[name] = torch.ones_like(plugin.anchor[name])
    return [plugin]
