"""What claims are made of: paired differences over seeds, and their words.

The rule is that of the verdict (`gtl_bench.report.verdict`): a difference is claimed where its 95 %
interval leaves out 0 and the exact signed-rank test, corrected after Holm over the family that it
is one of, gives p ≤ 0.05. Where there are too few seeds for that, a claim is not told.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from gtl_bench.report.info import RunInfo
from gtl_bench.report.tables import percent
from gtl_bench.stats import ALPHA, holm, mean_interval, signed_rank_p, smallest_p

Key = TypeVar("Key", bound=Hashable)

#: What a control keeps of GTL, by name.
CONTROLS = {
    "gtl-shuffled": "the guide's values at other places",
    "gtl-scalar": "a smaller step",
    "gtl-inverted": "the opposite guide",
}


class Difference(NamedTuple):
    """A mean over seeds with its 95 % interval, NaN for a single seed; shares from 0 to 1.

    `p` is that of the signed-rank test that it is 0, after Holm's correction over a `family` of
    comparisons.
    """

    mean: float
    low: float
    high: float
    seeds: int
    p: float
    family: int = 1

    @property
    def side(self) -> int:
        """1 or -1 where the interval is all above or below 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def sign(self) -> int:
        """1 or -1 where it is claimed to lie above or below 0, else 0."""
        return self.side if self.p <= ALPHA else 0

    @property
    def too_few(self) -> bool:
        """Whether there are too few seeds for any claim."""
        return smallest_p(self.seeds, self.family) > ALPHA

    def outcome(self, above: str, below: str) -> str:
        """What is shown, as a verb: one of two words where it is claimed to lie on that side."""
        if self.too_few:
            return f"is not told at {self.seeds} seed{'' if self.seeds == 1 else 's'}"
        if self.side and not self.sign:
            return f"is not shown (the interval leaves out 0, but the test does not reach {ALPHA})"
        return {1: above, 0: "is not shown", -1: below}[self.sign]

    def __str__(self) -> str:
        points = f"{percent(self.mean, sign=True)} points"
        if self.seeds == 1:
            return f"{points}, 1 seed"
        low, high = percent(self.low, sign=True), percent(self.high, sign=True)
        return f"{points}, 95 % interval {low} to {high}, {self.seeds} seeds"


def mean_of(values: pd.Series) -> Difference:
    """The mean of a share, or of a difference of shares, over seeds (one row each)."""
    numbers = values.to_numpy(dtype=float)
    mean, low, high = mean_interval(numbers)
    return Difference(float(mean), float(low), float(high), len(numbers), signed_rank_p(numbers))


def difference(values: pd.Series, one: str, other: str) -> Difference | None:
    """One strategy less another, paired by seed; None where they have no seed in common.

    Args:
        values: of cells, indexed by (strategy, seed).
        one: a strategy's name.
        other: another one's.
    """
    table = values.unstack("strategy").reindex(columns=[one, other]).dropna()
    return mean_of(table[one] - table[other]) if len(table) else None


def corrected(found: Mapping[Key, Difference | None]) -> dict[Key, Difference]:
    """A family of differences with their p corrected after Holm; what is None is left out."""
    family = {key: one for key, one in found.items() if one is not None}
    p_values = holm(np.array([one.p for one in family.values()]))
    return {
        key: one._replace(p=float(p), family=len(family))
        for (key, one), p in zip(family.items(), p_values)
    }


def differences(values: pd.Series, one: str, info: RunInfo) -> dict[str, Difference]:
    """One strategy less each other one of the run, by name, corrected over all of them.

    Args:
        values: of cells, indexed by (strategy, seed).
        one: a strategy's name.
        info: the run.
    """
    others = [strategy.name for strategy in info.strategies if strategy.name != one]
    return corrected({other: difference(values, one, other) for other in others})


def beside_controls(values: pd.Series, info: RunInfo, names: Iterable[str] = CONTROLS) -> str:
    """What GTL's controls say of a gain: the end of a sentence, empty where none is in the run.

    Args:
        values: of cells, indexed by (strategy, seed); more is better.
        info: the run.
        names: of controls.
    """
    texts, less = [], differences(values, "gtl", info)
    for name in names:
        found = less.get(name)
        if found is not None and found.seeds > 1:
            word = {1: "above", 0: "not told from", -1: "below"}[found.sign]
            texts.append(f"{word} {info.label(name)} ({found})")
    if not texts:
        return "; no control is in the run that could explain it"
    return f"; beside its controls GTL is {', '.join(texts)}"
