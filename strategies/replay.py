"""Replay from a small reservoir of the stream's examples (Chaudhry et al., 2019), by Avalanche."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy("replay", label="Replay", search={"lr": Log(1e-5, 1e0)})
def replay(source: Source, mem_size: int = 20, batch_size_mem: int = 5) -> Plugins:
    """Replay from a small reservoir of the stream's examples."""
    from avalanche.training.plugins import ReplayPlugin

    from gtl_bench.rehearsal import Reservoir

    return [ReplayPlugin(mem_size, 1, batch_size_mem, storage_policy=Reservoir(mem_size))]
