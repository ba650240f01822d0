"""The base as it is, without any learning: the line that every strategy has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy("frozen", label="Frozen base", control=True, lr=0.0)
def frozen(source: Source) -> Plugins:
    """Control: the base as it is, without any learning."""
    return []
