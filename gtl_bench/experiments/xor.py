"""XOR from random initial weights: how many small networks stall, with guides and without?

The networks are those of Rumelhart, Hinton and Williams ("Learning internal representations by
error propagation", 1986): two inputs, a few sigmoid units, a sigmoid output. They learn by gradient
descent on the mean cross-entropy of all four points at once, in nats; there is no pretraining, and
nothing to generalise to. Hundreds of initialisations learn side by side, each by itself.

Scouts set out from each network's own initial weights and learn XOR on three of its four points, or
on a pair of them that shows both classes: problems that a line solves. A network is guided by its
own scouts alone.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gtl_bench.experiment import Measured, Trial
from gtl_bench.finetuning import finetune
from gtl_bench.gtl import Guide
from gtl_bench.gtl.displacement import MeanDisplacement, Measure
from gtl_bench.records import ALL, Series
from gtl_bench.scenario import Examples, Pretraining, Task

if TYPE_CHECKING:
    from gtl_bench.gtl.guide import Focus, Scope

POINTS = Examples(
    torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), torch.tensor([0, 1, 1, 0])
)

#: A network whose loss is below this has solved XOR. That of one with a point on the wrong side, or
#: on the line, is at least log(2) / 4 = 0.173.
SOLVED = 0.1

#: An unsolved network has stalled if its loss fell by less than this share over the last quarter of
#: the steps. One that is merely slow goes on falling.
FALLING = 0.01

#: Steps from one look at the losses to the next.
EVERY = 10


class Networks(nn.Module):
    """Small sigmoid networks side by side; of each parameter, axis 0 is the networks.

    Args:
        count: number of networks.
        hidden: units in the hidden layer of each.
        generator: where the initial weights are drawn from; they are uniform within ± 1/√fan-in,
            PyTorch's own choice for linear layers.
    """

    def __init__(self, count: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()

        def drawn(fan_in: int, *shape: int) -> nn.Parameter:
            bound = 1 / math.sqrt(fan_in)
            value = torch.empty(count, *shape).uniform_(-bound, bound, generator=generator)
            return nn.Parameter(value)

        self.hidden_weight = drawn(2, hidden, 2)
        self.hidden_bias = drawn(2, hidden)
        self.output_weight = drawn(hidden, hidden)
        self.output_bias = drawn(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Points (n × 2) to the logits of their class being 1 (n × networks)."""
        hidden = torch.einsum("nhi,xi->xnh", self.hidden_weight, x) + self.hidden_bias
        return (hidden.sigmoid() * self.output_weight).sum(2) + self.output_bias


def losses(logits: Tensor, y: Tensor) -> Tensor:
    """Each network's mean cross-entropy, in nats.

    Args:
        logits: points × networks.
        y: the points' classes, 0 or 1.
    """
    targets = y.to(logits.dtype)[:, None].expand_as(logits)
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(0)


def total_loss(logits: Tensor, y: Tensor) -> Tensor:
    """The sum over networks, of which each gets the gradient of its own loss."""
    return losses(logits, y).sum()


class GuidePerNetwork(Guide):
    """Guides of networks side by side: "tensor" and "model" mean those of one network.

    Axis 0 of each value is the networks.
    """

    def focused(
        self, focus: Focus = "zero_enforced_and_normalized", scope: Scope = "tensor"
    ) -> Guide:
        """As `Guide.focused`, for each network."""
        values = self.values
        alone = [
            Guide(dict(zip(values, own))).focused(focus, scope).values
            for own in zip(*values.values())
        ]
        return GuidePerNetwork({name: torch.stack([own[name] for own in alone]) for name in values})

    def _map(self, rule: Callable[[Tensor], Tensor]) -> Guide:
        stacked = {name: torch.stack([rule(own) for own in g]) for name, g in self.values.items()}
        return GuidePerNetwork(stacked)


@dataclass(frozen=True)
class XorTask(Task):
    """Initial weights, from which scouts are sent to parts of XOR."""

    def scouts(
        self, base: nn.Module, generator: torch.Generator, **settings: Any
    ) -> dict[str, Tensor]:
        """How far scouts moved each parameter of each network.

        Args:
            base: where they start from.
            generator: the order in which parts of XOR are given out.
            settings: n_scouts; n_classes, 2; examples: points a scout, 2 or 3; epochs: steps, each
                on all of its points; lr; batch_size: no less than examples; measure; absent.

        Raises:
            ValueError: for settings that parts of XOR don't allow.
        """
        return _scouts(base, self.source, generator, **settings)

    def guide(self, values: Mapping[str, Tensor]) -> Guide:
        """The raw guide of each network."""
        return GuidePerNetwork(values)


