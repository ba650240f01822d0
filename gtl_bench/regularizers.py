"""EWC, synaptic intelligence and MAS with bounded memory, for streams of small experiences.

All add a quadratic penalty that holds each parameter near an anchor, the more so the more
important it was. Avalanche ships plugins for them; these take their place for reasons that
`tests/test_regularizers.py` shows:

- On the CPU, `SynapticIntelligencePlugin` of Avalanche 0.6 keeps views of the parameters where it
  needs copies, finds that nothing ever moved, and penalises nothing.
- `EWCPlugin` squares the gradient of a mini-batch's mean loss where Fisher information asks for the
  mean of squared gradients of single examples, and its loops over named parameters make an example
  of a stream more than four times as expensive as without it.

The penalty's gradient is added after the backward pass, in closed form: the same update as through
the loss, without a second graph, and what the task alone asks for stays visible to the plugin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from avalanche.training.plugins import SupervisedPlugin
from torch import Tensor, nn


class QuadraticPenalty(SupervisedPlugin):
    """Adds strength/2 · Σ_k Ω_k (θ_k − θ*_k)² to the loss.

    Args:
        strength: the factor, at or above 0.

    Attributes:
        importance: Ω, name -> tensor of the parameter's shape, at or above 0; empty at first.
        anchor: θ*, likewise. Parameters without an anchor, such as those of a new head, are free.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        if not strength >= 0:
            raise ValueError(f"the penalty's strength is {strength}; it must be 0 or more")
        self.strength = strength
        self.importance: dict[str, Tensor] = {}
        self.anchor: dict[str, Tensor] = {}
        self._held: list[str] = []
        self._parameters: list[nn.Parameter] = []
        self._at_anchor = False

    def penalty(self, model: nn.Module) -> float:
        """The penalty's value for the model as it is."""
        total = sum(
            (self.importance[name] * (parameter.detach() - self.anchor[name]) ** 2).sum()
            for name, parameter in _trainable(model).items()
            if name in self.anchor
        )
        return self.strength / 2 * float(total)

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Find the parameters that are held: the model may have been adapted."""
        trainable = _trainable(strategy.model)
        self._held = [name for name in trainable if name in self.anchor]
        self._parameters = [trainable[name] for name in self._held]
        values = [parameter.detach() for parameter in self._parameters]
        anchors = [self.anchor[name] for name in self._held]
        self._at_anchor = all(map(torch.equal, values, anchors))

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Add the penalty's gradient, strength · Ω ⊙ (θ − θ*), to the task's."""
        if self._at_anchor:
            return
        held = [
            (parameter.grad, parameter.detach(), self.anchor[name], self.importance[name])
            for name, parameter in zip(self._held, self._parameters)
            if parameter.grad is not None
        ]
        if held:
            gradients, parameters, anchors, importances = map(list, zip(*held))
            moved = torch._foreach_sub(parameters, anchors)
            torch._foreach_addcmul_(gradients, importances, moved, value=self.strength)

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        """From the first update on, parameters are no longer at their anchors."""
        self._at_anchor = False

    def _consolidate(self, model: nn.Module) -> tuple[list[nn.Parameter], list[Tensor]]:
        """Make the present parameters the anchor; returns them and their importance."""
        trainable = _trainable(model)
        for name, parameter in trainable.items():
            if name not in self.anchor:
                self.anchor[name] = torch.empty_like(parameter, requires_grad=False)
                self.importance[name] = torch.zeros_like(parameter, requires_grad=False)
        values = [parameter.detach() for parameter in trainable.values()]
        torch._foreach_copy_([self.anchor[name] for name in trainable], values)
        return list(trainable.values()), [self.importance[name] for name in trainable]


class EWC(QuadraticPenalty):
    """Elastic weight consolidation in its online form: one anchor, one running importance.

    After each experience the importance becomes decay · Ω + F, with F the empirical Fisher
    information, that is the mean over the experience's examples of the squared gradient of the
    log-likelihood of their labels, and the anchor the present parameters.

    Sources: Kirkpatrick et al., PNAS 2017, equation 3; Huszár, PNAS 2018 (the anchor moves along);
    Schwarz et al., ICML 2018, section 4 (decay).

    Args:
        ewc_lambda: the penalty's factor λ (the loss has λ/2).
        decay: how much of the old importance stays, in [0, 1].
    """

    def __init__(self, ewc_lambda: float, decay: float = 1.0) -> None:
        super().__init__(ewc_lambda)
        if not 0 <= decay <= 1:
            raise ValueError(f"EWC's decay is {decay}; it must lie in [0, 1]")
        self.decay = decay

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Add the experience's Fisher information and move the anchor."""
        parameters, importance = self._consolidate(strategy.model)
        if self.decay != 1:
            torch._foreach_mul_(importance, self.decay)
        add_fisher_information(
            importance,
            strategy.model,
            parameters,
            strategy._criterion,
            strategy.experience.dataset,
        )


