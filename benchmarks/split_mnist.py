"""MNIST, one example at a time, from a base that knows scikit-learn's digits.

Every class is known to the base, in another hand: the sequential experiment of Guided Transfer
Learning (arXiv 2303.16154), "you know cars; today you meet an SUV".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gtl_bench import benchmark

if TYPE_CHECKING:
    from gtl_bench.data import DataFolder
    from gtl_bench.rng import Rng
    from gtl_bench.scenario import Scenario

PAIRS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
ALL_CLASSES = (tuple(range(10)),)

#: Training images that reported runs draw from; tuning has the rest, half to learn, half to test.
REPORTED = 50_000


@benchmark("split-mnist", label="Split MNIST", data=("mnist", "digits"), stand_in="split-digits")
def split_mnist(
    data: DataFolder,
    rng: Rng,
    per_class: int = 20,
    epochs: int = 5,
    hidden: int = 256,
    split: str = "report",
) -> Scenario:
    """MNIST in class order, five pairs: where forgetting shows."""
    return _scenario(data, rng, PAIRS, per_class, epochs, hidden, split)


@benchmark("stream-mnist", label="Stream MNIST", data=("mnist", "digits"), stand_in="stream-digits")
def stream_mnist(
    data: DataFolder,
    rng: Rng,
    per_class: int = 20,
    epochs: int = 5,
    hidden: int = 256,
    split: str = "report",
) -> Scenario:
    """MNIST, all ten classes interleaved: does knowledge accumulate?"""
    return _scenario(data, rng, ALL_CLASSES, per_class, epochs, hidden, split)


def _scenario(
    data: DataFolder,
    rng: Rng,
    groups: Sequence[Sequence[int]],
    per_class: int,
    epochs: int,
    hidden: int,
    split: str,
) -> Scenario:
    """The scenario of both.

    Args:
        groups: the classes of each experience.
        per_class: examples of each class in the stream.
        epochs: passes over each example.
        hidden: units in each of the two hidden layers.
        split: "report", or "tune" for images that no reported run ever uses.
    """
    from gtl_bench.data import like_mnist
    from gtl_bench.models import mlp
    from gtl_bench.rng import Rng
    from gtl_bench.scenario import Examples, assemble, choose, draw_per_class

    digits, (train, test) = data.digits(), data.mnist()
    images, labels = train
    pool, held_out = choose(
        split,
        report=(Examples(images[:REPORTED], labels[:REPORTED]), Examples(*test)),
        tune=(
            Examples(images[REPORTED:55_000], labels[REPORTED:55_000]),
            Examples(images[55_000:], labels[55_000:]),
        ),
    )
    tested = draw_per_class(held_out.y, 200, range(10), Rng.fixed(f"{split} test images"))
    return assemble(
        mlp((784, hidden, hidden, 10), rng("initial weights")),
        source=Examples(like_mnist(digits.images), digits.labels),
        pool=pool,
        test=held_out.take(tested),
        groups=groups,
        per_class=per_class,
        epochs=epochs,
        rng=rng,
    )
