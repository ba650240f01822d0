"""One-shot learning: characters that the base has never seen, one drawing of each to learn from.

A few characters are drawn, the base gets a new head for them and learns from one drawing of each;
tested is on others. That is done for several draws of characters, each time from the base anew, and
what the records hold is the mean over draws; a step is an epoch:

- `accuracy`: share of the test drawings classified right after `step`;
- `loss`: cross-entropy on them, infinite where outputs are not finite;
- `learned_accuracy`: share of the drawings learned from that are classified right;
- `guide`: of a guided strategy; here `step` is a bin, and the value the share of the guide's values
  in it: those from step / `BINS` to the next bin, of the last one all above;
- `diverged`: at most one row, at the first checkpoint at which outputs were not finite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from gtl_bench.checks import OutputSize
from gtl_bench.experiment import Measured, Trial
from gtl_bench.finetuning import finetune
from gtl_bench.gtl import GTLPlugin
from gtl_bench.models import with_head
from gtl_bench.records import ALL, Series
from gtl_bench.scenario import Examples, Task
from gtl_bench.source import Plugins

#: Bins of the guide's histogram, from 0 to 1.
BINS = 50


@dataclass(frozen=True)
class Draw:
    """Characters that are learned together; labels count from 0.

    Attributes:
        learned: one drawing of each character.
        tested: other drawings of them.
    """

    learned: Examples
    tested: Examples


@dataclass(frozen=True)
class OneShot:
    """One-shot learning of several draws of characters, each from the base anew.

    Attributes:
        task: what the base knows; its model has the children `features` and `head`.
        draws: what is learned.
        epochs: passes over a draw, all of it in one mini-batch.

    Raises:
        ValueError: without a draw, or without an epoch.
    """

    task: Task
    draws: tuple[Draw, ...]
    epochs: int
    kind: ClassVar[str] = "oneshot"

    def __post_init__(self) -> None:
        for name, value in (("draws", len(self.draws)), ("epochs", self.epochs)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more")

    def take(self, trial: Trial) -> Measured:
        """Learn each draw of characters."""
        source = trial.source(self.task)
        steps = checkpoints(self.epochs) if trial.every_step else [0, self.epochs]
        courses = []
        for index, draw in enumerate(self.draws):
            plugins = trial.plugins(source)
            if not index:
                histogram = guide_histogram(plugins)
            model = renewed(source.model, draw, trial, index)
            courses.append(self._course(model, draw, plugins, trial, steps, index))
        values = np.stack(courses)  # draws × steps × (accuracy, loss, learned accuracy)
        mean = values.mean(0)
        at = np.array(steps)
        series: list[Series] = [
            ("accuracy", ALL, at, mean[:, 0]),
            ("loss", ALL, at, mean[:, 1]),
            ("learned_accuracy", ALL, at, mean[:, 2]),
        ]
        if histogram is not None:
            series.append(("guide", ALL, np.arange(BINS), histogram))
        series += divergence(at, values[:, :, 1])
        ways = int(self.draws[0].learned.y.max()) + 1
        return Measured(
            tuple(series),
            ("all",),
            (self.epochs,),
            1 / ways,
            {"ways": ways, "draws": len(self.draws)},
        )

    def trained(self) -> Sequence[Examples]:
        """The source task's images, and the drawings learned from."""
        return [self.task.source, *(draw.learned for draw in self.draws)]

    def tested(self) -> Sequence[Examples]:
        """The other drawings."""
        return [draw.tested for draw in self.draws]

    def _course(
        self,
        model: nn.Module,
        draw: Draw,
        plugins: Plugins,
        trial: Trial,
        steps: Sequence[int],
        index: int,
    ) -> list[tuple[float, float, float]]:
        """Accuracy, loss and accuracy on what was learned at each of the steps."""
        course = []

        def observe(epoch: int, model: nn.Module) -> None:
            if epoch in steps:
                accuracy, loss = examined(model, draw.tested, trial.device)
                learned, _ = examined(model, draw.learned, trial.device)
                course.append((accuracy, loss, learned))

        finetune(
            model,
            draw.learned,
            [*plugins, OutputSize(model, draw.tested, trial.strategy)],
            trial.settings,
            epochs=self.epochs,
            batch_size=len(draw.learned.y),
            generator=trial.rng(f"minibatches {index}"),
            device=trial.device,
            observe=observe,
        )
        return course


def renewed(model: nn.Module, draw: Draw, trial: Trial, index: int) -> nn.Module:
    """The base with a new head for a draw of characters, the same one for every strategy."""
    outputs = int(draw.learned.y.max()) + 1
    features = model.get_submodule("features")
    return with_head(features, outputs, trial.rng(f"head {index}"), "new_head").to(trial.device)


def examined(model: nn.Module, examples: Examples, device: torch.device) -> tuple[float, float]:
    """Accuracy and cross-entropy; 0 and infinity where outputs are not finite."""
    training = model.training
    model.eval()
    with torch.inference_mode():
        logits, y = model(examples.x.to(device)), examples.y.to(device)
        finite = bool(logits.isfinite().all())
        right = (logits.argmax(1) == y).double().mean()
        loss = functional.cross_entropy(logits, y)
    model.train(training)
    return (float(right), float(loss)) if finite else (0.0, math.inf)


def checkpoints(last: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50, … up to the last, and the last."""
    ladder = (digit * 10**power for power in range(len(str(last))) for digit in (1, 2, 5))
    return [0, *(step for step in ladder if step < last), last]


def divergence(steps: NDArray[np.int64], losses: NDArray[np.float64]) -> list[Series]:
    """The row that tells when a run diverged, if it did.

    Args:
        steps: the checkpoints (steps).
        losses: infinite where outputs were not finite (… × steps).
    """
    broken = np.isinf(losses).reshape(-1, len(steps)).any(0)
    if not broken.any():
        return []
    return [("diverged", ALL, steps[[broken.argmax()]], np.array([1.0]))]


def guide_histogram(plugins: Plugins) -> NDArray[np.float64] | None:
    """The share of a guide's values in each of `BINS` bins from 0 to 1; None without a guide."""
    for plugin in plugins:
        if isinstance(plugin, GTLPlugin):
            values = torch.cat([value.flatten() for value in plugin.guide.values.values()])
            bins = (values * BINS).long().clamp(0, BINS - 1)
            return (bins.bincount(minlength=BINS).double() / len(bins)).numpy()
    return None
