"""One-shot learning, from a base that knows other characters.

The experiment that Guided Transfer Learning was proposed with (arXiv 2303.16154): a base that was
pretrained on digits learns characters that it has never seen, from one drawing of each, with a new
head. What the paper leaves open we chose so: the network is the convolutional one, which is the
better learner of the two and fits into the time; the new head is free, its guide 1; learning is by
plain gradient descent on all drawings at once, for a fixed number of epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import benchmark

if TYPE_CHECKING:
    from gtl_bench.data import DataFolder
    from gtl_bench.experiments.oneshot import OneShot
    from gtl_bench.rng import Rng

STRATEGIES = (
    "naive",
    "gtl",
    "gtl-shuffled",
    "gtl-scalar",
    "gtl-inverted",
    "last-layer",
    "frozen",
)

#: Target images of each digit: to test on, to learn from; tuning has the rest, of which these are
#: to test on.
TESTED, LEARNED, TESTED_IN_TUNING = 60, 40, 40


@benchmark(
    "oneshot-omniglot",
    label="One-shot Omniglot",
    data=("omniglot", "mnist"),
    stand_in="oneshot-digits",
    strategies=STRATEGIES,
    given={"lr": 0.3, "n_scouts": 120, "scout_examples": 300},
)
def oneshot_omniglot(
    data: DataFolder,
    rng: Rng,
    ways: int = 20,
    draws: int = 10,
    epochs: int = 50,
    network: str = "cnn",
    source_images: int = 1000,
    split: str = "report",
) -> OneShot:
    """One drawing each of characters that a base of MNIST has never seen.

    Args:
        data: MNIST and Omniglot.
        rng: draws the base's images and weights, characters and drawings.
        ways: characters that are learned together.
        draws: of characters, each learned from the base anew.
        epochs: passes over the drawings, all in one mini-batch.
        network: "cnn" or "mlp".
        source_images: of MNIST, for the base; 0 for all of them.
        split: "report", or "tune" for characters that no reported run ever uses.
    """
    from gtl_bench.experiments.characters import Characters, knows, mnist_digits
    from gtl_bench.experiments.oneshot import Draw, OneShot

    characters, generator = Characters(data.omniglot(), split), rng("characters")
    drawn = []
    for _ in range(draws):
        (learned,), tested = characters.draw(ways, 1, generator)
        drawn.append(Draw(learned, tested))
    digits = mnist_digits(data.mnist().train, source_images, rng)
    return OneShot(knows(digits, network, rng), tuple(drawn), epochs)


@benchmark(
    "oneshot-digits",
    label="One-shot digits",
    data=("digits",),
    strategies=STRATEGIES,
    given={"lr": 0.3, "n_scouts": 10},
)
def oneshot_digits(
    data: DataFolder,
    rng: Rng,
    draws: int = 10,
    epochs: int = 50,
    network: str = "cnn",
    split: str = "report",
) -> OneShot:
    """One drawing each of 5 to 9, from a base that knows scikit-learn's 0 to 4.

    The settings are those of oneshot-omniglot. Of the base's five digits there are ten subsets of
    three, a scout each.
    """

    from gtl_bench.data import like_mnist
    from gtl_bench.experiments.characters import TESTED as TESTED_AT_ONCE
    from gtl_bench.experiments.characters import knows
    from gtl_bench.experiments.oneshot import Draw, OneShot
    from gtl_bench.rng import Rng
    from gtl_bench.scenario import Examples, choose, deal, draw_per_class, scaled

    digits = scaled(Examples(*data.digits()._replace(images=like_mnist(data.digits().images))))
    known = digits.y < 5
    unknown = Examples(digits.x[~known], digits.y[~known] - 5)
    counts = (TESTED, LEARNED, TESTED_IN_TUNING)
    test, pool, tuning_test, tuning_pool = deal(unknown, counts, Rng.fixed("target images"))
    pool, test = choose(split, report=(pool, test), tune=(tuning_pool, tuning_test))
    generator = rng("characters")
    drawn = [
        Draw(
            pool.take(draw_per_class(pool.y, 1, range(5), generator)),
            test.take(draw_per_class(test.y, TESTED_AT_ONCE, range(5), generator)),
        )
        for _ in range(draws)
    ]
    base = knows(Examples(digits.x[known], digits.y[known]), network, rng)
    return OneShot(base, tuple(drawn), epochs)
