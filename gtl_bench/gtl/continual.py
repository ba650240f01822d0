"""Guiding where there is no source task: each experience is scouted once it is learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from avalanche.core import SupervisedPlugin
from torch import nn

from gtl_bench.gtl.guide import Guide
from gtl_bench.gtl.plugin import Apply, GTLPlugin

#: The guide of scouts sent from a model to a data set of (input, class, …).
SendScouts: TypeAlias = Callable[[nn.Module, Any], Guide]


class ContinualGTLPlugin(SupervisedPlugin):
    """Guides each experience by scouts of the one before it.

    The first experience is learned without a guide. After each, scouts set out from the model as it
    then is and learn easy problems made from that experience's data; their guide holds for the next
    one. This is our reading of a method that was described with a source task.

    Args:
        send: makes the guide, of scouts for instance (`gtl_bench.gtl.scout`).
        apply: as for `GTLPlugin`.

    Attributes:
        guided: the plugin in use; None before the first experience was learned.
    """

    def __init__(self, send: SendScouts, apply: Apply = "update") -> None:
        super().__init__()
        self.send = send
        self.apply = apply
        self.guided: GTLPlugin | None = None

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """As `GTLPlugin`."""
        if self.guided:
            self.guided.before_training_exp(strategy, **kwargs)

    def before_update(self, strategy: Any, **kwargs: Any) -> None:
        """As `GTLPlugin`."""
        if self.guided:
            self.guided.before_update(strategy, **kwargs)

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        """As `GTLPlugin`."""
        if self.guided:
            self.guided.after_update(strategy, **kwargs)

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Scout what was learned."""
        guide = self.send(strategy.model, strategy.experience.dataset)
        self.guided = GTLPlugin(guide, self.apply)
