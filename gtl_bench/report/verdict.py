"""The verdict of a run: what it shows of one strategy, in plain sentences.

The strategy judged, the focus, is compared with each other one by its score (in a stream, final
accuracy), paired by seed.

The rule: a difference is claimed where both agree, Wilcoxon's signed-rank test, corrected after
Holm over all of the focus's comparisons in the run (p ≤ 0.05), and the 95 % interval of the mean
difference, which must leave out 0. Otherwise none is shown, which does not mean that there is none.
Where there are too few seeds for the test to reach 0.05, nothing is claimed at all.

A gain over naive fine-tuning can have a cheaper cause than what the focus claims. Its controls,
known by their names (gtl-scalar is one of gtl), each keep such a cause and give up the rest:

- the focus is better than the control: that cause does not explain the gain;
- no difference is shown, or the control is better: the cause explains the gain;
- no difference is shown, and the interval holds the whole gain as well as 0: a control that does
  nothing would look the same, so that it is open, and more seeds are needed.

A control excludes a cause only where each strategy has hyperparameters of its own from a search. At
a rate that suits the focus, a control that takes smaller steps merely learns less.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from gtl_bench import stats
from gtl_bench.errors import UsageError
from gtl_bench.report import tables
from gtl_bench.report.info import RunInfo, StrategyInfo

#: What is left of a strategy in its control STRATEGY-NAME, as the subject of "… explains the gain".
CAUSES: Mapping[str, str] = {
    "scalar": "a smaller step",
    "shuffled": "a guide with its values shuffled",
    "inverted": "the opposite guide",
}

#: Strategies that say something of any focus: how they are called, and what follows from it.
_KNOWN: Mapping[str, str] = {
    "frozen": "the frozen base",
    "joint": "joint training, the upper line",
    "first-layer": "training of the first layer alone",
}


_UNTUNED_NOTE = (
    "Not every strategy has hyperparameters of its own from a search: one that is behind here may "
    "be ahead at another rate. The comparison at tuned rates decides."
)


class Outcome(StrEnum):
    """What a comparison shows of the focus."""

    BETTER = "better"
    WORSE = "worse"
    NONE = "no difference shown"
    TOO_FEW = "too few seeds to tell"


class Role(StrEnum):
    """What a control says of the cause that it keeps, where the focus is better than naive."""

    EXPLAINS = "explains the gain"
    EXCLUDED = "does not explain the gain"
    OPEN = "may explain the gain: more seeds are needed to tell"
    UNTUNED = "may explain the gain at a rate of its own"


_FOLLOWS: Mapping[tuple[str, Outcome], str] = {
    ("frozen", Outcome.BETTER): "learning from the stream helps",
    ("frozen", Outcome.WORSE): "not learning at all does better",
    ("frozen", Outcome.NONE): "that learning from the stream helps is not shown",
    ("first-layer", Outcome.BETTER): "it is worth more than a layer chosen by hand",
    ("first-layer", Outcome.WORSE): "a layer chosen by hand does better",
    ("first-layer", Outcome.NONE): "a layer chosen by hand does as well, as far as is shown",
}


@dataclass(frozen=True)
class Verdict:
    """What a run shows of one strategy.

    Attributes:
        caption: of what, and how hyperparameters were set.
        claim: what is shown of the claim that the experiment tests; empty where it tests none.
        headline: the outcome in a sentence or two.
        sentences: a sentence for each other strategy, naive fine-tuning and controls first.
        notes: the rule, and what limits it.
    """

    caption: str
    claim: str
    headline: str
    sentences: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Comparison:
    """The focus against another strategy; difference and interval are focus minus other, 0 to 1."""

    other: StrategyInfo
    cause: str | None  # what this control of the focus keeps of it
    pairs: int
    difference: float
    low: float
    high: float
    p: float  # corrected
    outcome: Outcome


def judge(scalars: pd.DataFrame, records: pd.DataFrame, info: RunInfo, focus: str) -> Verdict:
    """Judge a strategy of a run by its score, which is the final accuracy in a stream.

    Args:
        scalars: a row a cell, of the run's kind.
        records: the records that they are of, for what is said in the notes.
        info: the run.
        focus: name of the strategy that is judged.

    Raises:
        UsageError: the focus is not in the run, or nothing stands beside it.
    """
    names = [strategy.name for strategy in info.strategies]
    if focus not in names:
        raise UsageError(
            f"{focus!r} is not in this run; choose one with --focus: {', '.join(names)}."
        )
    if len(names) == 1:
        raise UsageError(f"{focus!r} stands alone in this run: there is nothing to compare with.")
    label, reported = info.label(focus), info.reported
    measured = reported.metrics[reported.score].label
    comparisons = _compare(scalars, info, focus)
    return Verdict(
        caption=f"{info.title}, {info.regime}: {measured.lower()} of {label} less that of each "
        "other strategy, in percentage points, paired by seed.",
        claim=reported.claim(scalars, records, info) if reported.claim else "",
        headline=" ".join(_headline(comparisons, info, focus)),
        sentences=tuple(_sentence(label, c, _gain(comparisons), info) for c in comparisons),
        notes=(
            *([] if info.each_tuned else [_UNTUNED_NOTE]),
            _rule(_family(comparisons)),
            *tables.diverged_notes(records, info),
        ),
    )


def to_text(judged: Verdict) -> str:
    """The verdict in Markdown, which reads as plain text too."""
    lines = "\n".join(f"- {sentence}" for sentence in judged.sentences)
    claim = [f"**{judged.claim}**"] if judged.claim else []
    parts = [*claim, f"**{judged.headline}**", judged.caption, lines, *judged.notes]
    return "\n\n".join(parts) + "\n"


def _compare(scalars: pd.DataFrame, info: RunInfo, focus: str) -> list[_Comparison]:
    """Naive first, then the focus's controls, the frozen base, and all others in their order."""
    numbers = tables.differences(scalars, info, focus)
    family = int(numbers["p"].notna().sum())
    strategies = {strategy.name: strategy for strategy in info.strategies}
    comparisons = [
        _Comparison(
            other=strategies[str(name)],
            cause=CAUSES.get(str(name).removeprefix(f"{focus}-")),
            pairs=int(row["pairs"]),
            difference=float(row["difference"]),
            low=float(row["low"]),
            high=float(row["high"]),
            p=float(row["p_holm"]),
            outcome=_outcome(row, family),
        )
        for name, row in numbers.iterrows()
    ]
    return sorted(comparisons, key=_place)


