"""Scikit-learn's digits, one example at a time; needs no file at all.

Source: the first writers' half. Target: the other half, turned by 24 degrees, which leaves the base
right on about half of them; learning from the stream's examples can win most of it back.
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

ROTATION = 24.0  # degrees, counter-clockwise

#: Target images of each class: to test on, to draw streams from; tuning has the rest, of which
#: these are to test on and what remains (20 or more) to draw streams from.
TESTED, STREAMED, TESTED_IN_TUNING = 30, 26, 8


@benchmark("split-digits", label="Split digits", data=("digits",))
def split_digits(
    data: DataFolder,
    rng: Rng,
    per_class: int = 20,
    epochs: int = 5,
    hidden: int = 256,
    split: str = "report",
) -> Scenario:
    """Rotated digits in class order, five pairs: where forgetting shows."""
    return _scenario(data, rng, PAIRS, per_class, epochs, hidden, split)


@benchmark("stream-digits", label="Stream digits", data=("digits",))
def stream_digits(
    data: DataFolder,
    rng: Rng,
    per_class: int = 20,
    epochs: int = 5,
    hidden: int = 256,
    split: str = "report",
) -> Scenario:
    """Rotated digits, all ten classes interleaved: does knowledge accumulate?"""
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
    """The scenario of both; the arguments are those of split-mnist."""
    from gtl_bench.data import like_mnist, writers_halves
    from gtl_bench.models import mlp
    from gtl_bench.rng import Rng
    from gtl_bench.scenario import Examples, assemble, choose, deal, rotated

    first, second = writers_halves(data.digits())
    target = Examples(rotated(like_mnist(second.images), ROTATION), second.labels)
    test, pool, tuning_test, tuning_pool = deal(
        target, (TESTED, STREAMED, TESTED_IN_TUNING), Rng.fixed("target images")
    )
    pool, test = choose(split, report=(pool, test), tune=(tuning_pool, tuning_test))
    return assemble(
        mlp((784, hidden, hidden, 10), rng("initial weights")),
        source=Examples(like_mnist(first.images), first.labels),
        pool=pool,
        test=test,
        groups=groups,
        per_class=per_class,
        epochs=epochs,
        rng=rng,
    )
