"""The easy problems that scouts are sent to: a few classes, a few examples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SubProblem:
    """What one scout is trained on. Everything random about its training is drawn here.

    Attributes:
        classes: its classes, ascending.
        train: rows of the source that it is trained on (n).
        held_out: rows of its classes that only its accuracy is measured on (m ≤ n).
        orders: for each epoch, a permutation of 0 … n − 1 (epochs × n).
        seed: for a model that draws at random itself (dropout).
    """

    classes: tuple[int, ...]
    train: Tensor
    held_out: Tensor
    orders: Tensor
    seed: int


def draw(
    y: Tensor,
    *,
    n_scouts: int,
    n_classes: int,
    examples: int | None,
    epochs: int,
    generator: torch.Generator,
) -> list[SubProblem]:
    """One sub-problem for each scout.

    Args:
        y: the source's labels (n, int64).
        n_scouts: how many.
        n_classes: classes each; no two scouts get the same ones while that is possible, and then
            no two of the next round.
        examples: examples each, shared out evenly among its classes and drawn at random; all that
            a class has if it has fewer, or if None.
        epochs: orders to draw.
        generator: where all draws come from.
    """
    members = {label: torch.nonzero(y == label).squeeze(1) for label in y.unique().tolist()}
    labels = list(members)
    problems = []
    for subset in class_subsets(len(labels), n_classes, n_scouts, generator):
        classes = tuple(labels[index] for index in subset)
        shares = _shares(examples, n_classes)
        train, held_out = [], []
        for label, share in zip(classes, shares):
            order = torch.randperm(len(members[label]), generator=generator)
            shuffled = members[label][order]
            cut = len(shuffled) if share is None else share
            train.append(shuffled[:cut])
            held_out.append(shuffled[cut : 2 * cut])
        n = sum(len(rows) for rows in train)
        orders = [torch.randperm(n, generator=generator) for _ in range(epochs)]
        seed = int(torch.randint(2**62, (), generator=generator))
        problems.append(
            SubProblem(classes, torch.cat(train), torch.cat(held_out), torch.stack(orders), seed)
        )
    return problems


def class_subsets(n: int, k: int, count: int, generator: torch.Generator) -> list[tuple[int, ...]]:
    """`count` random subsets of k out of 0 … n − 1, repeated only once all have been drawn."""
    subsets: list[tuple[int, ...]] = []
    drawn: set[tuple[int, ...]] = set()
    while len(subsets) < count:
        if len(drawn) == math.comb(n, k):
            drawn.clear()
        subset = tuple(sorted(torch.randperm(n, generator=generator)[:k].tolist()))
        if subset not in drawn:
            drawn.add(subset)
            subsets.append(subset)
    return subsets


def _shares(examples: int | None, n_classes: int) -> list[int | None]:
    if examples is None:
        return [None] * n_classes
    least, more = divmod(examples, n_classes)
    return [least + (index < more) for index in range(n_classes)]
