"""Naive fine-tuning: the optimizer alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy("naive", label="Naive", search={"lr": Log(1e-3, 3e-1)})
def naive(source: Source) -> Plugins:
    """Naive fine-tuning: the optimizer alone."""
    return []
