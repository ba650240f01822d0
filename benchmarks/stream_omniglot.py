"""Further examples of characters that were learned one-shot, one at a time.

The sequential experiment of Guided Transfer Learning (arXiv 2303.16154): a base of MNIST learns ten
characters that it has never seen from one drawing of each, then meets nine more of each, in random
order, one at a time. Said of it: with pretraining alone the later examples don't help; with guides
accuracy accumulates. Since that may hang on the learning rate, the further examples are learned at
a ladder of rates. What the paper leaves open we chose as in oneshot-omniglot, but for the network:
it is the perceptron, since the ladder takes seven streams a draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import benchmark

if TYPE_CHECKING:
    from gtl_bench.data import DataFolder
    from gtl_bench.experiments.accumulation import Accumulation
    from gtl_bench.rng import Rng


@benchmark(
    "stream-omniglot",
    label="Stream Omniglot",
    data=("omniglot", "mnist"),
    strategies=("naive", "gtl", "gtl-shuffled", "gtl-scalar", "last-layer", "frozen"),
    given={"lr": 0.03, "n_scouts": 120, "scout_examples": 300},
)
def stream_omniglot(
    data: DataFolder,
    rng: Rng,
    ways: int = 10,
    further: int = 9,
    draws: int = 2,
    oneshot_epochs: int = 100,
    epochs: int = 5,
    rates: str = "0.001,0.003,0.01,0.03,0.1,0.3",
    network: str = "mlp",
    source_images: int = 1000,
    split: str = "report",
) -> Accumulation:
    """Ten characters learned one-shot, then 90 further examples one by one.

    Args:
        data: MNIST and Omniglot.
        rng: draws the base's images and weights, characters, drawings and their order.
        ways: characters that are learned together.
        further: drawings of each that come one at a time, up to 9.
        draws: of characters, each learned from the base anew.
        oneshot_epochs: passes over the first drawings, all in one mini-batch.
        epochs: passes over each further drawing.
        rates: learning rates of the further drawings, by commas.
        network: "cnn" or "mlp".
        source_images: of MNIST, for the base; 0 for all of them.
        split: "report", or "tune" for characters that no reported run ever uses.
    """
    import torch

    from gtl_bench.experiments.accumulation import Accumulation, Further
    from gtl_bench.experiments.characters import Characters, knows, mnist_digits
    from gtl_bench.experiments.oneshot import Draw
    from gtl_bench.scenario import Examples

    if further < 1:
        raise ValueError(f"further is {further}; it must be 1 or more")
    characters, generator = Characters(data.omniglot(), split), rng("characters")
    drawn = []
    for _ in range(draws):
        (first, *rounds), tested = characters.draw(ways, 1 + further, generator)
        x, y = (torch.cat(column) for column in zip(*rounds, strict=True))
        order = torch.randperm(len(y), generator=generator)
        drawn.append(Further(Draw(first, tested), Examples(x, y).take(order)))
    digits = mnist_digits(data.mnist().train, source_images, rng)
    return Accumulation(
        knows(digits, network, rng),
        tuple(drawn),
        tuple(float(rate) for rate in rates.split(",")),
        oneshot_epochs,
        epochs,
    )
