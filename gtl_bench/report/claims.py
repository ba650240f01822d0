"""What claims are made of: paired differences over seeds, and their words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from gtl_bench.report.info import RunInfo
from gtl_bench.report.tables import percent
from gtl_bench.stats import mean_interval

#: What a control keeps of GTL, by name.
CONTROLS = {
    "gtl-shuffled": "the guide's values at other places",
    "gtl-scalar": "a smaller step",
    "gtl-inverted": "the opposite guide",
}


class Difference(NamedTuple):
    """A mean over seeds with its 95 % interval, NaN for a single seed; shares from 0 to 1."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def sign(self) -> int:
        """1 or -1 where the interval is all above or below 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def __str__(self) -> str:
        points = f"{percent(self.mean, sign=True)} points"
        if self.seeds == 1:
            return f"{points}, 1 seed"
        low, high = percent(self.low, sign=True), percent(self.high, sign=True)
        return f"{points}, 95 % interval {low} to {high}, {self.seeds} seeds"


def mean_of(values: pd.Series) -> Difference:
    """The mean of a share, or of a difference of shares, over seeds (one row each)."""
    mean, low, high = mean_interval(values.to_numpy(dtype=float))
    return Difference(float(mean), float(low), float(high), len(values))


def difference(values: pd.Series, one: str, other: str) -> Difference | None:
    """One strategy less another, paired by seed; None where they have no seed in common.

    Args:
        values: of cells, indexed by (strategy, seed).
        one: a strategy's name.
        other: another one's.
    """
    table = values.unstack("strategy").reindex(columns=[one, other]).dropna()
    return mean_of(table[one] - table[other]) if len(table) else None


def beside_controls(values: pd.Series, info: RunInfo, names: Iterable[str] = CONTROLS) -> str:
    """What GTL's controls say of a gain: the end of a sentence, empty where none is in the run.

    Args:
        values: of cells, indexed by (strategy, seed); more is better.
        info: the run.
        names: of controls.
    """
    texts = []
    for name in names:
        found = difference(values, "gtl", name)
        if found is not None and found.seeds > 1:
            word = {1: "above", 0: "not told from", -1: "below"}[found.sign]
            texts.append(f"{word} {info.label(name)} ({found})")
    if not texts:
        return "; no control is in the run that could explain it"
    return f"; beside its controls GTL is {', '.join(texts)}"
