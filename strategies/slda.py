"""Streaming linear discriminant analysis (Hayes & Kanan, CVPR workshops 2020).

The base's features stay as they are; the last layer is computed from class means and a shared
covariance, which begin with the source's examples and go along the stream. As published, each of
the source's examples counts as much as one of the stream; `source_weight` makes them count less,
which lets few examples move the means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy(
    "slda",
    label="SLDA",
    search={"shrinkage": Log(1e-6, 1e0), "source_weight": Log(1e-3, 1e0)},
    lr=0.0,
)
def slda(source: Source, shrinkage: float = 1e-4, source_weight: float = 1.0) -> Plugins:
    """Streaming linear discriminant analysis on the base's features."""
    from gtl_bench.heads import StreamingLDA

    return [StreamingLDA(source.model, source.examples, shrinkage, source_weight)]