def _gain(comparisons: Sequence[_Comparison]) -> _Comparison | None:
    """The comparison with naive fine-tuning, where there is one."""
    return next((c for c in comparisons if c.other.name == "naive"), None)


def _family(comparisons: Sequence[_Comparison]) -> int:
    """The number of comparisons that the test is corrected for."""
    return sum(comparison.pairs > 0 for comparison in comparisons)


def _place(comparison: _Comparison) -> int:
    name = comparison.other.name
    if comparison.cause:
        return 1
    return {"naive": 0, "frozen": 2, "joint": 4}.get(name, 3)


def _outcome(row: pd.Series, family: int) -> Outcome:
    """The rule of this module; a row of `tables.differences`, one of that many."""
    if tables.told_apart(row):
        return Outcome.BETTER if row["difference"] > 0 else Outcome.WORSE
    if row["pairs"] == 0 or stats.smallest_p(int(row["pairs"]), family) > stats.ALPHA:
        return Outcome.TOO_FEW
    return Outcome.NONE


def _role(control: _Comparison, gain: _Comparison, info: RunInfo) -> Role:
    if control.outcome is Outcome.BETTER:
        return Role.EXCLUDED if info.each_tuned else Role.UNTUNED
    if control.outcome is Outcome.WORSE:
        return Role.EXPLAINS
    if control.outcome is Outcome.NONE and control.high < gain.difference:
        return Role.EXPLAINS
    return Role.OPEN


def _sentence(label: str, comparison: _Comparison, gain: _Comparison | None, info: RunInfo) -> str:
    """One comparison in words, with its numbers and what follows from it."""
    name = _called(comparison)
    if comparison.pairs == 0:
        return f"{label} and {name} have no seed in common: nothing to compare."
    # As rounded for print, so that no sentence says "0.0 points above".
    points = round(100 * comparison.difference, 1)
    where = f"{abs(points):.1f} points {'above' if points > 0 else 'below'}"
    parts = [_outcome_text(comparison)]
    if comparison.cause and gain is not None and gain.outcome is Outcome.BETTER:
        parts.append(f"{comparison.cause} {_role(comparison, gain, info)}")
    if (comparison.other.name, comparison.outcome) in _FOLLOWS:
        parts.append(_FOLLOWS[comparison.other.name, comparison.outcome])
    return (
        f"{label} ends {where if points else 'level with'} {name} ({_numbers(comparison)}): "
        f"{'; '.join(parts)}."
    )


def _called(comparison: _Comparison) -> str:
    other = comparison.other
    if comparison.cause:
        return f"its {other.name.rpartition('-')[2]} control"
    return _KNOWN.get(other.name, other.label)


