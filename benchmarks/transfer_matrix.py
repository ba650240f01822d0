"""What to do with a pretrained network: the textbook's two by two, by size and similarity.

Few or many examples of the target, near to the source task or far from it: the textbook says to
train everything where they are many and far, the top where they are many and near, a part where
they are few and far, and nothing but a new classifier where they are few and near.

The base knows MNIST's digits. The target is scikit-learn's digits, by other people and in a form
like MNIST's: as they are (near), and with the pixels of all images put in one random order, another
one for each seed (far). So nothing but similarity differs between near and far, and nothing but the
number of examples between few (5 a class) and many (100 a class): classes and test images are the
same in all four. Omniglot's characters would be a more natural task to be far from digits, but
there are no more than twenty drawings of each.

With `benchmark.model=resnet18` (or vgg16) the base is torchvision's, trained on ImageNet, and there
is no source phase; scouts go to MNIST's digits from it. Images are seen at 64 × 64. That takes
hours on a processor with the default settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import benchmark

if TYPE_CHECKING:
    from gtl_bench.data import DataFolder
    from gtl_bench.experiments.transfer import Transfer
    from gtl_bench.rng import Rng

#: Test images of each class, the same for all seeds.
TESTED = 50


@benchmark(
    "transfer-matrix",
    label="Transfer matrix",
    data=("mnist", "digits"),
    strategies=(
        "naive",
        "partial-finetune",
        "feature-extraction",
        "finetune-low-lr",
        "from-scratch",
        "gtl",
        "gtl-shuffled",
        "gtl-scalar",
        "frozen",
    ),
    given={"optimizer": "adam", "lr": 1e-3, "scout_examples": 300},
)
def transfer_matrix(
    data: DataFolder,
    rng: Rng,
    model: str = "mlp",
    few: int = 5,
    many: int = 100,
    epochs: int = 20,
    batch_size: int = 10,
    source_images: int = 5000,
) -> Transfer:
    """Few or many examples, near or far: which choice wins in which quadrant?"""
    from collections import OrderedDict

    import torch
    from torch import nn

    from gtl_bench.data import like_mnist
    from gtl_bench.data.weights import FILES, published_weights
    from gtl_bench.experiments.characters import knows, mnist_digits
    from gtl_bench.experiments.transfer import ImageNetFeatures, Quadrant, Transfer
    from gtl_bench.models import linear
    from gtl_bench.rng import Rng
    from gtl_bench.scenario import Examples, Pretraining, Task, deal, scaled

    if model not in ("mlp", *FILES):
        raise ValueError(f"model is {model!r}; it must be mlp, {' or '.join(FILES)}")
    for name, value in (("few", few), ("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more")
    digits = data.digits()
    target = scaled(Examples(like_mnist(digits.images), digits.labels))
    tested, pool = deal(target, [TESTED], Rng.fixed("test images"))
    most = int(pool.y.bincount().min())
    if not few < many <= most:
        raise ValueError(f"many is {many}; it must be above few and at most {most}")
    few_learned, more, _ = deal(pool, [few, many - few], rng("target examples"))
    many_learned = Examples(*(torch.cat(columns) for columns in zip(few_learned, more)))
    order = torch.randperm(target.x[0].numel(), generator=rng("pixel order"))

    def far(examples: Examples) -> Examples:
        return Examples(examples.x.flatten(1)[:, order].view_as(examples.x), examples.y)

    source = mnist_digits(data.mnist().train, source_images, rng)
    if model == "mlp":
        task = knows(source, "mlp", rng)
    else:
        features = ImageNetFeatures(model, published_weights(data.path, model))
        head = linear(features.outputs, 10, rng("initial weights"))
        task = Task(
            nn.Sequential(OrderedDict({"features": features, "head": head})),
            source,
            Pretraining(epochs=0),
            replaced=("head.",),
        )
    return Transfer(
        task,
        (
            Quadrant(few_learned, tested),
            Quadrant(far(few_learned), far(tested)),
            Quadrant(many_learned, tested),
            Quadrant(far(many_learned), far(tested)),
        ),
        epochs,
        batch_size,
    )
