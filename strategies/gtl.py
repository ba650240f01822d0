"""Guided Transfer Learning (Nikolić, Andrić, Nikolić, arXiv 2303.16154), and its controls.

Scouts are copies of the base trained on sub-problems of a few classes of the source task. Where
they moved a parameter, the guide lets it change; where they didn't, it holds it.

`gtl` is the method as published: a scout's loss sees all classes, so that those absent from its
sub-problem are only pushed down. `gtl-masked` leaves them out of the scout's softmax. Each control
keeps one property of the guide and gives up the others. `gtl-gradient` multiplies the gradient by
the guide, which under Adam changes little. `scout_examples` are those of one scout; 0
stands for all of its classes. Where there is no source task, scouts go out after each experience to
what it held, and guide the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gtl_bench import Log, strategy

if TYPE_CHECKING:
    import torch

    from gtl_bench.gtl import Guide
    from gtl_bench.gtl.displacement import Measure
    from gtl_bench.gtl.guide import Focus, Scope, Temperature
    from gtl_bench.gtl.plugin import Apply
    from gtl_bench.source import Plugins, Source

    Control = Callable[[Guide, torch.Generator], Guide]

SEARCH = {"lr": Log(1e-5, 1e0)}


def guided(
    doc: str,
    absent: str,
    control: Control = lambda guide, generator: guide,
    applied: Apply = "update",
) -> Callable[..., Plugins]:
    """A recipe that guides the learner by the scouts' guide, or by a control made from it."""

    def build(
        source: Source,
        n_scouts: int = 40,
        n_classes: int = 3,
        scout_epochs: int = 5,
        scout_lr: float = 0.05,
        scout_batch_size: int = 10,
        scout_examples: int = 0,
        measure: Measure = "squared",
        focus: Focus = "zero_enforced_and_normalized",
        scope: Scope = "tensor",
        temperature: Temperature = "room",
        apply: Apply = applied,
    ) -> Plugins:
        from gtl_bench.gtl import GTLPlugin
        from gtl_bench.gtl.continual import ContinualGTLPlugin

        scouting = {
            "n_scouts": n_scouts,
            "n_classes": n_classes,
            "examples": scout_examples or None,
            "epochs": scout_epochs,
            "lr": scout_lr,
            "batch_size": scout_batch_size,
            "measure": measure,
            "absent": absent,
        }

        def prepared(raw: Guide) -> Guide:
            guide = raw.focused(focus, scope=scope).tempered(temperature)
            return control(guide, source.rng("control"))

        if len(source.examples.y):
            return [GTLPlugin(prepared(source.scouts(**scouting)), apply=apply)]
        generator = source.rng("scouts")
        return [
            ContinualGTLPlugin(
                lambda base, dataset: prepared(
                    source.scouts_from(base, dataset, generator, **scouting)
                ),
                apply=apply,
            )
        ]

    build.__doc__ = doc
    return build


def shuffled(guide: Guide, generator: torch.Generator) -> Guide:
    """The same values at other places of the same tensor."""
    return guide.shuffled(generator)


def scalar(guide: Guide, generator: torch.Generator) -> Guide:
    """The same mean everywhere in a tensor: a smaller step."""
    return guide.scalar()


def inverted(guide: Guide, generator: torch.Generator) -> Guide:
    """What the guide holds may change, and the reverse."""
    return guide.inverted()


gtl = strategy("gtl", label="GTL", search=SEARCH)(
    guided("Guided Transfer Learning as published.", "free")
)
gtl_gradient = strategy("gtl-gradient", label="GTL, gradient", search=SEARCH)(
    guided(
        "GTL on gradients in place of updates, as its authors' code.", "free", applied="gradient"
    )
)
gtl_shuffled = strategy("gtl-shuffled", label="GTL, shuffled", control=True, search=SEARCH)(
    guided("Control: GTL's guide with the values of each tensor shuffled.", "free", shuffled)
)
gtl_scalar = strategy("gtl-scalar", label="GTL, scalar", control=True, search=SEARCH)(
    guided("Control: each tensor's mean in place of GTL's guide: a smaller step.", "free", scalar)
)
gtl_inverted = strategy("gtl-inverted", label="GTL, inverted", control=True, search=SEARCH)(
    guided("Control: 1 minus GTL's guide.", "free", inverted)
)
gtl_masked = strategy("gtl-masked", label="GTL, masked", search=SEARCH)(
    guided("GTL with absent classes left out of the scouts' softmax.", "masked")
)
gtl_masked_shuffled = strategy(
    "gtl-masked-shuffled", label="GTL, masked, shuffled", control=True, search=SEARCH
)(guided("Control: gtl-masked's guide, shuffled within each tensor.", "masked", shuffled))
gtl_masked_scalar = strategy(
    "gtl-masked-scalar", label="GTL, masked, scalar", control=True, search=SEARCH
)(guided("Control: each tensor's mean in place of gtl-masked's guide.", "masked", scalar))
