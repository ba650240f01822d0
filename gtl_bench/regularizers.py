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
        self._held: list[tuple[nn.Parameter, Tensor, Tensor]] = []

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
        self._hold(_trainable(strategy.model))

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Add the penalty's gradient, strength · Ω ⊙ (θ − θ*), to the task's."""
        for parameter, anchor, importance in self._held:
            if parameter.grad is not None:
                moved = parameter.detach() - anchor
                parameter.grad.addcmul_(importance, moved, value=self.strength)

    def _hold(self, trainable: dict[str, nn.Parameter]) -> None:
        """Set each parameter that has an anchor beside its anchor and its importance."""
        self._held = [
            (parameter, self.anchor[name], self.importance[name])
            for name, parameter in trainable.items()
            if name in self.anchor
        ]

    def _consolidate(self, model: nn.Module) -> None:
        """Make the present parameters the anchor, new ones included."""
        trainable = _trainable(model)
        for name, parameter in trainable.items():
            if name not in self.anchor:
                self.anchor[name] = torch.empty_like(parameter, requires_grad=False)
                self.importance[name] = torch.zeros_like(parameter, requires_grad=False)
            self.anchor[name].copy_(parameter.detach())
        self._hold(trainable)


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
        self._consolidate(strategy.model)
        parameters, _, importances = zip(*self._held)
        if self.decay != 1:
            torch._foreach_mul_(importances, self.decay)
        add_fisher_information(
            importances,
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

    Along each experience ω_k = −Σ_t g_k(t) (θ_k(t+1) − θ_k(t)), with g(t) the gradient of the
    task's loss alone before update t. At its end Ω_k grows by max(0, ω_k) / ((Δ_k)² + ξ), with Δ
    the way from the experience's start, where the anchor stays until the next experience begins.

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
        self._paths: list[_Path] = []

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Begin a path where the parameters are now, and anchor them there."""
        self._consolidate(strategy.model)
        known = [id(path.parameter) for path in self._paths]
        if known != [id(parameter) for parameter, _, _ in self._held]:
            self._paths = [_Path(*held) for held in self._held]
        for path in self._paths:
            path.begin()

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Go along the path, and add the penalty's gradient."""
        for path in self._paths:
            penalised = path.follow(self.strength)
            if path.parameter.grad is not None:
                path.parameter.grad = penalised

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Turn the path into importance."""
        for path in self._paths:
            path.end(self.damping)


class _Path:
    """A parameter's path along an experience, from its anchor on.

    As θ(0) = θ*, summation by parts gives −ω = Σ_{t≥1} (θ(t) − θ*) (g(t−1) − g(t)), where the
    gradient after the last update counts as 0. In this form what the penalty needs anyway,
    θ(t) − θ*, is enough, and parameters need not be kept from before an update.
    """

    def __init__(self, parameter: nn.Parameter, anchor: Tensor, importance: Tensor) -> None:
        self.parameter = parameter
        self.anchor = anchor
        self.importance = importance
        self.gradient: Tensor | None = None
        self.moved = torch.empty_like(anchor)
        self.minus_omega = torch.empty_like(anchor)

    def begin(self) -> None:
        """Begin at the anchor."""
        self.gradient = None
        self.minus_omega.zero_()

    def follow(self, strength: float) -> Tensor:
        """Go on to the present parameter; returns its gradient with the penalty's added.

        The result is another tensor, whatever becomes of it: the task's gradient is needed again.
        """
        gradient = _gradient_of(self.parameter)
        before, self.gradient = self.gradient, gradient
        if before is None:  # at the anchor there is no penalty
            return gradient.clone()
        torch.sub(self.parameter.detach(), self.anchor, out=self.moved)
        self.minus_omega.addcmul_(self.moved, before.sub_(gradient))
        return torch.addcmul(gradient, self.importance, self.moved, value=strength, out=before)

    def end(self, damping: float) -> None:
        """Add what the path has gained to the importance."""
        if self.gradient is not None:
            torch.sub(self.parameter.detach(), self.anchor, out=self.moved)
            self.minus_omega.addcmul_(self.moved, self.gradient).clamp_max_(0)
            way = self.moved.square_().add_(damping)
            self.importance.addcdiv_(self.minus_omega, way, value=-1)


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
        self._consolidate(strategy.model)
        parameters, _, importances = zip(*self._held)
        dataset = strategy.experience.dataset
        torch._foreach_mul_(importances, 0.0 if first else self.alpha)
        share = (1.0 if first else 1 - self.alpha) / len(dataset)
        for gradients in _single_gradients(strategy.model, parameters, dataset, _squared_norm):
            torch._foreach_add_(importances, torch._foreach_abs(gradients), alpha=share)


def _squared_norm(output: Tensor, y: Tensor) -> Tensor:
    return output.square().sum()


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _gradient_of(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
