"""Training on all examples met so far, again and again: what a learner with full memory reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy("joint", label="Joint", control=True, search={"lr": Log(1e-5, 1e0)})
def joint(source: Source, batch_size: int = 10) -> Plugins:
    """Control: every example met so far is trained on again; the upper line."""
    from gtl_bench.rehearsal import FullRehearsal

    return [FullRehearsal(batch_size, source.rng("rehearsal"))]
