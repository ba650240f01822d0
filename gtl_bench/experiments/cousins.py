"""Random bit patterns: do guides from some sub-problems help to learn others, their cousins?

The proof of concept that Guided Transfer Learning's authors published with their code, after its
description. A deep sigmoid network learns to tell categories of random patterns apart until it
knows most of them. Then it learns sub-problems of a few categories, each from the base and by
itself, with guides and without. What is random can only be memorised: there is no test set.

Records: `accuracy`, the share of a cousin's patterns whose largest output of all ten is that of
their category, and `loss`, the mean over patterns and outputs of the squared error, both on the
patterns learned, after each epoch (`step`), mean over the cousins (−1); `diverged`, at most one
row, at the first epoch after which a cousin's outputs were not finite (−1, value 1): from then on
its answers count as wrong.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gtl_bench.experiment import Measured, Trial
from gtl_bench.finetuning import finetune
from gtl_bench.gtl.displacement import MeanDisplacement, Measure
from gtl_bench.gtl.subproblems import class_subsets
from gtl_bench.learner import Minibatches
from gtl_bench.records import ALL, Series
from gtl_bench.scenario import Examples, Task

CATEGORIES = 10

Subset = tuple[int, ...]


class Centred(nn.Module):
    """Bits 0 and 1 as −1 and 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Inputs of any shape, in [0, 1]."""
        return 2 * x - 1


def sigmoid_mlp(sizes: Sequence[int], gain: float, generator: torch.Generator) -> nn.Sequential:
    """A network of bits with a sigmoid after each layer but the last.

    Args:
        sizes: units of each layer, input first.
        gain: weights are uniform within ± gain · √(6 / (fan-in + fan-out)); biases are 0.
        generator: where the initial weights are drawn from.
    """
    layers: list[nn.Module] = [Centred()]
    for fan_in, fan_out in itertools.pairwise(sizes):
        linear = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
        nn.init.xavier_uniform_(linear.weight, gain, generator=generator)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Sigmoid()]
    return nn.Sequential(*layers[:-1])


def random_patterns(categories: int, each: int, bits: int, generator: torch.Generator) -> Examples:
    """Distinct random patterns (categories · each × bits, 0 or 1), dealt out to categories."""
    codes: list[int] = []
    seen: set[int] = set()
    while len(codes) < categories * each:
        code = int(torch.randint(2**bits, (), generator=generator))
        if code not in seen:
            seen.add(code)
            codes.append(code)
    x = (torch.tensor(codes)[:, None] >> torch.arange(bits)) & 1
    return Examples(x.float(), torch.arange(categories).repeat_interleave(each))


def squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """The mean squared error on one-hot targets, over patterns and outputs."""
    return functional.mse_loss(outputs, functional.one_hot(y, outputs.shape[1]).to(outputs.dtype))


def of_categories(examples: Examples, subset: Subset) -> Examples:
    """The examples of some categories."""
    return examples.take(torch.isin(examples.y, torch.tensor(subset)).nonzero().squeeze(1))


@dataclass(frozen=True)
class PatternTask(Task):
    """All categories, and the sub-problems that scouts are not sent to.

    Attributes:
        cousins: the categories of each sub-problem that is learned later.
    """

    cousins: tuple[Subset, ...] = ()

    def scouts(
        self, base: nn.Module, generator: torch.Generator, **settings: Any
    ) -> dict[str, Tensor]:
        """How far scouts moved each parameter, with the optimizer and the loss of the base.

        Args:
            base: where they start from.
            generator: the scouts' categories, and the order of their patterns.
            settings: n_scouts; n_classes: categories a scout; epochs; lr; batch_size; measure;
                examples, None; absent, "free".

        Raises:
            ValueError: if there are too few sub-problems that are no cousins, or for settings that
                have no meaning here.
        """
        return _scouts(self, base, generator, **settings)


def _scouts(
    task: PatternTask,
    base: nn.Module,
    generator: torch.Generator,
    *,
    n_scouts: int,
    n_classes: int,
    examples: int | None,
    epochs: int,
    lr: float,
    batch_size: int,
    measure: Measure,
    absent: str,
) -> dict[str, Tensor]:
    if examples is not None or absent != "free":
        raise ValueError(
            "scouts learn all patterns of their categories, with all outputs: scout_examples is 0, "
            "and no category is masked"
        )
    every = class_subsets(
        task.n_classes, n_classes, math.comb(task.n_classes, n_classes), generator
    )
    subsets = [subset for subset in every if subset not in task.cousins]
    if len(subsets) < n_scouts:
        raise ValueError(
            f"n_scouts is {n_scouts}; there are {len(subsets)} sub-problems of {n_classes} "
            "categories that are no cousins"
        )
    start = {name: value.detach() for name, value in base.named_parameters()}
    device = next(iter(start.values())).device
    mean = MeanDisplacement(measure)
    for index, subset in enumerate(subsets[:n_scouts]):
        columns = [column.to(device) for column in of_categories(task.source, subset)]
        scout = copy.deepcopy(base)
        optimizer = torch.optim.Adam(scout.parameters(), lr=lr)
        for _ in range(epochs):
            for x, y in Minibatches(columns, batch_size, generator):
                optimizer.zero_grad()
                squared_error(scout(x), y).backward()
                optimizer.step()
        moved = {name: value.detach() - start[name] for name, value in scout.named_parameters()}
        mean.add(moved, f"scout {index}")
    return mean.mean()


@dataclass(frozen=True)
class Cousins:
    """Sub-problems that are each learned from the base.

    Attributes:
        task: all categories, and which of them are cousins.
        epochs: passes over a cousin's patterns.
        batch_size: patterns a mini-batch.
    """

    task: PatternTask
    epochs: int
    batch_size: int
    kind: ClassVar[str] = "cousins"

    def take(self, trial: Trial) -> Measured:
        """Learn each cousin from the base."""
        source = trial.source(self.task)
        found = torch.full((len(self.task.cousins), self.epochs + 1, 2), torch.nan)
        for index, subset in enumerate(self.task.cousins):
            examples = of_categories(self.task.source, subset)
            x, y = (column.to(trial.device) for column in examples)

            def observe(
                epoch: int, model: nn.Module, index: int = index, x: Tensor = x, y: Tensor = y
            ) -> None:
                if trial.every_step or epoch in (0, self.epochs):
                    found[index, epoch] = torch.tensor(judged(model, x, y))

            finetune(
                source.model,
                examples,
                trial.plugins(source),
                trial.settings,
                epochs=self.epochs,
                batch_size=self.batch_size,
                generator=trial.rng(f"minibatches {index}"),
                device=trial.device,
                criterion=squared_error,
                observe=observe,
            )
        steps = np.arange(self.epochs + 1) if trial.every_step else np.array([0, self.epochs])
        return Measured(
            series=tuple(measured(found.double().mean(0).numpy(), steps)),
            experiences=("cousins",),
            boundaries=(self.epochs,),
            chance=1 / self.task.n_classes,
            more={"cousins": len(self.task.cousins)},
        )

    def trained(self) -> Sequence[Examples]:
        """All patterns."""
        return [self.task.source]

    def tested(self) -> Sequence[Examples]:
        """None: what is random can't be generalised to."""
        return []


def judged(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Accuracy, 0 where outputs are not finite, and loss."""
    with torch.inference_mode():
        outputs = model(x)
        right = (outputs.argmax(1) == y) & outputs.isfinite().all(1)
        return float(right.double().mean()), float(squared_error(outputs, y))


def measured(means: np.ndarray, steps: np.ndarray) -> list[Series]:
    """The records of a trial.

    Args:
        means: accuracy and loss after each epoch, mean over cousins (epochs + 1 × 2).
        steps: epochs that were looked at.
    """
    accuracy, loss = means[steps].T
    rows: list[Series] = [("accuracy", ALL, steps, accuracy), ("loss", ALL, steps, loss)]
    broken = ~np.isfinite(loss)
    if broken.any():
        rows.append(("diverged", ALL, steps[broken][:1], np.array([1.0])))
    return rows
