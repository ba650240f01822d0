"""A scenario: a benchmark as one seed draws it, ready to learn from.

The functions below are what benchmark recipes are put together from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from gtl_bench.rng import Rng

if TYPE_CHECKING:
    from gtl_bench.gtl import Guide


class Examples(NamedTuple):
    """Labelled examples: inputs x (n × …, float32) and labels y (n, int64)."""

    x: Tensor
    y: Tensor

    def take(self, index: Tensor) -> Examples:
        """The examples at `index`, in that order."""
        return Examples(self.x[index], self.y[index])


@dataclass(frozen=True)
class Pretraining:
    """How the base learns the source task: shuffled mini-batches, a plain optimizer.

    Attributes:
        epochs: passes over the source examples; with 0 there is no source phase, and the base is
            the network with its initial weights.
        lr: learning rate.
        momentum: of sgd, in [0, 1).
        batch_size: examples a mini-batch.
        optimizer: sgd, adam or adamw.
        criterion: the loss of outputs and labels; cross-entropy if None.
        target_accuracy: the source phase ends after the first epoch at whose end the base
            classifies this share of the source examples right; None for all of the epochs.
    """

    epochs: int = 20
    lr: float = 0.05
    momentum: float = 0.9
    batch_size: int = 32
    optimizer: str = "sgd"
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None
    target_accuracy: float | None = None


class SourceTask:
    """What a base is made from, and how scouts are sent from it.

    Attributes:
        model: the network with its initial weights, before the source phase.
        source: the source task's examples.
        pretraining: how the base learns them.
        replaced: beginnings of the names of parameters that the target task puts others in place
            of, such as "head.": guides leave them out.
    """

    model: nn.Module
    source: Examples
    pretraining: Pretraining
    replaced: tuple[str, ...] = ()

    @property
    def n_classes(self) -> int:
        """Number of classes that the model tells apart."""
        return int(self.source.y.max()) + 1 if len(self.source.y) else 0

    def scouts(
        self, base: nn.Module, generator: torch.Generator, **settings: Any
    ) -> dict[str, Tensor]:
        """How far scouts moved each parameter: each learns a few classes of the source task.

        Args:
            base: where they start from.
            generator: where all that is random comes from.
            settings: as for `gtl_bench.gtl.scout`.
        """
        from gtl_bench.gtl import scout

        return dict(scout(base, self.source, generator=generator, **settings).values)

    def guide(self, values: Mapping[str, Tensor]) -> Guide:
        """The raw guide of what scouts found."""
        from gtl_bench.gtl import Guide

        return Guide({n: v for n, v in values.items() if not n.startswith(self.replaced)})


@dataclass(frozen=True)
class Task(SourceTask):
    """A source task on its own, for an experiment that is no stream (see `SourceTask`)."""

    model: nn.Module
    source: Examples
    pretraining: Pretraining = Pretraining()
    replaced: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario(SourceTask):
    """A benchmark as one seed draws it.

    Attributes:
        model: the network with its initial weights, before the source phase.
        source: the source task's examples.
        stream: the experiences in order, each with its examples in the order they are met.
        names: a short name for each experience, such as "0/1".
        test: the test images, none of which is in `source` or `stream`.
        test_experience: for each test image, the index of the experience whose classes it shows.
        epochs: passes over each example of the stream.
        pretraining: how the base learns the source task.
    """

    model: nn.Module
    source: Examples
    stream: tuple[Examples, ...]
    names: tuple[str, ...]
    test: Examples
    test_experience: Tensor
    epochs: int = 5
    pretraining: Pretraining = Pretraining()

    @property
    def n_classes(self) -> int:
        """Number of classes, those of source and target together."""
        return int(max(self.source.y.max(), self.test.y.max())) + 1

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Examples met by the end of each experience, e.g. (40, 80, …)."""
        ends = torch.tensor([len(experience.y) for experience in self.stream]).cumsum(0)
        return tuple(ends.tolist())


