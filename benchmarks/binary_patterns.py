"""Random bit patterns: the proof of concept published with Guided Transfer Learning's code.

The claim: a sub-problem is learned to a lower loss with guides from other sub-problems.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import benchmark

if TYPE_CHECKING:
    from gtl_bench.data import DataFolder
    from gtl_bench.experiments.cousins import Cousins
    from gtl_bench.rng import Rng


@benchmark(
    "binary-patterns",
    label="Binary patterns",
    strategies=("naive", "gtl", "gtl-gradient", "gtl-shuffled", "gtl-scalar", "frozen"),
    given={
        "optimizer": "adam",
        "lr": 0.03,
        "n_scouts": 15,
        "n_classes": 4,
        "scout_epochs": 20,
        "scout_lr": 0.03,
        "scout_batch_size": 100,
    },
)
def binary_patterns(
    data: DataFolder,
    rng: Rng,
    cousins: int = 15,
    classes: int = 4,
    epochs: int = 20,
    base_accuracy: float = 0.8,
) -> Cousins:
    """Random bit patterns, learned again in part: do guides lower the loss?

    Ten categories of 200 distinct random patterns of 25 bits. The base, 25-80-80-80-80-10 with a
    sigmoid after each hidden layer, learns them by Adam at 0.03 on the mean squared error of
    one-hot targets, until it knows 80 %. A cousin is a sub-problem of 4 categories; scouts, with
    the same optimizer and loss, are sent to other ones.

    The description leaves open mini-batches (100 patterns here), the output layer (linear) and the
    initial weights: with sigmoid outputs, or within PyTorch's own range, most bases stay at chance.
    Bits go in as −1 and 1, and weights are uniform within four times Glorot's range, the usual
    choice for sigmoids.

    Args:
        data: unused.
        rng: draws "patterns", "initial weights" and "cousins".
        cousins: sub-problems that are learned.
        classes: categories of each.
        epochs: passes over a cousin's patterns.
        base_accuracy: the share of all patterns that the base knows, above 0, up to 1.

    Raises:
        ValueError: for a number out of range.
    """
    import math

    from gtl_bench.experiments import cousins as experiment
    from gtl_bench.gtl.subproblems import class_subsets
    from gtl_bench.scenario import Pretraining

    categories = experiment.CATEGORIES
    if not 1 < classes < categories:
        raise ValueError(f"classes is {classes}; it must be from 2 to {categories - 1}")
    if not 1 <= cousins <= math.comb(categories, classes):
        raise ValueError(
            f"cousins is {cousins}; it must be from 1 to {math.comb(categories, classes)}"
        )
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; it must be 1 or more")
    if not 0 < base_accuracy <= 1:
        raise ValueError(f"base_accuracy is {base_accuracy}; it must be above 0, up to 1")
    task = experiment.PatternTask(
        model=experiment.sigmoid_mlp((25, 80, 80, 80, 80, 10), 4.0, rng("initial weights")),
        source=experiment.random_patterns(categories, 200, 25, rng("patterns")),
        pretraining=Pretraining(
            epochs=1000,
            lr=0.03,
            batch_size=100,
            momentum=0.0,
            optimizer="adam",
            criterion=experiment.squared_error,
            target_accuracy=base_accuracy,
        ),
        cousins=tuple(class_subsets(categories, classes, cousins, rng("cousins"))),
    )
    return experiment.Cousins(task, epochs, batch_size=100)
