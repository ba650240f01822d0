"""EWC and synaptic intelligence with bounded memory, for streams of many small experiences.

Both add a quadratic penalty that holds each parameter near an anchor, the more so the more
important it was. Avalanche ships plugins for both; these take their place for reasons that
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

    def penalty(self, model: nn.Module) -> float:
        """The penalty's value for the model as it is."""
        total = sum(
            (self.importance[name] * (parameter.detach() - self.anchor[name]) ** 2).sum()
            for name, parameter in _trainable(model).items()
            if name in self.anchor
        )
        return self.strength / 2 * float(total)

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        """Add the penalty's gradient, strength · Ω ⊙ (θ − θ*), to the task's."""
        held = [
            (parameter.grad, parameter.detach(), self.anchor[name], self.importance[name])
            for name, parameter in _trainable(strategy.model).items()
            if name in self.anchor and parameter.grad is not None
        ]
        if not held:
            return
        gradients, parameters, anchors, importances = map(list, zip(*held))
        moved = torch._foreach_sub(parameters, anchors)
        torch._foreach_addcmul_(gradients, importances, moved, value=self.strength)


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
        fisher = fisher_information(
            strategy.model, strategy._criterion, strategy.experience.dataset, strategy.device
        )
        for name, value in fisher.items():
            if name in self.importance:
                value.add_(self.importance[name], alpha=self.decay)
            self.importance[name] = value
        self.anchor = {
            name: parameter.detach().clone()
            for name, parameter in _trainable(strategy.model).items()
        }


def fisher_information(
    model: nn.Module, criterion: Any, dataset: Any, device: torch.device
) -> dict[str, Tensor]:
    """The diagonal of the empirical Fisher information, one example at a time.

    Args:
        model: evaluated in evaluation mode; its gradients are left alone.
        criterion: the negative log-likelihood of labels, given logits.
        dataset: items begin with input and label.
        device: where the model is.

    Returns:
        Name -> mean over examples of the squared gradient, in the parameter's shape.
    """
    parameters = _trainable(model)
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    was_training = model.training
    model.eval()
    for index in range(len(dataset)):
        x, y = dataset[index][:2]
        x, y = torch.as_tensor(x).unsqueeze(0), torch.as_tensor(y).unsqueeze(0)
        loss = criterion(model(x.to(device)), y.to(device))
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        torch._foreach_addcmul_(list(total.values()), gradients, gradients)
    model.train(was_training)
    torch._foreach_div_(list(total.values()), len(dataset))
    return total


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

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        self._start = [p.detach().clone() for p in _trainable(strategy.model).values()]
        self._previous = [value.clone() for value in self._start]
        self._gradient = [torch.zeros_like(value) for value in self._start]
        self._path_integral = [torch.zeros_like(value) for value in self._start]

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        torch._foreach_copy_(
            self._previous, [p.detach() for p in _trainable(strategy.model).values()]
        )

    def after_backward(self, strategy: Any, **kwargs: Any) -> None:
        parameters = _trainable(strategy.model).values()
        torch._foreach_copy_(self._gradient, [_gradient_of(p) for p in parameters])
        super().after_backward(strategy, **kwargs)

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        # Here rather than after the update, so that a guided update counts as it was made.
        parameters = [p.detach() for p in _trainable(strategy.model).values()]
        torch._foreach_sub_(self._previous, parameters)
        torch._foreach_addcmul_(self._path_integral, self._gradient, self._previous)

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        parameters = _trainable(strategy.model)
        for (name, parameter), start, omega in zip(
            parameters.items(), self._start, self._path_integral
        ):
            way = parameter.detach() - start
            gained = omega.clamp(min=0) / (way.square() + self.damping)
            if name in self.importance:
                gained += self.importance[name]
            self.importance[name] = gained
            self.anchor[name] = parameter.detach().clone()


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _gradient_of(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