def _scouts(
    base: nn.Module,
    points: Examples,
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
    if examples not in (2, 3):
        raise ValueError(f"scout_examples is {examples}; scouts learn 2 or 3 of XOR's 4 points")
    if n_classes != 2 or absent != "free":
        raise ValueError("each scout sees both classes of XOR: n_classes is 2, none is absent")
    if batch_size < examples:
        raise ValueError(f"scout_batch_size is {batch_size}; a scout sees all its points at once")
    parts = [
        part
        for part in itertools.combinations(range(len(points.y)), examples)
        if points.y[list(part)].unique().numel() == 2
    ]
    order = torch.randperm(len(parts), generator=generator).tolist()
    start = {name: value.detach() for name, value in base.named_parameters()}
    mean = MeanDisplacement(measure)
    for index in range(n_scouts):
        part = points.take(torch.tensor(parts[order[index % len(parts)]]))
        x, y = (column.to(start["output_bias"].device) for column in part)
        scout = copy.deepcopy(base)
        optimizer = torch.optim.SGD(scout.parameters(), lr=lr)
        for _ in range(epochs):
            optimizer.zero_grad()
            total_loss(scout(x), y).backward()
            optimizer.step()
        moved = {name: value.detach() - start[name] for name, value in scout.named_parameters()}
        mean.add(moved, f"scout {index}")
    return mean.mean()


@dataclass(frozen=True)
class Xor:
    """Networks of one or several sizes that learn XOR; the first size is the one judged.

    Attributes:
        networks: for each size, the networks with their initial weights.
        hidden: units in their hidden layer.
        steps: of gradient descent.
    """

    networks: tuple[Networks, ...]
    hidden: tuple[int, ...]
    steps: int
    kind: ClassVar[str] = "xor"

    def take(self, trial: Trial) -> Measured:
        """Let the networks of each size learn, size by size."""
        names = tuple(f"2-{hidden}-1" for hidden in self.hidden)
        curves = [self._learn(trial, *pair) for pair in zip(self.networks, names)]
        return Measured(
            series=tuple(measured(curves)),
            experiences=names,
            boundaries=(self.steps,) * len(names),
            chance=0.0,
            more={"networks": len(self.networks[0].output_bias)},
        )

    def _learn(self, trial: Trial, networks: Networks, name: str) -> Tensor:
        """The loss of each network at each look (looks × networks)."""
        source = trial.source(XorTask(networks, POINTS, Pretraining(epochs=0)), name)
        found = []
        x, y = (column.to(trial.device) for column in POINTS)

        def observe(step: int, model: nn.Module) -> None:
            if step % EVERY == 0:
                with torch.no_grad():
                    found.append(losses(model(x), y).cpu())

        finetune(
            source.model,
            POINTS,
            trial.plugins(source),
            trial.settings,
            epochs=self.steps,
            batch_size=len(POINTS.y),
            generator=trial.rng("minibatches"),
            device=trial.device,
            criterion=total_loss,
            observe=observe,
        )
        return torch.stack(found)

    def trained(self) -> Sequence[Examples]:
        """XOR's four points."""
        return [POINTS]

    def tested(self) -> Sequence[Examples]:
        """None: it is asked whether networks can learn what they are shown."""
        return []


def measured(curves: Sequence[Tensor]) -> list[Series]:
    """The records of a trial (`gtl_bench.report.kinds.xor` tells what they hold).

    Args:
        curves: for each size, the loss of each network at each look (looks × networks).
    """
    rows: list[Series] = []
    looks = np.arange(len(curves[0])) * EVERY
    end = looks[-1:]
    for index, curve in enumerate(curves):
        solved = (curve < SOLVED).double()
        share = solved.mean(1).numpy()
        if index == 0:
            rows.append(("accuracy", ALL, looks, share))
        rows.append(("accuracy", index, looks, share))
        stalled = has_stalled(curve).double().mean()
        rows.append(("stalled", index, end, np.array([float(stalled)])))
        steps = solved[:, solved[-1].bool()].argmax(0) * EVERY
        if len(steps):
            rows.append(("steps", index, end, np.array([float(steps.double().quantile(0.5))])))
    infinite = ~torch.stack([curve.isfinite().all(1) for curve in curves]).all(0)
    if infinite.any():
        rows.append(("diverged", ALL, looks[infinite.numpy()][:1], np.array([1.0])))
    return rows


def has_stalled(curve: Tensor) -> Tensor:
    """Which networks are unsolved at the end, and no longer on their way (networks, bool).

    One whose loss is no longer finite has stalled.

    Args:
        curve: the loss of each network at each look (looks × networks).
    """
    end, before = curve[-1], curve[(3 * (len(curve) - 1)) // 4]
    falling = end < (1 - FALLING) * before
    return ~(end < SOLVED) & ~falling
