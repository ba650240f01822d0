"""Bases that know digits, and characters that they have never seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from gtl_bench.data import Images, Omniglot, drawings_like_mnist
from gtl_bench.models import cnn_features, mlp_features, with_head
from gtl_bench.rng import Rng
from gtl_bench.scenario import Examples, Pretraining, Task, choose, draw_per_class, scaled

NETWORKS: Mapping[str, Callable[[torch.Generator], nn.Module]] = {
    "cnn": cnn_features,
    "mlp": mlp_features,
}

#: Images shown in pretraining at most, but for a first pass over all.
_SHOWN = 200_000


def knows(source: Examples, network: str, rng: Rng) -> Task:
    """A base that knows the source's classes, with a head that the target replaces.

    Pretraining passes over the source 20 times, or as often as shows 200,000 images.

    Args:
        source: images of 28×28 and labels.
        network: "cnn" or "mlp".
        rng: draws "initial weights".

    Raises:
        ValueError: for another network.
    """
    if network not in NETWORKS:
        raise ValueError(f"network is {network!r}; it must be {' or '.join(NETWORKS)}")
    generator = rng("initial weights")
    features = NETWORKS[network](generator)
    epochs = max(1, min(20, _SHOWN // len(source.y)))
    return Task(
        with_head(features, int(source.y.max()) + 1, generator),
        source,
        Pretraining(epochs=epochs),
        replaced=("head.",),
    )


def mnist_digits(train: Images, images: int, rng: Rng) -> Examples:
    """MNIST's digits for a base.

    Args:
        train: MNIST's training images.
        images: how many, a tenth of each digit; 0 for all of them.
        rng: draws "source images".

    Raises:
        ValueError: for a number that is no multiple of ten, or larger than there are.
    """
    if images < 0 or images % 10:
        raise ValueError(f"source_images is {images}; it must be a multiple of 10, or 0 for all")
    examples = Examples(*train)
    if images:
        index = draw_per_class(train.labels, images // 10, range(10), rng("source images"))
        examples = examples.take(index)
    return scaled(examples)


#: Drawings of a character that are tested on; what is learned from is among its other ten.
TESTED = 10


class Characters:
    """Omniglot's characters, as a split sees them.

    Half of the characters are for reported runs, half for tuning. Ten of the twenty drawings of a
    character, the same for all of an alphabet and hence by other hands, are for tests alone.

    Args:
        omniglot: the data set.
        split: "report", or "tune" for characters that no reported run ever uses.

    Raises:
        ValueError: for another split.
    """

    def __init__(self, omniglot: Omniglot, split: str) -> None:
        order = torch.randperm(len(omniglot.names), generator=Rng.fixed("characters"))
        half = len(order) // 2
        self.images = omniglot.images
        self.indices = choose(split, report=order[half:], tune=order[:half])
        drawers = torch.randperm(omniglot.images.shape[1], generator=Rng.fixed("drawers"))
        self.tested, self.spare = drawers[:TESTED], drawers[TESTED:]

    def draw(
        self, ways: int, learned: int, generator: torch.Generator
    ) -> tuple[list[Examples], Examples]:
        """Characters at random, each with drawings at random to learn from.

        Args:
            ways: how many characters; their labels are 0 … ways − 1.
            learned: drawings of each to learn from, 1 to 10.
            generator: where both come from.

        Returns:
            Rounds of one drawing of each character, and the drawings to test on.

        Raises:
            ValueError: for a number below 1, or more than there are.
        """
        for name, value, most in (
            ("ways", ways, len(self.indices)),
            ("learned", learned, len(self.spare)),
        ):
            if not 1 <= value <= most:
                raise ValueError(f"{name} is {value}; it must lie between 1 and {most}")
        chosen = self.indices[torch.randperm(len(self.indices), generator=generator)[:ways]]
        drawers = torch.stack(
            [
                self.spare[torch.randperm(len(self.spare), generator=generator)[:learned]]
                for _ in range(ways)
            ]
        )
        rounds = [self._examples(chosen[:, None], round_[:, None]) for round_ in drawers.T]
        return rounds, self._examples(chosen[:, None], self.tested[None])

    def _examples(self, characters: Tensor, drawers: Tensor) -> Examples:
        """Drawings by characters (ways × 1) and drawers (ways or 1 × n), labelled by their row."""
        drawings = self.images[characters, drawers]
        labels = torch.arange(len(drawings)).repeat_interleave(drawings.shape[1])
        return scaled(Examples(drawings_like_mnist(drawings.flatten(0, 1)), labels))
