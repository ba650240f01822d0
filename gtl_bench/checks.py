"""What a strategy must keep to while it learns: violations are one line, not a wrong number."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import torch
from avalanche.core import SupervisedPlugin
from torch import nn

from gtl_bench.errors import UsageError
from gtl_bench.scenario import Examples

_SEEDING: tuple[tuple[Any, str], ...] = (
    (torch, "manual_seed"),
    (torch, "seed"),
    (torch.random, "manual_seed"),
    (torch.random, "seed"),
    (np.random, "seed"),
    (random, "seed"),
)


class OutputSize(SupervisedPlugin):
    """Sees to it that the model goes on having the outputs that it had.

    Args:
        model: the model before the strategy has touched it.
        examples: what it can be called on.
        strategy: the strategy's name, for the message.
    """

    def __init__(self, model: nn.Module, examples: Examples, strategy: str) -> None:
        super().__init__()
        self.strategy = strategy
        device = next(model.parameters()).device
        model.eval()
        with torch.inference_mode():
            self.size = model(examples.x[:1].to(device)).shape[1:]
        model.train()

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        size = strategy.mb_output.shape[1:]
        if size != self.size:
            raise UsageError(
                f"strategy {self.strategy!r} changes the model's outputs from {_text(self.size)} "
                f"to {_text(size)}: it must keep one for each class."
            )


def _text(size: torch.Size) -> str:
    return "×".join(map(str, size))


@contextlib.contextmanager
def reseeding_refused() -> Iterator[None]:
    """Refuse to set the seed of the global random state, which would make all seeds draw alike.

    Drawing from it is harmless: it is pinned for each cell.
    """

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise UsageError(
            "a recipe sets the seed of the global random state, so that all seeds would draw the "
            "same: draw from a generator of its own, such as source.rng('my draws')."
        )

    before = [(module, name, getattr(module, name)) for module, name in _SEEDING]
    try:
        for module, name in _SEEDING:
            setattr(module, name, refuse)
        yield
    finally:
        for module, name, function in before:
            setattr(module, name, function)
