"""Networks that the benchmarks use."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn


def mlp(sizes: Sequence[int], generator: torch.Generator) -> nn.Sequential:
    """A multi-layer perceptron with ReLU between its layers.

    Args:
        sizes: units of each layer, input first; images are flattened.
        generator: where the initial weights are drawn from; they are uniform within ± 1/√fan-in,
            PyTorch's own choice for linear layers.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(sizes):
        linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
        bound = 1 / math.sqrt(fan_in)
        nn.init.uniform_(linear.weight, -bound, bound, generator=generator)
        nn.init.uniform_(linear.bias, -bound, bound, generator=generator)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])
