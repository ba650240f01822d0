"""What is reported of each kind of experiment: a module a kind, with a `KIND`.

`gtl_bench.report.kinds.stream` reports on streams of single examples; an experiment of another kind
(`gtl_bench.experiment`) has a module of its name here, which tells what its records hold.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from gtl_bench.errors import UsageError
from gtl_bench.metrics import Metric

if TYPE_CHECKING:
    from gtl_bench.report.info import RunInfo
    from gtl_bench.report.sheet import Sheet


@dataclass(frozen=True)
class Kind:
    """How a kind of experiment is reported.

    Attributes:
        metrics: the numbers that sum up a cell, by name. The first is the score: a share from 0 to
            1, by which strategies are compared.
        scalars: records and run -> a row a cell, indexed by (strategy, seed), a column a metric.
        figures: what there is to draw of a run; each takes records, run and layout.
        plots: name of a figure's function -> its caption, and what lies along its x axis.
        claim: scalars, records and run -> what the run shows of the claim that the experiment
            tests, in one sentence with its numbers; None where it tests none.
        notes: sentences that belong below the tables.
    """

    metrics: Mapping[str, Metric]
    scalars: Callable[[pd.DataFrame, RunInfo], pd.DataFrame]
    figures: Callable[[RunInfo], list[Callable[..., Sheet]]]
    plots: Mapping[str, tuple[str, str]]
    claim: Callable[[pd.DataFrame, pd.DataFrame, RunInfo], str] | None = None
    notes: Callable[[RunInfo], list[str]] = lambda info: []

    @property
    def score(self) -> str:
        """The metric by which strategies are compared."""
        return next(iter(self.metrics))


def kind_of(name: str) -> Kind:
    """How a kind of experiment is reported.

    Raises:
        UsageError: if there is no such kind.
    """
    known = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if name not in known:
        raise UsageError(f"no report for the experiment {name!r}: there is {', '.join(known)}.")
    kind: Any = importlib.import_module(f"{__name__}.{name}").KIND
    assert isinstance(kind, Kind)
    return kind
