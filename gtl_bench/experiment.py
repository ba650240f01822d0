"""An experiment: what a benchmark makes every strategy go through, and what it measures there.

The commonest is a stream of single examples, for which a benchmark returns a `Scenario`. Whatever
is not a stream is an `Experiment` of its own: a class with a `kind`, which names the module in
`gtl_bench.report.kinds` that reports on it, and a method `take`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch

from gtl_bench.checks import OutputSize
from gtl_bench.records import Series, series
from gtl_bench.rng import Rng
from gtl_bench.scenario import Examples, Scenario
from gtl_bench.source import Plugins, Source
from gtl_bench.stream import learn


@dataclass(frozen=True)
class Trial:
    """A strategy with a seed, as an experiment sees it.

    Attributes:
        strategy: the strategy's name.
        settings: its hyperparameters, all of them; the optimizer's (`gtl_bench.stream.
            make_optimizer`) and its own.
        plugins: the strategy's plugins, prepared from a source phase.
        source: the source phase of a task, computed once a seed. An experiment with several tasks
            gives each a name of its own.
        rng: the cell's named generators.
        device: where models are trained.
        every_step: evaluate along the way; else only at the start and at the end.
    """

    strategy: str
    settings: Mapping[str, Any]
    plugins: Callable[[Source], Plugins]
    source: Callable[..., Source]
    rng: Rng
    device: torch.device
    every_step: bool


@dataclass(frozen=True)
class Measured:
    """What a trial leaves.

    Attributes:
        series: rows of the records.
        experiences: names of the parts that are reported apart, such as "0/1"; their indices are
            the records' column `experience`.
        boundaries: the step at which each experience ends; the last one ends the experiment.
        chance: the score of guessing, 0 to 1.
        more: what the report of this kind needs to know beside; has a JSON form.
    """

    series: tuple[Series, ...]
    experiences: tuple[str, ...]
    boundaries: tuple[int, ...]
    chance: float
    more: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Experiment(Protocol):
    """What a benchmark returns that is no stream of single examples.

    Attributes:
        kind: the module of `gtl_bench.report.kinds` that reports on it.
    """

    kind: ClassVar[str]

    def take(self, trial: Trial) -> Measured:
        """Take a strategy through the experiment."""

    def trained(self) -> Sequence[Examples]:
        """All that any model is ever trained on, the source task's examples included."""

    def tested(self) -> Sequence[Examples]:
        """The test images."""


@dataclass(frozen=True)
class SingleExamples:
    """The stream of single examples that a scenario describes."""

    scenario: Scenario
    kind: ClassVar[str] = "stream"

    def take(self, trial: Trial) -> Measured:
        """Learn one example after another, with an evaluation after each."""
        scenario = self.scenario
        source = trial.source(scenario)
        model = source.model
        course = learn(
            scenario,
            model,
            [*trial.plugins(source), OutputSize(model, scenario.test, trial.strategy)],
            trial.settings,
            trial.rng,
            trial.device,
            trial.every_step,
        )
        return Measured(
            tuple(series(course, scenario)),
            scenario.names,
            scenario.boundaries,
            1 / scenario.n_classes,
        )

    def trained(self) -> Sequence[Examples]:
        """Source and stream."""
        return [self.scenario.source, *self.scenario.stream]

    def tested(self) -> Sequence[Examples]:
        """The test images."""
        return [self.scenario.test]
