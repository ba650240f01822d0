"""Characters learned one-shot, then their further examples one at a time: does accuracy accumulate?

The base gets a new head, learns from one drawing of each character, all in one mini-batch, at the
strategy's own learning rate; then from each further drawing alone, at a rate that is a rung of a
ladder, or at the strategy's own. That is done for several draws of characters, each time from the
base anew, and what the records hold is the mean over draws. A step is a drawing learned from: step
0 is the base with its new head, the first step after it the end of one-shot learning.

- `accuracy`: share of the test drawings classified right after `step`; at the strategy's own rate
  (experience −1) and at each rung (0, 1, …), 0 from where outputs are not finite any more;
- `diverged`: at most one row, at the first checkpoint at which outputs at the strategy's own rate
  were not finite.

A strategy whose own rate is 0 learns at no rung.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from avalanche.benchmarks.scenarios.online import split_online_stream
from avalanche.core import SupervisedPlugin
from numpy.typing import NDArray
from torch import nn

from gtl_bench.checks import OutputSize
from gtl_bench.experiment import Measured, Trial
from gtl_bench.experiments.oneshot import Draw, divergence, examined, renewed
from gtl_bench.finetuning import finetune
from gtl_bench.learner import Learner, stream_of
from gtl_bench.records import ALL, Series
from gtl_bench.scenario import Examples, Task
from gtl_bench.source import Source
from gtl_bench.stream import make_optimizer


@dataclass(frozen=True)
class Further:
    """A draw of characters with further drawings of them.

    Attributes:
        first: one drawing of each to begin with, and those to test on.
        stream: the further drawings, in the order in which they come.
    """

    first: Draw
    stream: Examples


@dataclass(frozen=True)
class Accumulation:
    """One-shot learning, then single further examples, at a ladder of learning rates.

    Attributes:
        task: what the base knows; its model has the children `features` and `head`.
        draws: what is learned.
        rates: the rungs of the ladder, rising.
        oneshot_epochs: passes over the first drawings, all in one mini-batch.
        epochs: passes over each further drawing.

    Raises:
        ValueError: for a number out of range.
    """

    task: Task
    draws: tuple[Further, ...]
    rates: tuple[float, ...]
    oneshot_epochs: int
    epochs: int
    kind: ClassVar[str] = "accumulation"

    def __post_init__(self) -> None:
        for name, value in (
            ("draws", len(self.draws)),
            ("oneshot_epochs", self.oneshot_epochs),
            ("epochs", self.epochs),
        ):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more")
        rising = all(low < high for low, high in zip((0.0, *self.rates), self.rates))
        if not (self.rates and rising):
            raise ValueError(f"rates are {self.rates}; they must rise from above 0")

    def take(self, trial: Trial) -> Measured:
        """Learn each draw of characters, at the strategy's own rate and at each rung."""
        source = trial.source(self.task)
        ways = len(self.draws[0].first.learned.y)
        last = ways + len(self.draws[0].stream.y)
        steps = np.array([*range(0, last, ways), last] if trial.every_step else [0, last])
        own = float(trial.settings["lr"])
        rungs = [(k, rate if own else 0.0) for k, rate in enumerate(self.rates)]
        series: list[Series] = []
        for experience, rate in [(ALL, own), *(rungs if trial.every_step else [])]:
            courses = [
                self._course(source, trial, rate, index, steps) for index in range(len(self.draws))
            ]
            values = np.array(courses)  # draws × steps × (accuracy, loss)
            series.append(("accuracy", experience, steps, values[:, :, 0].mean(0)))
            if experience == ALL:
                series += divergence(steps, values[:, :, 1])
        return Measured(
            tuple(series),
            tuple(f"{rate:g}" for rate in self.rates),
            (last,) * len(self.rates),
            1 / ways,
            {"ways": ways, "draws": len(self.draws)},
        )

    def trained(self) -> Sequence[Examples]:
        """The source task's images, the first drawings, and the further ones."""
        drawn = [part for draw in self.draws for part in (draw.first.learned, draw.stream)]
        return [self.task.source, *drawn]

    def tested(self) -> Sequence[Examples]:
        """The drawings to test on."""
        return [draw.first.tested for draw in self.draws]

    def _course(
        self, source: Source, trial: Trial, rate: float, index: int, steps: NDArray[np.int64]
    ) -> list[tuple[float, float]]:
        """Accuracy and loss at each of the steps, of one draw, its stream learned at a rate."""
        draw = self.draws[index]
        first = draw.first
        model = renewed(source.model, first, trial, index)
        plugins = [*trial.plugins(source), OutputSize(model, first.tested, trial.strategy)]
        course = [examined(model, first.tested, trial.device)]
        finetune(
            model,
            first.learned,
            plugins,
            trial.settings,
            epochs=self.oneshot_epochs,
            batch_size=len(first.learned.y),
            generator=trial.rng(f"minibatches {index}"),
            device=trial.device,
        )

        def observe(met: int, model: nn.Module) -> None:
            if len(first.learned.y) + met in steps:
                course.append(examined(model, first.tested, trial.device))

        observe(0, model)
        learner = Learner(
            model=model,
            optimizer=make_optimizer(model, {**trial.settings, "lr": rate}),
            plugins=[*plugins, _Observer(observe)],
            epochs=self.epochs,
            device=trial.device,
        )
        learner.clock.train_exp_counter = 2  # after the source phase and one-shot learning
        online = split_online_stream(
            stream_of([draw.stream]), experience_size=1, shuffle=False, seed=trial.rng.seed
        )
        learner.train(list(online), eval_streams=[])
        return course


class _Observer(SupervisedPlugin):
    """Calls a function after each experience, with the number of them and the model."""

    def __init__(self, observe: Any) -> None:
        super().__init__()
        self.observe = observe
        self.met = 0

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        self.met += 1
        self.observe(self.met, strategy.model)