def _numbers(comparison: _Comparison) -> str:
    seeds = f"{comparison.pairs} seed{'' if comparison.pairs == 1 else 's'}"
    if comparison.pairs == 1:
        return seeds
    low, high = tables.percent(comparison.low), tables.percent(comparison.high)
    return f"95 % interval {low} to {high}, {tables.p_equation(comparison.p)}, {seeds}"


def _outcome_text(comparison: _Comparison) -> str:
    """The outcome, and which half of the rule fails where the other holds."""
    text = comparison.outcome.value
    if comparison.outcome is Outcome.NONE:
        if comparison.p <= stats.ALPHA:
            return f"{text} (the test reaches {stats.ALPHA}, but the interval holds 0)"
        if comparison.low > 0 or comparison.high < 0:
            return f"{text} (the interval leaves out 0, but the test does not reach {stats.ALPHA})"
    return text


def _headline(comparisons: Sequence[_Comparison], info: RunInfo, focus: str) -> Iterator[str]:
    """The outcome against naive fine-tuning, what explains it, and whether learning helps."""
    label, gain, family = info.label(focus), _gain(comparisons), _family(comparisons)
    if gain is None and focus == "naive":
        outcomes = [comparison.outcome for comparison in comparisons]
        yield (
            f"Of {len(outcomes)} other strategies, {label} is better than "
            f"{outcomes.count(Outcome.BETTER)} and worse than {outcomes.count(Outcome.WORSE)}."
        )
    elif gain is None:
        yield f"Naive fine-tuning is not in this run: whether {label} gains anything is not tested."
    elif gain.outcome is Outcome.BETTER:
        controls = [c for c in comparisons if c.cause and c.pairs]
        yield f"{label} is better than {gain.other.label}{_explanation(controls, gain, info)}."
    elif gain.outcome is Outcome.WORSE:
        yield f"{label} is worse than {gain.other.label}."
    elif gain.outcome is Outcome.NONE:
        yield f"No difference is shown between {label} and {gain.other.label}."
    elif gain.pairs == 0:
        yield f"{label} and {gain.other.label} have no seed in common."
    else:
        needed = next(n for n in itertools.count(1) if stats.smallest_p(n, family) <= stats.ALPHA)
        yield (
            f"Too few seeds to tell {label} from {gain.other.label}: {gain.pairs}, where a test of "
            f"{family} comparison{'' if family == 1 else 's'} needs {needed}."
        )
    frozen = next((c for c in comparisons if c.other.name == "frozen"), None)
    if frozen is not None and frozen.outcome is Outcome.WORSE:
        yield "Not learning at all does better."
    elif frozen is not None and frozen.outcome is Outcome.NONE:
        yield "That learning from the stream helps is not shown."


def _explanation(controls: Sequence[_Comparison], gain: _Comparison, info: RunInfo) -> str:
    """The end of "GTL is better than Naive": what its controls say of the gain."""
    causes = {
        role: [c.cause or "" for c in controls if _role(c, gain, info) is role] for role in Role
    }
    if explaining := causes[Role.EXPLAINS]:
        verb = "explains" if len(explaining) == 1 else "each explain"
        return f", but {_listed(explaining, 'and')} {verb} the gain"
    texts = []
    if untuned := causes[Role.UNTUNED]:
        texts.append(f"; whether {_listed(untuned, 'or')} explains the gain is open")
        texts.append(", since not every strategy has a rate of its own here")
    elif possible := causes[Role.OPEN]:
        texts.append(f"; whether {_listed(possible, 'or')} explains the gain is open")
    elif excluded := causes[Role.EXCLUDED]:
        several = f", and neither {_listed(excluded, 'nor')} explains the gain"
        one = f", and {excluded[0]} does not explain the gain"
        texts.append(several if len(excluded) > 1 else one)
    if CAUSES["scalar"] not in (control.cause for control in controls):
        texts.append(f"; {CAUSES['scalar']} is not ruled out, for want of a scalar control")
    return "".join(texts)


def _listed(names: Sequence[str], last: str) -> str:
    """Names in a row: "a", "a and b", "a, b and c"."""
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def _rule(family: int) -> str:
    return (
        f"A difference is claimed where Wilcoxon's signed-rank test, Holm-corrected over "
        f"{family} comparison{'' if family == 1 else 's'}, gives p ≤ {stats.ALPHA} and the 95 % "
        "interval of the mean difference (Student's t) leaves out 0. That none is shown does not "
        "mean that there is none."
    )
