"""Training of hand-picked layers alone: a guide of ones and zeros that nobody had to learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source

SEARCH = {"lr": Log(1e-5, 1e0)}


@strategy("first-layer", label="First layer", search=SEARCH)
def first_layer(source: Source) -> Plugins:
    """Naive fine-tuning of the first layer alone."""
    return _only(source, 0)


@strategy("last-layer", label="Last layer", search=SEARCH)
def last_layer(source: Source) -> Plugins:
    """Naive fine-tuning of the last layer alone."""
    return _only(source, -1)


def _only(source: Source, position: int) -> Plugins:
    """A guide of 1 for the parameters of one layer, in the model's order, and 0 elsewhere.

    A new head, which the target task puts in place of the old one, learns in any case.
    """
    import torch

    from gtl_bench.gtl import GTLPlugin

    parameters = dict(source.model.named_parameters())
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in parameters))
    guide = {
        name: torch.full_like(value.detach(), float(name.rpartition(".")[0] == layers[position]))
        for name, value in parameters.items()
    }
    return [GTLPlugin(source.guide(guide))]
