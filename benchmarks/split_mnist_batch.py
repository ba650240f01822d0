"""Split MNIST as the literature runs it: five pairs of digits, each learned in batches.

The protocol of van de Ven & Tolias, "Three scenarios for continual learning" (arXiv 1904.07734): no
pretraining, whole training sets, an MLP 784-400-400 with ReLU, 2,000 iterations a pair in batches
of 128, Adam at a learning rate of 0.001 with its state kept from pair to pair. In the scenario

- `task` the network is told which pair an image belongs to, and each pair has two of its ten
  outputs; the loss and the test see those two alone;
- `domain` it is not told, and has two outputs: the first or the second digit of its pair;
- `class` it is not told, and has ten outputs, which all take part from the start.

There is no source task that GTL could send its scouts to. Our reading: the first pair is learned
without a guide; after each pair scouts set out from the network as it then is, each to learn that
pair from 200 of its examples, and their guide holds for the next pair. Where pairs have outputs of
their own (`task`, `class`), the output layer is left out of the guide, as a new head always is.

λ of EWC and c of SI are the best of a few powers of ten in the scenario `task` on one seed, with
the last 10,000 training images held out to test on, and initial weights that no reported run has:

    python -m gtl_bench sweep split-mnist-batch --strategies ewc --over ewc_lambda --seeds 1 \
        --values 1e7,1e8 --set benchmark.split=tune

and for `si` over `si_lambda`, 1 to 1000, with `--set benchmark.iterations=500`. λ has to be
searched with all iterations: the longer a pair is learned, the surer the network is of its labels,
and the smaller the empirical Fisher information. With 500 iterations 1e5 does as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import benchmark

if TYPE_CHECKING:
    from gtl_bench.data import DataFolder
    from gtl_bench.experiments.batch import Batches
    from gtl_bench.rng import Rng

PAIRS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))

#: Training images that hyperparameters are searched on; the others are what is then tested on.
TUNED_ON = 50_000

#: Accuracies reported by others in the scenario `task` for this protocol.
PUBLISHED = {
    "naive": (0.852, 0.852),
    "ewc": (0.986, 0.991),
    "si": (0.991, 0.991),
    "lwf": (0.996, 0.996),
    "joint": (0.996, 0.996),
}


@benchmark(
    "split-mnist-batch",
    label="Split MNIST in batches",
    data=("mnist",),
    strategies=(
        "naive",
        "ewc",
        "si",
        "lwf",
        "joint",
        "gtl",
        "gtl-shuffled",
        "gtl-scalar",
        "frozen",
    ),
    given={
        "optimizer": "adam",
        "lr": 1e-3,
        "batch_size": 128,
        "ewc_lambda": 1e8,
        "si_lambda": 100.0,
        "n_classes": 2,
        "scout_examples": 200,
    },
)
def split_mnist_batch(
    data: DataFolder,
    rng: Rng,
    scenario: str = "task",
    iterations: int = 2000,
    hidden: int = 400,
    batch_size: int = 128,
    split: str = "report",
) -> Batches:
    """Five pairs of digits in batches, without pretraining: the classical table."""
    from gtl_bench.experiments.batch import Batches, SharedOutputs
    from gtl_bench.models import mlp
    from gtl_bench.scenario import Examples, Pretraining, Task, choose, experience_names

    if scenario not in ("task", "domain", "class"):
        raise ValueError(f"scenario is {scenario!r}; it must be task, domain or class")
    for name, value in (("iterations", iterations), ("batch_size", batch_size), ("hidden", hidden)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more")
    mnist = data.mnist()
    whole = Examples(*mnist.train)
    train, test = choose(
        split,
        report=(whole, Examples(*mnist.test)),
        tune=(
            Examples(whole.x[:TUNED_ON], whole.y[:TUNED_ON]),
            Examples(whole.x[TUNED_ON:], whole.y[TUNED_ON:]),
        ),
    )

    def of_pair(examples: Examples, pair: tuple[int, int]) -> Examples:
        x, y = examples.take(((examples.y == pair[0]) | (examples.y == pair[1])).nonzero()[:, 0])
        labels = y if scenario == "class" else y - pair[0]
        return Examples(x.unsqueeze(1).float() / 255, labels)

    outputs = 2 if scenario == "domain" else 10
    network = mlp((784, hidden, hidden, outputs), rng(f"{split} initial weights"))
    stream = tuple(of_pair(train, pair) for pair in PAIRS)
    return Batches(
        start=Task(
            SharedOutputs(network, 2) if scenario == "task" else network,
            Examples(stream[0].x[:0], stream[0].y[:0]),
            Pretraining(epochs=0),
            replaced={"task": ("network.5.",), "domain": (), "class": ("5.",)}[scenario],
        ),
        stream=stream,
        tests=tuple(of_pair(test, pair) for pair in PAIRS),
        names=experience_names(PAIRS),
        task_labels=scenario == "task",
        iterations=iterations,
        batch_size=batch_size,
        chance=0.1 if scenario == "class" else 0.5,
        published=PUBLISHED if scenario == "task" else {},
    )
