"""Scikit-learn's digits, one example at a time; needs no file at all.

Source: the first writers' half. Target: the other half, turned by 28 degrees, which costs the base
almost half of its accuracy; learning from the stream's examples can win most of it back.
"""

from gtl_bench import benchmark

PAIRS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
ALL_CLASSES = (tuple(range(10)),)

ROTATION = 28.0  # degrees, counter-clockwise

#: Target images of each class: to test on, to draw streams from; tuning has the rest, of which
#: these are to test on and what remains (21 or more) to draw streams from.
TESTED, STREAMED, TESTED_IN_TUNING = 30, 29, 8


@benchmark("split-digits", label="Split digits", data=("digits",))
def split_digits(
    data, rng, per_class: int = 20, epochs: int = 5, hidden: int = 256, split: str = "report"
):
    """Rotated digits in class order, five pairs of classes: where forgetting shows."""
    return _scenario(data, rng, PAIRS, per_class, epochs, hidden, split)


@benchmark("stream-digits", label="Stream digits", data=("digits",))
def stream_digits(
    data, rng, per_class: int = 20, epochs: int = 5, hidden: int = 256, split: str = "report"
):
    """Rotated digits with all ten classes interleaved at random: does knowledge accumulate?"""
    return _scenario(data, rng, ALL_CLASSES, per_class, epochs, hidden, split)


def _scenario(data, rng, groups, per_class, epochs, hidden, split):
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