def add_fisher_information(
    total: Sequence[Tensor],
    model: nn.Module,
    parameters: Sequence[nn.Parameter],
    criterion: Any,
    dataset: Any,
) -> None:
    """Add the diagonal of the empirical Fisher information, one example at a time.

    Args:
        total: for each parameter a tensor of its shape, to which the mean over examples of the
            squared gradient is added.
        model: evaluated in evaluation mode; its gradients are left alone.
        parameters: of the model.
        criterion: the negative log-likelihood of labels, given logits.
        dataset: items begin with input and label.
    """
    for gradients in _single_gradients(model, parameters, dataset, criterion):
        torch._foreach_addcmul_(list(total), gradients, gradients, value=1 / len(dataset))


def _single_gradients(
    model: nn.Module, parameters: Sequence[nn.Parameter], dataset: Any, loss: Any
) -> Iterator[tuple[Tensor, ...]]:
    """The gradients of loss(output, label) at each example, in evaluation mode."""
    device = parameters[0].device
    was_training = model.training
    model.eval()
    for index in range(len(dataset)):
        x, y = (torch.as_tensor(value).unsqueeze(0).to(device) for value in dataset[index][:2])
        yield torch.autograd.grad(loss(model(x), y), parameters)
    model.train(was_training)


class SynapticIntelligence(QuadraticPenalty):
    """Synaptic intelligence: importance is how much a parameter's way lowered the loss.

    Along each experience ω_k = −Σ g_k Δθ_k, with g the gradient of the task's loss alone. At its
    end Ω_k grows by max(0, ω_k) / ((Δ_k)² + ξ), with Δ the way from the experience's start, and the
    present parameters become the anchor.

    Source: Zenke, Poole, Ganguli, ICML 2017, equations 3 to 5. Their c is `strength`/2.

    Args:
        si_lambda: the penalty's factor c (the loss has c · Σ Ω (θ − θ*)²), at or above 0.
        damping: ξ, above 0.
    """

    def __init__(self, si_lambda: float, damping: float = 0.1) -> None:
        super().__init__(2 * si_lambda)
        if not damping > 0:
            raise ValueError(f"SI's damping is {damping}; it must be above 0")
        self.damping = damping
        self._all: list[nn.Parameter] = []
        self._start: list[Tensor] = []
        self._previous: list[Tensor] = []
        self._gradient: list[Tensor] = []
        self._path_integral: list[Tensor] = []

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Begin a path."""
        super().before_training_exp(strategy, **kwargs)
        parameters = list(_trainable(strategy.model).values())
        if [p.shape for p in parameters] != [start.shape for start in self._start]:
            self._start = [torch.empty_like(p, requires_grad=False) for p in parameters]
            self._previous = [torch.empty_like(start) for start in self._start]
            self._gradient = [torch.empty_like(start) for start in self._start]
            self._path_integral = [torch.empty_like(start) for start in self._start]
        self._all = parameters
        torch._foreach_copy_(self._start, [p.detach() for p in parameters])
        torch._foreach_copy_(self._previous, self._start)
        torch._foreach_zero_(self._path_integral)

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Keep the task's gradient, before the penalty's is added to it."""
        torch._foreach_copy_(self._gradient, [_gradient_of(p) for p in self._all])
        super().after_backward(strategy, **kwargs)

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Go along the path: here, after all that follows an update, such as a guide."""
        parameters = [p.detach() for p in self._all]
        torch._foreach_sub_(self._previous, parameters)
        torch._foreach_addcmul_(self._path_integral, self._gradient, self._previous)
        torch._foreach_copy_(self._previous, parameters)

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Turn the path into importance and move the anchor."""
        parameters, importance = self._consolidate(strategy.model)
        way = torch._foreach_sub([p.detach() for p in parameters], self._start)
        torch._foreach_mul_(way, way)
        torch._foreach_add_(way, self.damping)
        torch._foreach_clamp_min_(self._path_integral, 0.0)
        torch._foreach_addcdiv_(importance, self._path_integral, way)


class MAS(QuadraticPenalty):
    """Memory aware synapses: importance is how much a parameter sways the outputs.

    After each experience the importance becomes α · Ω + (1 − α) · M, with M the mean over the
    experience's examples of |∂‖f(x)‖²/∂θ|, and the present parameters become the anchor. Labels
    play no part.

    Source: Aljundi et al., ECCV 2018, equations 3 and 4. Avalanche's plugin takes the gradient of a
    mini-batch's mean for that of single examples, and raises where a loss is exactly 0.

    Args:
        mas_lambda: the penalty's factor λ (the loss has λ · Σ Ω (θ − θ*)²), at or above 0.
        alpha: how much of the old importance stays, in [0, 1].
    """

    def __init__(self, mas_lambda: float, alpha: float = 0.5) -> None:
        super().__init__(2 * mas_lambda)
        if not 0 <= alpha <= 1:
            raise ValueError(f"MAS's alpha is {alpha}; it must lie in [0, 1]")
        self.alpha = alpha

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Mix in the experience's importance and move the anchor."""
        first = not self.anchor
        parameters, importance = self._consolidate(strategy.model)
        dataset = strategy.experience.dataset
        torch._foreach_mul_(importance, 0.0 if first else self.alpha)
        share = (1.0 if first else 1 - self.alpha) / len(dataset)
        for gradients in _single_gradients(strategy.model, parameters, dataset, _squared_norm):
            torch._foreach_add_(importance, torch._foreach_abs(gradients), alpha=share)


def _squared_norm(output: Tensor, y: Tensor) -> Tensor:
    return output.square().sum()


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _gradient_of(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
