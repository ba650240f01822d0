"""Nearest class mean on the base's features (Mensink et al., TPAMI 2013).

The base's features stay as they are, and an image is of the class whose mean is nearest: linear
discriminant analysis with the identity as covariance. Means begin with the source's examples, each
of which counts as `source_weight` of the stream's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtl_bench import Log, strategy

if TYPE_CHECKING:
    from gtl_bench.source import Plugins, Source


@strategy("ncm", label="NCM", search={"source_weight": Log(1e-3, 1e0)}, lr=0.0)
def ncm(source: Source, source_weight: float = 1.0) -> Plugins:
    """Nearest class mean on the base's features."""
    from gtl_bench.heads import StreamingLDA

    return [StreamingLDA(source.model, source.examples, 1.0, source_weight)]
