"""What transfer learning offers beside fine-tuning everything: hold, slow down, or start afresh.

Yosinski et al., "How transferable are features in deep neural networks?", NeurIPS 2014. A new head
that the target task brings learns at the full rate with each of them; where there is none, the last
layer takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gtl_bench import Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source

SEARCH = {"lr": Log(1e-5, 1e0)}


@strategy("feature-extraction", label="Feature extraction", search=SEARCH)
def feature_extraction(source: Source) -> Plugins:
    """Fixed features: the head alone is trained."""
    return _at_rates(source, lambda layer, layers: float(layer == layers - 1))


@strategy("partial-finetune", label="Partial fine-tuning", search=SEARCH)
def partial_finetune(source: Source) -> Plugins:
    """The upper half of the layers is trained, the lower half held."""
    return _at_rates(source, lambda layer, layers: float(layer >= layers // 2))


@strategy("finetune-low-lr", label="Low learning rate", search=SEARCH)
def finetune_low_lr(source: Source, factor: float = 0.1) -> Plugins:
    """All layers are trained, those below the head at a tenth of the rate."""
    return _at_rates(source, lambda layer, layers: 1.0 if layer == layers - 1 else factor)


@strategy("from-scratch", label="From scratch", search=SEARCH)
def from_scratch(source: Source) -> Plugins:
    """No transfer: new random weights take the place of the base's."""
    from gtl_bench.finetuning import Afresh

    return [Afresh(source.rng("from scratch"))]


def _at_rates(source: Source, rate: Callable[[int, int], float]) -> Plugins:
    """A guide with one value a layer: of its place from 0 on, and of the number of layers."""
    import torch

    from gtl_bench.gtl import GTLPlugin

    parameters = dict(source.model.named_parameters())
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in parameters))
    guide = {
        name: torch.full_like(
            value.detach(), rate(layers.index(name.rpartition(".")[0]), len(layers))
        )
        for name, value in parameters.items()
    }
    return [GTLPlugin(source.guide(guide))]
