"""Training scouts one after another: plain PyTorch, and what the stacked form must agree with."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from gtl_bench.gtl.displacement import length
from gtl_bench.gtl.guide import ScoutRecord
from gtl_bench.gtl.subproblems import SubProblem

Absent: TypeAlias = Literal["free", "masked"]

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Training:
    """How every scout is trained: stochastic gradient descent on the cross-entropy.

    Attributes:
        epochs: passes over its examples.
        lr: learning rate.
        momentum: of SGD, in [0, 1).
        batch_size: examples a mini-batch; an epoch's last may be smaller.
        absent: whether classes missing from the sub-problem stay in the softmax ("free") or are
            left out of it ("masked"), in the loss and in the accuracy.
        target_accuracy: a scout stops after the first epoch at whose end it classifies this share
            of its own examples right; None for never.
        every_epoch: whether a snapshot is wanted after each epoch, or only at the end.
    """

    epochs: int
    lr: float
    momentum: float
    batch_size: int
    absent: Absent
    target_accuracy: float | None
    every_epoch: bool

    def reached(self, accuracy: float) -> bool:
        """Whether a scout of this accuracy on its own examples may stop."""
        return self.target_accuracy is not None and accuracy >= self.target_accuracy


@dataclass(frozen=True)
class Snapshot:
    """A scout at the end of an epoch.

    Attributes:
        scout: its index among the sub-problems.
        displacement: scout − base, name -> tensor, for the trainable parameters.
        record: what is known of it, once it is done; None before.
    """

    scout: int
    displacement: dict[str, Tensor]
    record: ScoutRecord | None


def train_in_turn(
    model: nn.Module, x: Tensor, y: Tensor, problems: Sequence[SubProblem], how: Training
) -> Iterator[Snapshot]:
    """Train one scout after another.

    Args:
        model: the base; copied.
        x: inputs of the source (n × …), on the model's device.
        y: labels of the source (n, int64), likewise.
        problems: a sub-problem for each scout.
        how: common to all.

    Yields:
        Each scout's snapshots, the last with its record.
    """
    for index, problem in enumerate(problems):
        with own_random_state(problem.seed, x.device):
            snapshots = _train(model, x, y, problem, how)
        for displacement, record in snapshots:
            yield Snapshot(index, displacement, record)


@torch.enable_grad()
def _train(
    model: nn.Module, x: Tensor, y: Tensor, problem: SubProblem, how: Training
) -> list[tuple[dict[str, Tensor], ScoutRecord | None]]:
    scout = copy.deepcopy(model).train()
    base = {n: p.detach().clone() for n, p in scout.named_parameters() if p.requires_grad}
    parameters = dict(scout.named_parameters())
    optimizer = torch.optim.SGD(
        [parameters[name] for name in base], lr=how.lr, momentum=how.momentum
    )
    train = problem.train.to(x.device)
    snapshots: list[tuple[dict[str, Tensor], ScoutRecord | None]] = []
    for epoch, order in enumerate(problem.orders.to(x.device), start=1):
        for batch in order.split(how.batch_size):
            rows = train[batch]
            optimizer.zero_grad()
            functional.cross_entropy(_logits(scout, x[rows], problem, how), y[rows]).backward()
            optimizer.step()
        done = epoch == how.epochs
        if how.target_accuracy is not None and not done:
            done = how.reached(_accuracy(scout, x, y, train, problem, how))
        if done or how.every_epoch:
            moved = {name: parameters[name].detach() - start for name, start in base.items()}
            snapshots.append((moved, None))
        if done:
            break
    record = ScoutRecord(
        classes=problem.classes,
        examples=len(train),
        epochs=epoch,
        train_accuracy=_accuracy(scout, x, y, train, problem, how),
        held_out_accuracy=_accuracy(scout, x, y, problem.held_out.to(x.device), problem, how),
        distance=length(moved),
    )
    snapshots[-1] = (moved, record)
    return snapshots


def missing(classes: Sequence[int], outputs: int, device: torch.device) -> Tensor:
    """Which of the outputs belong to none of `classes` (outputs, bool)."""
    mask = torch.ones(outputs, dtype=torch.bool, device=device)
    mask[list(classes)] = False
    return mask


def _logits(scout: nn.Module, x: Tensor, problem: SubProblem, how: Training) -> Tensor:
    logits: Tensor = scout(x)
    if how.absent == "free":
        return logits
    return logits.masked_fill(missing(problem.classes, logits.shape[1], x.device), -torch.inf)


@torch.no_grad()
def _accuracy(
    scout: nn.Module, x: Tensor, y: Tensor, rows: Tensor, problem: SubProblem, how: Training
) -> float:
    """The share of rows that the scout, in evaluation mode, classifies right; nan without rows."""
    if not len(rows):
        return math.nan
    scout.eval()
    right = 0
    for part in rows.split(EVALUATION_BATCH):
        right += int((_logits(scout, x[part], problem, how).argmax(1) == y[part]).sum())
    scout.train()
    return right / len(rows)


@contextmanager
def own_random_state(seed: int, device: torch.device) -> Iterator[None]:
    """PyTorch's global generators seeded for a model with dropout, and put back afterwards."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
