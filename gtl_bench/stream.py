"""The stream: one example after another, with an evaluation after each.

`learn` takes the base through the stream with a strategy's plugins and returns what it knew after
each step; step t is the state after t examples, step 0 the base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks.scenarios.online import split_online_stream
from avalanche.core import BasePlugin, SupervisedPlugin
from numpy.typing import NDArray
from torch import nn

from gtl_bench.learner import Learner, stream_of
from gtl_bench.rng import Rng
from gtl_bench.scenario import Examples, Scenario

#: Images of the source task whose accuracy is followed along the stream.
SOURCE_PROBE = 300

#: Images that are evaluated at once: their activations fit into a processor's cache.
ROWS = 500

_OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@dataclass(frozen=True)
class Course:
    """What a learner knew after each of the steps 0 … T of a stream.

    Attributes:
        steps: the steps after which it was evaluated: all of them, or the first and the last; the
            other rows below are False and mean nothing.
        test: whether each test image is classified right, (T + 1) × n_test, bool.
        stream: the same for the stream's examples, in their order, (T + 1) × T; the entries of
            examples not met by then are False and mean nothing.
        source: the same for a sample of the source task's images, (T + 1) × n_source.
        diverged: the step after which outputs were no longer finite, or None. From then on every
            answer counts as wrong.
    """

    steps: NDArray[np.int64]
    test: NDArray[np.bool_]
    stream: NDArray[np.bool_]
    source: NDArray[np.bool_]
    diverged: int | None


class _Diverged(Exception):
    """The outputs are no longer finite: there is nothing left to train."""


class _Recorder(SupervisedPlugin):
    """Evaluates after each experience, without data loaders, on images assembled beforehand."""

    def __init__(
        self,
        model: nn.Module,
        probes: Sequence[Examples],
        device: torch.device,
        every_step: bool,
    ) -> None:
        super().__init__()
        self.every_step = every_step
        self.model = model
        self.x = torch.cat([probe.x for probe in probes]).to(device)
        self.y = torch.cat([probe.y for probe in probes]).to(device)
        self.steps = len(probes[-1].y)
        self.always = len(self.y) - self.steps
        self.step = 0
        self.correct = torch.zeros(self.steps + 1, len(self.y), dtype=torch.bool)

    def evaluate(self) -> None:
        seen = self.always + self.step
        self.model.eval()
        with torch.inference_mode():
            logits = torch.cat([self.model(x) for x in self.x[:seen].split(ROWS)])
            right = logits.argmax(1) == self.y[:seen]
            finite = bool(logits.isfinite().all())
        self.model.train()
        if not finite:
            raise _Diverged
        self.correct[self.step, :seen] = right

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        self.step += 1
        if self.every_step or self.step == self.steps:
            self.model = strategy.model
            self.evaluate()


def learn(
    scenario: Scenario,
    model: nn.Module,
    plugins: Sequence[BasePlugin[Any]],
    optimizer: Mapping[str, Any],
    rng: Rng,
    device: torch.device | str = "cpu",
    every_step: bool = True,
) -> Course:
    """Take a base through the stream, one example after another.

    Args:
        scenario: source, stream and test images.
        model: the pretrained base; trained in place.
        plugins: the strategy, as Avalanche plugins.
        optimizer: `optimizer` (sgd, adam, adamw), `lr`, `weight_decay`, `momentum` (sgd alone).
        rng: the cell's named generators.
        device: where model and images live.
        every_step: evaluate after each example; else only before the first and after the last.
    """
    device = torch.device(device)
    stream = Examples(
        torch.cat([experience.x for experience in scenario.stream]),
        torch.cat([experience.y for experience in scenario.stream]),
    )
    probe = torch.randperm(len(scenario.source.y), generator=Rng.fixed("source probe"))
    recorder = _Recorder(
        model,
        [scenario.test, scenario.source.take(probe[:SOURCE_PROBE].sort().values), stream],
        device,
        every_step,
    )
    learner = Learner(
        model=model,
        optimizer=make_optimizer(model, optimizer),
        plugins=[*plugins, recorder],
        epochs=scenario.epochs,
        generator=rng("minibatches"),
        device=device,
    )
    # The source phase was the first experience of this learner's life.
    learner.clock.train_exp_counter = 1
    experiences = list(
        split_online_stream(
            stream_of(scenario.stream), experience_size=1, shuffle=False, seed=rng.seed
        )
    )
    diverged = None
    try:
        recorder.evaluate()
        learner.train(experiences, eval_streams=[])
    except _Diverged:
        diverged = recorder.step
    correct = recorder.correct.numpy()
    n_test = len(scenario.test.y)
    last = recorder.steps
    return Course(
        steps=np.arange(last + 1) if every_step else np.array([0, last]),
        test=correct[:, :n_test],
        source=correct[:, n_test : recorder.always],
        stream=correct[:, recorder.always :],
        diverged=diverged,
    )


def make_optimizer(model: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimizer that the settings describe (see `gtl_bench.recipes.LEARNER_DEFAULTS`)."""
    kwargs: dict[str, Any] = {"lr": settings["lr"], "weight_decay": settings["weight_decay"]}
    if settings["optimizer"] == "sgd":
        kwargs["momentum"] = settings["momentum"]
    make: Callable[..., torch.optim.Optimizer] = _OPTIMIZERS[settings["optimizer"]]
    return make(model.parameters(), **kwargs)
