"""Fine-tuning in batches: what experiments that are no streams of single examples learn with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from avalanche.core import BasePlugin, SupervisedPlugin
from torch import nn

from gtl_bench.learner import Criterion, Learner, experience_of
from gtl_bench.models import drawn
from gtl_bench.scenario import Examples
from gtl_bench.stream import make_optimizer

Observe = Callable[[int, nn.Module], None]


class _Observer(SupervisedPlugin):
    """Calls a function after epochs, with their number and the model."""

    def __init__(self, observe: Observe) -> None:
        super().__init__()
        self.observe = observe
        self.epoch = 0

    def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        self.epoch += 1
        self.observe(self.epoch, strategy.model)


class Afresh(SupervisedPlugin):
    """Draws the weights of all linear and convolutional layers anew before the training begins.

    Layers named `new_head`, which are new already, stay as they are, and so does normalisation.

    Args:
        generator: where the weights are drawn from, as for any network here
            (`gtl_bench.models.drawn`).
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def before_training(self, strategy: Any, **kwargs: Any) -> None:
        """Draw them."""
        for name, module in strategy.model.named_modules():
            if name != "new_head" and isinstance(module, nn.Linear | nn.Conv2d):
                device = module.weight.device
                drawn(module.cpu(), self.generator)  # the generator's place
                module.to(device)


def finetune(
    model: nn.Module,
    examples: Examples,
    plugins: Sequence[BasePlugin[Any]],
    settings: Mapping[str, Any],
    *,
    epochs: int,
    batch_size: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    criterion: Criterion | None = None,
    observe: Observe = lambda epoch, model: None,
) -> None:
    """Train a model on one experience, as a strategy does.

    Args:
        model: trained in place.
        examples: what it learns.
        plugins: the strategy, as Avalanche plugins.
        settings: `optimizer` (sgd, adam, adamw), `lr`, `weight_decay`, `momentum` (sgd alone).
        epochs: passes over the examples.
        batch_size: examples a mini-batch.
        generator: the order of the examples, drawn anew for each epoch.
        device: where model and mini-batches live.
        criterion: the loss of outputs and labels; cross-entropy if None.
        observe: called with (0, model) before the first epoch, and with (epoch, model) after each;
            the model is in training mode, and must be left as it is.
    """
    observe(0, model)
    learner = Learner(
        model=model,
        optimizer=make_optimizer(model, settings),
        plugins=[*plugins, _Observer(observe)],
        epochs=epochs,
        batch_size=batch_size,
        generator=generator,
        device=device,
        criterion=criterion,
    )
    # The source phase was the first experience of this learner's life.
    learner.clock.train_exp_counter = 1
    learner.train(experience_of(*examples), eval_streams=[])
