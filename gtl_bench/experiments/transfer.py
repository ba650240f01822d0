"""Transfer of a base to four targets: few or many examples, near to the source task or far from it.

Each target is learned in batches from the base anew, with a new head. A step is an epoch; the
records hold `accuracy` on the target's test images before the first epoch and after the last, for
each of the quadrants (0 to 3) and as their mean (−1), and `diverged`: at most one row, at the last
step, where a quadrant's outputs were no longer finite.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gtl_bench.experiment import Measured, Trial
from gtl_bench.finetuning import finetune
from gtl_bench.models import linear
from gtl_bench.records import ALL, Series
from gtl_bench.scenario import Examples, Task

QUADRANTS = ("few, near", "few, far", "many, near", "many, far")


@dataclass(frozen=True)
class Quadrant:
    """A target task.

    Attributes:
        learned: its training set.
        tested: its test images.
    """

    learned: Examples
    tested: Examples


@dataclass(frozen=True)
class Transfer:
    """Four target tasks, each learned from the same base.

    Attributes:
        task: what the base is made from; its model has the children `features` and `head`, the
            head is a linear layer.
        quadrants: in the order of `QUADRANTS`; all have as many classes.
        epochs: passes over a training set.
        batch_size: examples a mini-batch.
    """

    task: Task
    quadrants: tuple[Quadrant, Quadrant, Quadrant, Quadrant]
    epochs: int
    batch_size: int
    kind: ClassVar[str] = "transfer"

    def take(self, trial: Trial) -> Measured:
        """Learn each target from the base, with the same new head at the start."""
        source = trial.source(self.task)
        classes = int(self.quadrants[0].tested.y.max()) + 1
        old = source.model.get_submodule("head")
        assert isinstance(old, nn.Linear)
        head = linear(old.in_features, classes, trial.rng("new head"))
        accuracy = np.zeros((2, len(QUADRANTS)))
        diverged = False
        for index, (name, quadrant) in enumerate(zip(QUADRANTS, self.quadrants)):
            features = source.model.get_submodule("features")
            model = nn.Sequential(
                OrderedDict({"features": features, "new_head": copy.deepcopy(head)})
            ).to(trial.device)
            accuracy[0, index] = _accuracy(model, quadrant.tested, trial.device) or 0.0
            finetune(
                model,
                quadrant.learned,
                trial.plugins(source),
                trial.settings,
                epochs=self.epochs,
                batch_size=self.batch_size,
                generator=trial.rng(f"minibatches {name}"),
                device=trial.device,
            )
            after = _accuracy(model, quadrant.tested, trial.device)
            diverged |= after is None
            accuracy[1, index] = after or 0.0
        steps = np.array([0, self.epochs])
        series: list[Series] = [("accuracy", ALL, steps, accuracy.mean(1))]
        series += [("accuracy", index, steps, accuracy[:, index]) for index in range(4)]
        if diverged:
            series.append(("diverged", ALL, steps[1:], np.array([1.0])))
        return Measured(
            tuple(series),
            QUADRANTS,
            (self.epochs,) * len(QUADRANTS),
            1 / classes,
            {"examples": [len(quadrant.learned.y) for quadrant in self.quadrants]},
        )

    def trained(self) -> Sequence[Examples]:
        """The source task's images, and the targets' training sets."""
        return [self.task.source, *(quadrant.learned for quadrant in self.quadrants)]

    def tested(self) -> Sequence[Examples]:
        """The targets' test images."""
        return [quadrant.tested for quadrant in self.quadrants]


def _accuracy(model: nn.Module, examples: Examples, device: torch.device) -> float | None:
    """Share classified right; None where an output is not finite."""
    model.eval()
    right = 0.0
    with torch.inference_mode():
        for x, y in zip(examples.x.split(500), examples.y.split(500)):
            outputs = model(x.to(device))
            if not outputs.isfinite().all():
                return None
            right += float((outputs.argmax(1).cpu() == y).sum())
    model.train()
    return right / len(examples.y)


#: Mean and standard deviation of ImageNet's three channels, as torchvision's weights expect them.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageNetFeatures(nn.Module):
    """A published network without its classifier, on grey images.

    Images (n × 1 × height × width, 0 to 1) are brought to `side` × `side`, copied to three channels
    and scaled as the network knows it. Batch normalisation keeps the published statistics and
    factors, so that what is held by a strategy stays as it was.

    Args:
        name: "resnet18" or "vgg16".
        weights: its published weights.
        side: of the images that the network sees, in pixels, 32 or more.

    Attributes:
        outputs: how many features there are.
    """

    def __init__(self, name: str, weights: Mapping[str, Tensor], side: int = 64) -> None:
        from torchvision import models
        from torchvision.ops import FrozenBatchNorm2d
        from torchvision.transforms.v2 import Normalize

        super().__init__()
        with torch.device("meta"):  # its own initial weights would come from the global state
            if name == "resnet18":
                network = models.resnet18(norm_layer=FrozenBatchNorm2d)
                self.outputs = network.fc.in_features
            else:
                network = models.vgg16()
                self.outputs = network.classifier[-1].in_features
        network.load_state_dict(weights, assign=True)
        if name == "resnet18":
            network.fc = nn.Identity()
        else:
            network.classifier[-1] = nn.Identity()
        self.network = network
        self.side = side
        self.scale = Normalize(_MEAN, _DEVIATION)

    def forward(self, x: Tensor) -> Tensor:
        """Features (n × outputs)."""
        x = functional.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False)
        features: Tensor = self.network(self.scale(x.expand(-1, 3, -1, -1)))
        return features
