"""Classifiers on the base's features whose weights are computed rather than trained.

Linear discriminant analysis assumes that each class's features are normal around a mean of its own
with a covariance Σ that all share. Its classifier is linear, so that it takes the place of the
model's last layer, and everything below stays as the base has it.

Avalanche has it as a training template (`StreamingLDA`), which can't be a plugin beside others, and
prints; `tests/test_heads.py` shows that this one equals it. Nearest-class-mean classification, as
Avalanche's `NCMClassifier` does it, is the case of Σ = I.
"""

from __future__ import annotations

from typing import Any

import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor, nn

from gtl_bench.scenario import Examples

#: Images that go through the network at once: the activations of many would fill the memory.
_AT_ONCE = 500


class StreamingLDA(SupervisedPlugin):
    """Streaming linear discriminant analysis on the features before the model's last layer.

    With t examples seen, c of them of class y, the next one with features z changes

        Σ ← t/(t+1) · (Σ + (z − μ_y)(z − μ_y)ᵀ / (t+1)),   μ_y ← μ_y + (z − μ_y) / (c+1),

    and the last layer becomes W = MΛ, b_k = −½ μ_kᵀΛμ_k, with Λ = ((1 − ε)Σ + εI)⁻¹ and M the
    class means, a row each. Nothing else of the model is trained: examples are seen once, whatever
    the number of epochs. A class of which no example was seen is never answered.

    The source's examples are the first: class means, and Σ by oracle approximating shrinkage as in
    the paper. Where the model's last layer is not the base's, because other classes are to be told
    apart, the source gives Σ alone. Without source examples all begin at 0.

    Source: Hayes & Kanan, "Lifelong machine learning with deep streaming linear discriminant
    analysis", CVPR workshops 2020, section 3.

    Args:
        base: the pretrained base, in which the last linear layer gives the outputs.
        examples: of the source task.
        shrinkage: ε, above 0, up to 1; 1 is nearest-class-mean classification.
        source_weight: how many examples each of the source's counts as, above 0; 1 in the paper.

    Attributes:
        mean: M (classes × features).
        count: examples of each class (classes).
        covariance: Σ (features × features).
        total: t.

    Raises:
        ValueError: for a number out of range, or a base without classes in a last linear layer.
    """

    def __init__(
        self, base: nn.Module, examples: Examples, shrinkage: float, source_weight: float = 1.0
    ) -> None:
        super().__init__()
        if not 0 < shrinkage <= 1:
            raise ValueError(f"shrinkage is {shrinkage}; it must lie above 0, up to 1")
        if not source_weight > 0:
            raise ValueError(f"source_weight is {source_weight}; it must be above 0")
        layer = last_layer(base)
        most = int(examples.y.max()) if len(examples.y) else 1
        if layer.out_features <= max(1, most):
            raise ValueError("the model's last layer has no output for each class")
        self.shrinkage = shrinkage
        self._head = layer.weight.detach().clone()
        self._start_means(layer)
        self.total = source_weight * len(examples.y)
        shape = (layer.in_features, layer.in_features)
        self.covariance = torch.zeros(shape, dtype=torch.float64, device=layer.weight.device)
        if len(examples.y):
            z, y = features(base, examples.x), examples.y.to(layer.weight.device)
            self.count += torch.bincount(y, minlength=layer.out_features)
            self.mean.index_add_(0, y, z)
            self.mean /= self.count.clamp(min=1).unsqueeze(1)
            self.count *= source_weight
            self.covariance = _shrunk_covariance(z - self.mean[y])

    def before_training(self, strategy: Any, **kwargs: Any) -> None:
        """Forget the source's class means where other classes are to be told apart."""
        layer = last_layer(strategy.model)
        if not torch.equal(layer.weight, self._head):
            self._start_means(layer)

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """See the experience's examples, and leave nothing for the optimizer to do."""
        layer = last_layer(strategy.model)
        for x, y, *_ in strategy.dataloader:
            for z, label in zip(features(strategy.model, x), y.tolist()):
                self.see(z, label)
        weight, bias = self.classifier()
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        self._head = layer.weight.detach().clone()
        strategy.dataloader = ()

    def see(self, z: Tensor, label: int) -> None:
        """Take in one example: its features (d) and its class."""
        away = z - self.mean[label]
        self.covariance += torch.outer(away, away) / (self.total + 1)
        self.covariance *= self.total / (self.total + 1)
        self.mean[label] += away / (self.count[label] + 1)
        self.count[label] += 1
        self.total += 1

    def classifier(self) -> tuple[Tensor, Tensor]:
        """Weight (classes × features) and bias (classes) of the linear classifier."""
        identity = torch.eye(len(self.covariance), dtype=torch.float64, device=self.mean.device)
        shrunk = (1 - self.shrinkage) * self.covariance + self.shrinkage * identity
        weight = torch.linalg.solve(shrunk, self.mean.T).T
        bias = -(weight * self.mean).sum(1) / 2
        # Finite, so that it is no divergence.
        bias[self.count == 0] = torch.finfo(torch.float32).min
        return weight, bias

    def _start_means(self, layer: nn.Linear) -> None:
        shape = (layer.out_features, layer.in_features)
        self.mean = torch.zeros(shape, dtype=torch.float64, device=layer.weight.device)
        self.count = torch.zeros(len(self.mean), dtype=torch.float64, device=self.mean.device)


def last_layer(model: nn.Module) -> nn.Linear:
    """The last linear layer of a model, in the order in which its modules were added.

    Raises:
        ValueError: there is none, or it has no bias.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers or layers[-1].bias is None:
        raise ValueError("the model has no last linear layer with a bias")
    return layers[-1]


def features(model: nn.Module, x: Tensor) -> Tensor:
    """What the last linear layer is given (n × features, float64), in evaluation mode."""
    layer = last_layer(model)
    given: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for part in x.split(_AT_ONCE):
                model(part.to(layer.weight.device))
    finally:
        hook.remove()
        model.train(was_training)
    return torch.cat(given).double()


def _shrunk_covariance(centred: Tensor) -> Tensor:
    """Covariance (d × d) of rows around 0 (n × d), by oracle approximating shrinkage."""
    from sklearn.covariance import OAS

    fitted = OAS(assume_centered=True).fit(centred.cpu().numpy())
    return torch.as_tensor(fitted.covariance_, dtype=torch.float64, device=centred.device)
