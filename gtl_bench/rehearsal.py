"""Rehearsal of what was met before: of a small reservoir, or of everything, the upper line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from avalanche.training.plugins import SupervisedPlugin
from avalanche.training.storage_policy import ReservoirSamplingBuffer
from torch import Tensor

from gtl_bench.learner import Minibatches


class Reservoir(ReservoirSamplingBuffer):  # type: ignore[misc]
    """Avalanche's reservoir, for Avalanche's `ReplayPlugin`.

    The plugin calls a method that warns, at each call, of being deprecated.
    """

    def update(self, strategy: Any, **kwargs: Any) -> None:
        """Take the experience just learned into the draw."""
        self.post_adapt(strategy, strategy.experience)


class FullRehearsal(SupervisedPlugin):
    """Each epoch passes over all examples met so far, the new one among them.

    Its cost grows with the stream.

    Args:
        batch_size: examples a mini-batch.
        generator: where their order is drawn from.
    """

    def __init__(self, batch_size: int, generator: torch.Generator) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be 1 or more")
        self.batch_size = batch_size
        self.generator = generator
        self._met: list[Sequence[Tensor]] = []

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Add the experience's examples to those met, and train on all of them."""
        self._met.append(strategy.dataloader.columns)
        columns = [torch.cat(column) for column in zip(*self._met)]
        strategy.dataloader = Minibatches(columns, self.batch_size, self.generator)
