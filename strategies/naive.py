"""Naive fine-tuning: the optimizer alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy("naive", label="Naive", search={"lr": Log(1e-5, 1e0)})
def naive(source: Source) -> Plugins:
    """Naive fine-tuning: the optimizer alone."""
    return []