def assemble(
    model: nn.Module,
    *,
    source: Examples,
    pool: Examples,
    test: Examples,
    groups: Sequence[Sequence[int]],
    per_class: int,
    epochs: int,
    rng: Rng,
) -> Scenario:
    """A scenario of grey images: a stream drawn from a pool, one experience a group of classes.

    Args:
        model: the network with its initial weights.
        source: the source task, images (n × height × width, uint8) and labels.
        pool: what the stream's examples are drawn from, likewise.
        test: the test images, likewise.
        groups: the classes of each experience.
        per_class: examples of each class in the stream.
        epochs: passes over each example.
        rng: draws "stream examples" and "stream order".

    Raises:
        ValueError: for a number below 1, or a class with too few examples in the pool.
    """
    for name, value in (("per_class", per_class), ("epochs", epochs)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more")
    examples, order = rng("stream examples"), rng("stream order")
    stream = []
    for classes in groups:
        drawn = draw_per_class(pool.y, per_class, classes, examples)
        stream.append(pool.take(drawn[torch.randperm(len(drawn), generator=order)]))
    return Scenario(
        model=model,
        source=scaled(source),
        stream=tuple(scaled(experience) for experience in stream),
        names=experience_names(groups),
        test=scaled(test),
        test_experience=experience_of_class(test.y, groups),
        epochs=epochs,
    )


def scaled(examples: Examples) -> Examples:
    """Bytes (n × height × width) as inputs in [0, 1] with one channel (n × 1 × height × width)."""
    return Examples(examples.x.unsqueeze(1).float() / 255, examples.y)


Pools = TypeVar("Pools")


def choose(split: str, *, report: Pools, tune: Pools) -> Pools:
    """What belongs to a split.

    Raises:
        ValueError: for a split other than "report" and "tune".
    """
    splits = {"report": report, "tune": tune}
    if split not in splits:
        raise ValueError(f"split is {split!r}; it must be report or tune")
    return splits[split]


def draw_per_class(y: Tensor, n: int, classes: Sequence[int], generator: torch.Generator) -> Tensor:
    """Indices of `n` random examples of each class of `classes`, class by class.

    Args:
        y: labels (m).
        n: examples a class.
        classes: the classes to draw from.
        generator: where the draw comes from.

    Raises:
        ValueError: if a class has fewer than n examples.
    """
    drawn = []
    for label in classes:
        members = torch.nonzero(y == label).squeeze(1)
        if len(members) < n:
            raise ValueError(f"class {label} has {len(members)} examples, {n} are asked for")
        drawn.append(members[torch.randperm(len(members), generator=generator)[:n]])
    return torch.cat(drawn)


def deal(
    examples: Examples, counts: Sequence[int], generator: torch.Generator
) -> tuple[Examples, ...]:
    """Split examples at random into parts with `counts` of each class, and a part with the rest.

    Args:
        examples: what to split.
        counts: for each part but the last, examples of each class.
        generator: where the order within each class is drawn from.
    """
    parts: list[list[Tensor]] = [[] for _ in range(len(counts) + 1)]
    for label in examples.y.unique().tolist():
        members = torch.nonzero(examples.y == label).squeeze(1)
        members = members[torch.randperm(len(members), generator=generator)]
        sizes = [*counts, len(members) - sum(counts)]
        for part, share in zip(parts, members.split(sizes)):
            part.append(share)
    return tuple(examples.take(torch.cat(part)) for part in parts)


def rotated(images: Tensor, degrees: float) -> Tensor:
    """Images (n × height × width, uint8) turned counter-clockwise about their centre."""
    angle = torch.tensor(math.radians(degrees))
    turn = torch.tensor([[angle.cos(), -angle.sin(), 0.0], [angle.sin(), angle.cos(), 0.0]])
    x = images.unsqueeze(1).float()
    grid = functional.affine_grid(turn.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False).squeeze(1).round().to(torch.uint8)


def experience_of_class(y: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """For each label of y (n), the index of the group of classes it belongs to (n, int64)."""
    table = torch.empty(max(max(classes) for classes in groups) + 1, dtype=torch.int64)
    for index, classes in enumerate(groups):
        table[list(classes)] = index
    return table[y]


def experience_names(groups: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Names of experiences by their classes: ((0, 1), (2, 3)) -> ("0/1", "2/3"); or "all"."""
    if len(groups) == 1:
        return ("all",)
    return tuple("/".join(str(label) for label in classes) for classes in groups)
