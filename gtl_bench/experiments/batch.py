"""Experiences learned in batches, one after another, from the initial weights: the classical table.

van de Ven & Tolias, "Three scenarios for continual learning", arXiv 1904.07734.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any, ClassVar

import numpy as np
import torch
from avalanche.core import SupervisedPlugin
from avalanche.models import MultiTaskModule
from avalanche.models.utils import avalanche_forward
from torch import Tensor, nn

from gtl_bench.experiment import Measured, Trial
from gtl_bench.learner import Learner, stream_of
from gtl_bench.records import ALL
from gtl_bench.scenario import Examples, SourceTask
from gtl_bench.stream import make_optimizer


@dataclass(frozen=True)
class Batches:
    """Experiences in order, each learned from its whole training set.

    Attributes:
        start: the network with its initial weights; there is no source phase.
        stream: the training set of each experience.
        tests: the test set of each experience.
        names: of the experiences.
        task_labels: the learner is told which experience an image belongs to, at test as well; the
            network is then a `SharedOutputs`.
        iterations: mini-batches an experience.
        batch_size: examples a mini-batch; the last of a pass over the examples may be smaller.
        chance: the accuracy of guessing.
        published: strategy -> published accuracies at the end, mean over experiences, 0 to 1: the
            lowest and the highest that are known.
    """

    start: SourceTask
    stream: tuple[Examples, ...]
    tests: tuple[Examples, ...]
    names: tuple[str, ...]
    task_labels: bool
    iterations: int
    batch_size: int
    chance: float
    published: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    kind: ClassVar[str] = "batch"

    def take(self, trial: Trial) -> Measured:
        """Learn one experience after another, with an evaluation after each.

        The optimizer keeps its state from experience to experience. Evaluations are few, and are
        made whether or not the trial asks for them.
        """
        source = trial.source(self.start)
        model = source.model
        plugins = trial.plugins(source)
        tests = [Examples(x.to(trial.device), y.to(trial.device)) for x, y in self.tests]
        recorder = _Recorder(tests)
        learner = Learner(
            model=model,
            optimizer=make_optimizer(model, trial.settings),
            plugins=[*plugins, recorder, _StopAfter(self.iterations)],
            epochs=self.iterations + 1,  # more than enough: a pass is at least one iteration
            batch_size=self.batch_size,
            generator=trial.rng("minibatches"),
            device=trial.device,
        )
        recorder.evaluate(model)
        if plugins or trial.settings["lr"]:
            learner.train(stream_of(self.stream, self.task_labels), eval_streams=[])
        else:  # the frozen base: ten thousand iterations would change nothing
            recorder.accuracy *= len(self.stream) + 1

        steps = np.arange(len(self.stream) + 1)
        accuracy = np.array(recorder.accuracy)
        rows = [("accuracy", ALL, steps, accuracy.mean(1))]
        rows += [
            ("accuracy", index, steps, accuracy[:, index]) for index in range(len(self.stream))
        ]
        if recorder.diverged is not None:
            rows.append(("diverged", ALL, np.array([recorder.diverged]), np.array([1.0])))
        return Measured(
            tuple(rows),
            self.names,
            tuple(steps[1:].tolist()),
            self.chance,
            {"published": {name: list(values) for name, values in self.published.items()}},
        )

    def trained(self) -> Sequence[Examples]:
        """The training sets."""
        return self.stream

    def tested(self) -> Sequence[Examples]:
        """The test sets."""
        return self.tests


class SharedOutputs(MultiTaskModule):  # type: ignore[misc]
    """A network whose outputs are shared out among tasks: those of a task stand side by side.

    Called without a task label, it takes the task that it was adapted to last.

    Args:
        network: inputs to the outputs of all tasks (n × tasks · per_task).
        per_task: outputs a task.
    """

    def __init__(self, network: nn.Module, per_task: int) -> None:
        super().__init__()
        self.network = network
        self.per_task = per_task
        self.task = 0

    def adaptation(self, experience: Any) -> None:
        """Note the task of the experience that is about to be learned."""
        super().adaptation(experience)
        (self.task,) = experience.task_labels

    def forward(
        self, x: Tensor, task_labels: Tensor | int | EllipsisType | None = ...
    ) -> Tensor | dict[int, Tensor]:
        """Outputs of the examples' own tasks (n × per_task), or for None those of all tasks met."""
        known = self.task if isinstance(task_labels, EllipsisType) else task_labels
        outputs: Tensor | dict[int, Tensor] = super().forward(x, known)
        return outputs

    def forward_single_task(self, x: Tensor, task_label: int) -> Tensor:
        """Outputs of one task."""
        return self._shares(x)[task_label]

    def forward_all_tasks(self, x: Tensor) -> dict[int, Tensor]:
        """Outputs of each task met so far, in one pass through the network."""
        shares = self._shares(x)
        return {task: shares[task] for task in self.known_train_tasks_labels}

    def _shares(self, x: Tensor) -> tuple[Tensor, ...]:
        return torch.split(self.network(x), self.per_task, dim=1)


class _Recorder(SupervisedPlugin):
    """Accuracy on each experience's test set: before the first and after each of them."""

    def __init__(self, tests: Sequence[Examples]) -> None:
        super().__init__()
        self.tests = tests
        self.accuracy: list[list[float]] = []
        self.diverged: int | None = None

    def evaluate(self, model: nn.Module) -> None:
        """Outputs that aren't finite are wrong answers, from then on."""
        model.eval()
        with torch.inference_mode():
            outputs = [avalanche_forward(model, x, task) for task, (x, _) in enumerate(self.tests)]
        model.train()
        if self.diverged is None and not all(bool(o.isfinite().all()) for o in outputs):
            self.diverged = len(self.accuracy)
        self.accuracy.append(
            [
                0.0 if self.diverged is not None else float((o.argmax(1) == y).double().mean())
                for o, (_, y) in zip(outputs, self.tests)
            ]
        )

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        self.evaluate(strategy.model)


class _StopAfter(SupervisedPlugin):
    """Ends each experience after a number of iterations."""

    def __init__(self, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.done = 0

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        self.done = 0

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        self.done += 1
        if self.done == self.iterations:
            strategy.stop_training()
