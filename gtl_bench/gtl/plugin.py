"""Learning with a guide, in Avalanche: any strategy, any optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gtl_bench.gtl.displacement import length, shape
from gtl_bench.gtl.distance import DistanceGuides
from gtl_bench.gtl.guide import Guide

Apply: TypeAlias = Literal["update", "gradient"]


class GTLPlugin(SupervisedPlugin):  # type: ignore[misc]
    """Lets each parameter change as much as its guide allows.

    `apply="update"` guides the change that the optimizer makes, whatever the optimizer:
    w ← w_before + g ⊙ (w_proposed − w_before), the equation of arXiv 2303.16154. At g = 0 a
    parameter stays exactly as it was, at g = 1 it becomes what the optimizer proposed (to the bit;
    under plain SGD, whose guided step is taken in a single pass, to the rounding of the last).

    `apply="gradient"` multiplies the gradient by g before the optimizer sees it, as the authors'
    library does. The two agree, up to rounding, for plain SGD, momentum included. They don't under
    Adam: it divides each gradient by a running mean of that gradient's own size, so a constant
    factor cancels, and any g well above 0 moves a parameter almost as far as g = 1 does. Nor with
    weight decay, which the optimizer adds after the gradient was multiplied.

    Plugins compose in any order of the list: a penalty (EWC, SI, LwF) is added to the loss in
    `before_backward`, replayed examples come with the data, and only then, around the optimizer's
    step, is the update guided, the penalty's part in it included.

    Args:
        guide: values for the model's parameters, by name.
        apply: "update" or "gradient".
        default: the guide of parameters that it doesn't know, such as a new head's, and of rows
            that a known tensor has grown: a number of 0 or more, or "mean" for the guide's mean.

    Raises:
        ValueError: for another `apply` or `default`; at the first step of training, for a guide
            that doesn't fit the model.
    """

    def __init__(
        self, guide: Guide, apply: Apply = "update", default: float | Literal["mean"] = 1.0
    ) -> None:
        super().__init__()
        if apply not in ("update", "gradient"):
            raise ValueError(f"apply is {apply!r}; it must be update or gradient")
        if default != "mean" and not (isinstance(default, float | int) and default >= 0):
            raise ValueError(f"default is {default!r}; it must be mean, or a number of 0 or more")
        self.guide = guide
        self.apply = apply
        self.default = default
        self._new_experience = True
        self._seen: list[nn.Parameter] = []
        self._guides: dict[Tensor, Tensor] = {}
        self._groups: list[tuple[dict[str, Any], list[tuple[Tensor, Tensor]]]] = []
        self._before: list[Tensor] = []
        self._stepped: list[tuple[Tensor, Tensor, Tensor]] = []
        self._optimizer: torch.optim.Optimizer | None = None
        self._hook: RemovableHandle | None = None
        self._armed = False

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """The model may have been adapted: look at it before the next update."""
        self._new_experience = True

    def before_update(self, strategy: Any, **kwargs: Any) -> None:
        """Multiply the gradients, or get ready to guide the step."""
        if self._new_experience or strategy.optimizer is not self._optimizer:
            self._follow(strategy.model)
            self._attend(strategy.optimizer)
            self._new_experience = False
        if not self._guides:
            return
        if self.apply == "gradient":
            pairs = [(p.grad, g) for p, g in self._guides.items() if p.grad is not None]
            if pairs:
                torch._foreach_mul_(*map(list, zip(*pairs)))
        elif _is_plain_sgd(strategy.optimizer):
            self._armed = True
        else:
            with torch.no_grad():
                torch._foreach_copy_(self._before, list(self._guides))

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        """Go from the weights kept towards those that the optimizer proposed."""
        if not self._guides or self.apply == "gradient":
            return
        if self._armed:
            self._armed = False
            for parameter, gradient, _ in self._stepped:
                parameter.grad = gradient
            self._stepped.clear()
        else:
            with torch.no_grad():
                # lerp is exact at both ends: g = 0 gives the start, g = 1 the proposal.
                guided = list(self._guides)
                torch._foreach_lerp_(self._before, guided, list(self._guides.values()))
                torch._foreach_copy_(guided, self._before)

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Between experiences the optimizer is anybody's."""
        self._leave()

    @torch.no_grad()
    def _step_guided(self, optimizer: torch.optim.SGD, args: Any, kwargs: Any) -> None:
        """The guided step of plain SGD, w ← w − lr · g ⊙ gradient, in a single pass.

        It is taken just before the optimizer's own step, from which the gradients are hidden.
        """
        if not self._armed:
            return
        for group, guided in self._groups:
            stepped = [(p, p.grad, g) for p, g in guided if p.grad is not None]
            if stepped:
                parameters, gradients, guides = zip(*stepped)
                torch._foreach_addcmul_(parameters, gradients, guides, value=-group["lr"])
                for parameter in parameters:
                    parameter.grad = None
                self._stepped += stepped

    def _attend(self, optimizer: torch.optim.Optimizer) -> None:
        """Stand by for the optimizer's steps; `_armed` says which of them are to be guided."""
        self._leave()
        self._optimizer = optimizer
        self._hook = optimizer.register_step_pre_hook(self._step_guided)
        self._groups = [
            (group, [(p, self._guides[p]) for p in group["params"] if p in self._guides])
            for group in optimizer.param_groups
        ]

    def _leave(self) -> None:
        """Leave the optimizer as it was found."""
        if self._hook is not None:
            self._hook.remove()
        self._optimizer = self._hook = None

    def _follow(self, model: nn.Module) -> None:
        """Find each parameter's guide, unless they are the parameters last seen."""
        parameters = [p for p in model.parameters() if p.requires_grad]
        same = len(parameters) == len(self._seen) and all(
            now is then for now, then in zip(parameters, self._seen)
        )
        if same:
            return
        self._guides = {p: g for p, g in self._aligned(model) if (g != 1).any()}
        if self.apply == "update":
            self._before = [torch.empty_like(parameter) for parameter in self._guides]
        self._seen = parameters

    def _aligned(self, model: nn.Module) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Each trainable parameter with its guide, of the same shape, type and device."""
        parameters = dict(model.named_parameters())
        values = self.guide.values
        for name, known in values.items():
            if name not in parameters:
                raise ValueError(
                    f"the guide has {name} ({shape(known)}), but the model has no parameter of "
                    f"that name: it has {', '.join(parameters)}"
                )
        default = self.guide.mean if self.default == "mean" else float(self.default)
        for name, parameter in parameters.items():
            if parameter.requires_grad:
                g = torch.full(parameter.shape, default)
                if name in values:
                    _fill(g, values[name], name)
                yield parameter, g.to(parameter.device, parameter.dtype)


def _is_plain_sgd(optimizer: Any) -> bool:
    """Whether a step is known to be −lr · gradient, and nothing else."""
    return type(optimizer) is torch.optim.SGD and not any(
        group["momentum"]
        or group["weight_decay"]
        or group["maximize"]
        or isinstance(group["lr"], Tensor)
        for group in optimizer.param_groups
    )


def _fill(g: Tensor, known: Tensor, name: str) -> None:
    """Write the guide of a parameter into the first rows of g, of which there may be more."""
    grown = g.ndim > 0 and known.ndim == g.ndim and len(g) > len(known)
    if grown and known.shape[1:] == g.shape[1:]:
        g[: len(known)] = known
    elif known.shape == g.shape:
        g.copy_(known)
    else:
        raise ValueError(f"{name} is {shape(known)} in the guide and {shape(g)} in the model")


class DistanceGTLPlugin(GTLPlugin):
    """Learning with guides by distance: the guide in use is that of the shell the learner is in.

    The learner's distance is that of its parameters from what they were at its first step; ones
    that were added, or have grown, since then don't count. It is measured before each update.

    Args:
        guides: a guide for each shell around the base.
        apply: as for `GTLPlugin`.
        default: likewise.
    """

    def __init__(
        self,
        guides: DistanceGuides,
        apply: Apply = "update",
        default: float | Literal["mean"] = 1.0,
    ) -> None:
        super().__init__(guides.guides[0], apply, default)
        self.guides = guides
        self._start: dict[str, Tensor] = {}

    def before_update(self, strategy: Any, **kwargs: Any) -> None:
        """Choose the guide, then go on as with one guide."""
        now = {name: p.detach() for name, p in strategy.model.named_parameters()}
        if not self._start:
            self._start = {name: value.clone() for name, value in now.items()}
        moved = {
            name: now[name] - start
            for name, start in self._start.items()
            if name in now and now[name].shape == start.shape
        }
        guide = self.guides.at(length(moved))
        if guide is not self.guide:
            self.guide, self._seen, self._new_experience = guide, [], True
        super().before_update(strategy, **kwargs)
