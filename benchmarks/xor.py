"""XOR from random initial weights, the smallest problem in which networks get stuck.

The claim of Guided Transfer Learning (arXiv 2303.16154): local minima don't hold a guided network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import benchmark

if TYPE_CHECKING:
    from gtl_bench.data import DataFolder
    from gtl_bench.experiments.xor import Xor
    from gtl_bench.rng import Rng


@benchmark(
    "xor",
    label="XOR",
    strategies=("naive", "gtl", "gtl-shuffled", "gtl-scalar", "frozen"),
    given={
        "lr": 3.0,
        "n_scouts": 4,
        "n_classes": 2,
        "scout_examples": 3,
        "scout_epochs": 300,
        "scout_lr": 1.0,
        "scope": "model",
    },
)
def xor(
    data: DataFolder,
    rng: Rng,
    hidden: str = "2,3,4,8",
    networks: int = 100,
    steps: int = 3000,
) -> Xor:
    """XOR in small networks from random weights: how many stall?

    Guides are focused over a network as a whole. Tensor by tensor, as elsewhere, the smallest of
    two numbers becomes 0 and a tensor of one number keeps a scale of its own: of the two units'
    biases one could not move, and the output's would move ten times as fast.

    Args:
        data: unused.
        rng: draws "initial weights N", of the networks with N hidden units.
        hidden: units in the hidden layer, or several numbers, of which the first is judged.
        networks: initialisations.
        steps: of gradient descent.

    Raises:
        ValueError: for a number out of range, or no number.
    """
    from gtl_bench.experiments.xor import EVERY, Networks, Xor

    sizes = tuple(int(size) for size in hidden.split(","))
    if min(sizes) < 1 or len(set(sizes)) < len(sizes):
        raise ValueError(f"hidden is {hidden}; it must be different numbers of 1 or more")
    if networks < 1:
        raise ValueError(f"networks is {networks}; it must be 1 or more")
    if steps < 4 * EVERY or steps % EVERY:
        raise ValueError(f"steps is {steps}; it must be a multiple of {EVERY}, and 40 or more")
    return Xor(
        tuple(Networks(networks, size, rng(f"initial weights {size}")) for size in sizes),
        sizes,
        steps,
    )
