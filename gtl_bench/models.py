"""Networks that the benchmarks use."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

Layer = TypeVar("Layer", bound=nn.Linear | nn.Conv2d)


def mlp(sizes: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    """A multi-layer perceptron with ReLU between its layers.

    Args:
        sizes: units of each layer, input first; images are flattened.
        generator: where the initial weights are drawn from; they are uniform within ± 1/√fan-in,
            PyTorch's own choice.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [linear(fan_in, fan_out, generator), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def mlp_features(generator: torch.Generator) -> nn.Sequential:
    """Two hidden layers of 256 units on images of 28×28: 256 features."""
    return nn.Sequential(*mlp((784, 256, 256), generator), nn.ReLU())


def cnn_features(generator: torch.Generator) -> nn.Sequential:
    """A small convolutional network on images of 28×28 with one channel: 128 features.

    Two 3×3 convolutions (16 and 32 channels), each with ReLU and 2×2 max pooling, and a layer of
    128 units. Initial weights are drawn as in `mlp`.
    """
    return nn.Sequential(
        drawn(nn.utils.skip_init(nn.Conv2d, 1, 16, 3, padding=1), generator),
        nn.ReLU(),
        nn.MaxPool2d(2),
        drawn(nn.utils.skip_init(nn.Conv2d, 16, 32, 3, padding=1), generator),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        linear(32 * 7 * 7, 128, generator),
        nn.ReLU(),
    )


def with_head(
    features: nn.Module, outputs: int, generator: torch.Generator, name: str = "head"
) -> nn.Sequential:
    """Features with a linear layer on them, as the children `features` and `name`.

    Args:
        features: its last linear layer has as many units as there are features; not copied.
        outputs: units of the linear layer.
        generator: where its initial weights are drawn from, as in `mlp`.
        name: another one than the old head's for a new one, which guides then don't know.
    """
    last = [module for module in features.modules() if isinstance(module, nn.Linear)][-1]
    head = linear(last.out_features, outputs, generator)
    return nn.Sequential(OrderedDict({"features": features, name: head}))


def linear(fan_in: int, fan_out: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with initial weights drawn as in `mlp`."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
    return drawn(layer, generator)


def drawn(layer: Layer, generator: torch.Generator) -> Layer:
    """The layer with weights, then biases where it has them, uniform within ± 1/√fan-in."""
    bound = 1 / math.sqrt(layer.weight[0].numel())
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer
