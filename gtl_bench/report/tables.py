"""The tables of a run: numbers in full for CSV, and as text for paper, page and terminal.

Means are over seeds with their 95 % interval by Student's t (`gtl_bench.stats`). The half-life,
which is infinite where half of what was learned is never lost, is a median with its range instead.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from gtl_bench import metrics, stats
from gtl_bench.metrics import Metric
from gtl_bench.report.html import render
from gtl_bench.report.info import RunInfo, StrategyInfo
from gtl_bench.report.latex import escaped

HALF_LIFE = "retention_half_life"
# Where experiences have equally many test images, average accuracy is final accuracy once more.
UNPRINTED = ("average_accuracy",)
NOTHING = "–"
UPPER_LINE = "joint"  # keeps every example and trains on all of them again: no peer of the others


@dataclass(frozen=True)
class Table:
    """A table as text, ready to be printed.

    Attributes:
        name: what it is called in a LaTeX label and a file name.
        caption: of what, how many seeds, how the intervals were made.
        header: the columns' names.
        rows: a tuple of texts for each row, as long as the header.
        notes: sentences that belong below the table.
        wide: in LaTeX it goes across both columns of a two-column page.
        bold: the (row, column) of each text that stands out.
    """

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    wide: bool = False
    bold: frozenset[tuple[int, int]] = frozenset()


def of_run(
    scalars: pd.DataFrame, records: pd.DataFrame, info: RunInfo, focus: str
) -> list[tuple[pd.DataFrame, Table]]:
    """The tables of a run, in numbers and as text.

    Args:
        scalars: a row a cell, of the run's kind.
        records: the records that they are of.
        info: the run.
        focus: the strategy that others are compared with; without it in the run, or nothing beside
            it, that table is left out.
    """
    found = [(summary(scalars, info), summary_table(scalars, records, info))]
    if info.comparable(focus):
        numbers = differences(scalars, info, focus)
        found.append((numbers, differences_table(numbers, records, info, focus)))
    return found


def summary(scalars: pd.DataFrame, info: RunInfo) -> pd.DataFrame:
    """Each strategy in numbers.

    Args:
        scalars: a row a cell, of the run's kind.
        info: the run.

    Returns:
        A row a strategy of `info`, in its order, indexed by name, with the columns label, control,
        seeds; for each metric its _mean, _low and _high (0 to 1) and whether it is among the _best
        (`leaders`); and for the half-life its _median, _min and _max in examples. NaN where there
        is nothing to tell, and for the interval of a single seed.
    """
    names = [name for name in info.reported.metrics if name != HALF_LIFE]
    best = {name: leaders(scalars, info, name).names for name in names}
    rows = []
    for strategy in info.strategies:
        cells = scalars[scalars.index.get_level_values("strategy") == strategy.name]
        row: dict[str, object] = {
            "strategy": strategy.name,
            "label": strategy.label,
            "control": strategy.control,
            "seeds": len(cells),
        }
        for name in info.reported.metrics:
            values = cells[name].to_numpy() if len(cells) else np.array([np.nan])
            if name == HALF_LIFE:
                row[f"{name}_median"] = np.median(values)
                row[f"{name}_min"], row[f"{name}_max"] = values.min(), values.max()
            else:
                row[f"{name}_mean"], row[f"{name}_low"], row[f"{name}_high"] = map(
                    float, stats.mean_interval(values)
                )
                row[f"{name}_best"] = strategy.name in best[name]
        rows.append(row)
    return pd.DataFrame(rows).set_index("strategy")


def differences(
    scalars: pd.DataFrame, info: RunInfo, focus: str, metric: str | None = None
) -> pd.DataFrame:
    """One strategy against each other one, paired by seed.

    Args:
        scalars: a row a cell, of the run's kind.
        info: the run; it includes the focus.
        focus: name of the strategy that the others are subtracted from.
        metric: a metric of the run's kind, other than the half-life; its score if None.

    Returns:
        A row for each other strategy of `info`, in its order, indexed by name, with the columns
        label; pairs: seeds that both have; difference (focus minus other), low, high: mean and 95 %
        interval, in the metric's unit; p, p_holm: Wilcoxon's signed-rank test, plain and corrected
        over the rows; probability_of_improvement: share of pairs in which the focus is better. NaN
        where there are too few pairs.
    """
    metric = metric or info.reported.score
    table = scalars[metric].unstack("strategy")
    better = 1 if info.reported.metrics[metric].higher_is_better else -1
    rows = []
    for strategy in info.strategies:
        if strategy.name == focus:
            continue
        paired = table.reindex(columns=[focus, strategy.name]).dropna().to_numpy()
        row = {"strategy": strategy.name, "label": strategy.label, "pairs": len(paired)}
        if len(paired):
            difference = paired[:, 0] - paired[:, 1]
            row["difference"], row["low"], row["high"] = map(float, stats.mean_interval(difference))
            row["p"] = stats.signed_rank_p(difference)
            row["probability_of_improvement"] = stats.probability_of_improvement(
                better * difference
            )
        rows.append(row)
    columns = [
        "strategy",
        "label",
        "pairs",
        "difference",
        "low",
        "high",
        "p",
        "p_holm",
        "probability_of_improvement",
    ]
    result = pd.DataFrame(rows).reindex(columns=columns).set_index("strategy")
    result["p_holm"] = stats.holm(result["p"].to_numpy(dtype=np.float64))
    return result


def accuracy_matrix(records: pd.DataFrame, info: RunInfo) -> pd.DataFrame:
    """The accuracy matrices, one row an entry.

    Returns:
        The columns strategy; after: the experience learned last, or "base"; step: examples seen by
        then; experience: the one tested; mean, low, high: over seeds, 0 to 1; seeds.

    Raises:
        DataError: the records are incomplete.
    """
    table = metrics.accuracy_matrices(records, info.boundaries)
    found = set(table.index.get_level_values("strategy"))
    size = len(info.experiences)
    blocks = []
    for strategy in info.strategies:
        if strategy.name not in found:
            continue
        values = table.loc[strategy.name].to_numpy()
        block = pd.DataFrame(stats.mean_interval(values)._asdict())
        block.insert(0, "strategy", strategy.name)
        block.insert(1, "after", np.repeat(["base", *info.experiences], size))
        block.insert(2, "step", np.repeat([0, *info.boundaries], size))
        block.insert(3, "experience", np.tile(info.experiences, size + 1))
        block["seeds"] = len(values)
        blocks.append(block)
    return pd.concat(blocks, ignore_index=True)


@dataclass(frozen=True)
class Leaders:
    """The best strategies by one metric.

    Attributes:
        names: the one with the best mean, and those that are not told from it; none of one alone.
        tested: whether any of the others could have been told from it, with that many seeds.
    """

    names: frozenset[str]
    tested: bool


def leaders(scalars: pd.DataFrame, info: RunInfo, metric: str) -> Leaders:
    """The best strategy by a metric, and those that the rule of the verdict does not tell from it.

    Each other one is compared with the best: Wilcoxon's signed-rank test, corrected after Holm over
    these comparisons, and the 95 % interval of the mean difference. One that has too few seeds for
    the test to reach 0.05 is not among the best unless its mean is the same. Joint training, which
    keeps every example, takes no part.

    Args:
        scalars: a row a cell, of the run's kind.
        info: the run.
        metric: a name in `metrics.SCALARS`, other than the half-life.
    """
    entered = tuple(strategy for strategy in info.strategies if strategy.name != UPPER_LINE)
    names = [strategy.name for strategy in entered]
    means = scalars[metric].groupby("strategy").mean().reindex(names).dropna()
    if len(means) < 2:
        return Leaders(frozenset(), False)
    best = str(means.idxmax() if info.reported.metrics[metric].higher_is_better else means.idxmin())
    equal = {str(name) for name in means.index[np.isclose(means, means[best], rtol=0, atol=1e-12)]}
    rows = differences(scalars, replace(info, strategies=entered), best, metric)
    family = int(rows["p"].notna().sum())
    testable = {
        str(name)
        for name, pairs in rows["pairs"].items()
        if pairs and stats.smallest_p(int(pairs), family) <= stats.ALPHA
    }
    told = {str(name) for name, row in rows.iterrows() if told_apart(row)}
    return Leaders(frozenset(equal | testable - told), bool(testable))


def told_apart(row: pd.Series) -> bool:
    """Whether a row of `differences` shows one: by the corrected test and the interval alike."""
    return bool(row["p_holm"] <= stats.ALPHA and (row["low"] > 0 or row["high"] < 0))


def summary_table(
    scalars: pd.DataFrame,
    records: pd.DataFrame,
    info: RunInfo,
    names: Iterable[str] | None = None,
) -> Table:
    """`summary` as a table; metrics that no strategy has are left out.

    The best of each column are bold (`leaders`).

    Args:
        scalars: a row a cell, of the run's kind.
        records: the records that they are of, for what is said in the notes.
        info: the run.
        names: metrics to show, out of those of the run's kind; all but `UNPRINTED` if None.
    """
    numbers = summary(scalars, info)
    known = info.reported.metrics
    asked = known if names is None else [name for name in names if name in known]
    shown = [
        known[name]
        for name in asked
        if name not in UNPRINTED and numbers[_main_column(name)].notna().any()
    ]
    longest = metrics.oldest_age(info.boundaries[-1])
    rows = [
        (str(row["label"]), *(_summary_text(row, metric, longest) for metric in shown))
        for _, row in numbers.iterrows()
    ]
    seeds = info.seeds_text({str(name): int(n) for name, n in numbers["seeds"].items()})
    spread = "mean ± 95 % interval (Student's t) over" if numbers["seeds"].max() > 1 else "from"
    best = {
        column: leaders(scalars, info, metric.name)
        for column, metric in enumerate(shown, start=1)
        if metric.name != HALF_LIFE
    }
    bold = {
        (line, column)
        for line, strategy in enumerate(info.strategies)
        for column, found in best.items()
        if strategy.name in found.names
    }
    notes = [
        *bold_notes(list(best.values()), info.strategies, int(numbers["seeds"].max())),
        *(_base_notes(records) if info.kind == "stream" else ()),
        *diverged_notes(records, info),
    ]
    if HALF_LIFE in {metric.name for metric in shown}:
        notes.insert(
            0,
            f"Half-life: median (range) over seeds; {longest}+: not reached at the ages up to "
            f"{longest}, to which at least a quarter of the stream's examples grow.",
        )
    notes += info.reported.notes(info)
    return Table(
        name="summary",
        caption=f"{info.title}, {info.regime}: {spread} {seeds}. "
        f"Chance is {percent(info.chance)} %.",
        header=("Strategy", *(_header(metric) for metric in shown)),
        rows=tuple(rows),
        notes=tuple(notes),
        wide=True,
        bold=frozenset(bold),
    )


def differences_table(
    numbers: pd.DataFrame,
    records: pd.DataFrame,
    info: RunInfo,
    focus: str,
    metric: str | None = None,
) -> Table:
    """`differences` as a table.

    Args:
        numbers: from `differences`, with this focus and metric.
        records: the records that they are of, for what is said in the notes.
        info: the run.
        focus: name of the strategy that the others are subtracted from.
        metric: a metric whose unit is percent; the score of the run's kind if None.
    """
    measured = info.reported.metrics[metric or info.reported.score]
    label = info.label(focus)
    family = int(numbers["p"].notna().sum())
    most = int(numbers["pairs"].max())
    pairs = {str(name): int(n) for name, n in numbers["pairs"].items()}
    seeds = info.seeds_text({focus: most, **pairs})
    rows = tuple(
        (
            str(row["label"]),
            interval(row["difference"], row["high"], sign=True),
            _p(row["p_holm"]),
            _share(row["probability_of_improvement"]),
            str(row["pairs"]),
        )
        for _, row in numbers.iterrows()
    )
    caption = (
        f"{info.title}, {info.regime}: {measured.label.lower()} of {label} less that of "
        f"each other strategy, in percentage points, paired by seed: mean ± 95 % interval "
        f"(Student's t) over {seeds}; p of Wilcoxon's signed-rank test, two-sided, after Holm's "
        f"correction over {family} comparison{'' if family == 1 else 's'}; share of seeds on which "
        f"{label} is better, ties counting half."
    )
    return Table(
        name="differences",
        caption=caption,
        header=(f"{label} less …", "Difference (points)", "p", "Better", "Seeds"),
        rows=rows,
        notes=(*_power_notes(most, family), *diverged_notes(records, info)),
    )


def to_markdown(table: Table) -> str:
    """The table in Markdown: caption, table, notes."""
    rule = ["---", *("---:" for _ in table.header[1:])]
    rows = _marked(table, _one_line, "**{}**")
    header = [_one_line(text) for text in table.header]
    lines = [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]
    return "\n\n".join([table.caption, "\n".join(lines), *table.notes]) + "\n"


def to_latex(table: Table) -> str:
    """The table in LaTeX, which needs the package booktabs and nothing else."""
    environment = "table*" if table.wide else "table"
    header = [_stacked(text) for text in table.header]
    lines = [
        "% needs \\usepackage{booktabs}",
        f"\\begin{{{environment}}}[t]",
        "\\centering",
        "\\footnotesize",
        "\\setlength{\\tabcolsep}{3pt}",
        f"\\caption{{{escaped(' '.join([table.caption, *table.notes]))}}}",
        f"\\label{{tab:{table.name}}}",
        f"\\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        "\\toprule",
        " & ".join(header) + " \\\\",
        "\\midrule",
        *(" & ".join(row) + " \\\\" for row in _marked(table, escaped, "\\textbf{{{}}}")),
        "\\bottomrule",
        "\\end{tabular}",
        f"\\end{{{environment}}}",
    ]
    return "\n".join(lines) + "\n"


def to_html(table: Table) -> str:
    """The table in HTML, to be put into a page."""
    return render("table.html", table=table)


def _marked(table: Table, escape: Callable[[str], str], bold: str) -> list[list[str]]:
    """The rows escaped for a format, with its mark around what is bold."""
    return [
        [
            bold.format(escape(text)) if (line, column) in table.bold else escape(text)
            for column, text in enumerate(row)
        ]
        for line, row in enumerate(table.rows)
    ]


def _main_column(name: str) -> str:
    return f"{name}_median" if name == HALF_LIFE else f"{name}_mean"


def _header(metric: Metric) -> str:
    return f"{metric.label} ({metric.unit}) {'↑' if metric.higher_is_better else '↓'}"


def _summary_text(row: pd.Series, metric: Metric, longest: int) -> str:
    middle = row[_main_column(metric.name)]
    if np.isnan(middle):
        return NOTHING
    if metric.name == HALF_LIFE:
        text = _age(middle, longest)
        low, high = row[f"{metric.name}_min"], row[f"{metric.name}_max"]
        return text if low == high else f"{text} ({_age(low, longest)}–{_age(high, longest)})"
    high = row[f"{metric.name}_high"]
    if metric.unit == "%":
        return interval(middle, high)
    return three_figures(middle, high)


def three_figures(mean: float, high: float) -> str:
    """A mean of no particular unit, and half of its interval's width to as many decimals.

    The mean has three significant figures, or all of its whole part; a loss may be infinite.
    """
    if np.isinf(mean):
        return "∞"
    size = math.floor(math.log10(abs(mean))) if mean else 0
    decimals = max(0, 2 - size)
    text = f"{mean:.{decimals}f}"
    return text if np.isnan(high) else f"{text} ± {high - mean:.{decimals}f}"


def interval(mean: float, high: float, sign: bool = False) -> str:
    """The mean with half of its interval's width, where it has one."""
    text = percent(mean, sign)
    return text if np.isnan(high) else f"{text} ± {percent(high - mean)}"


def percent(share: float, sign: bool = False) -> str:
    """A share as a number of percent with one decimal; a dash for NaN."""
    if np.isnan(share):
        return NOTHING
    text = f"{100 * share:+.1f}" if sign else f"{100 * share:.1f}"
    if float(text) == 0:
        text = "0.0"
    return text.replace("-", "−")


def _age(age: float, longest: int) -> str:
    return f"{longest}+" if np.isinf(age) else f"{age:.0f}"


def _p(value: float) -> str:
    if np.isnan(value):
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_equation(value: float) -> str:
    """A p value within a sentence, such as "p = 0.023" or "p < 0.001"."""
    return f"p {_p(value)}" if value < 0.001 else f"p = {_p(value)}"


def _share(value: float) -> str:
    return NOTHING if np.isnan(value) else f"{value:.2f}"


def _base_notes(records: pd.DataFrame) -> list[str]:
    """Where every strategy starts from: step 0, which is the same for all runs of a seed."""
    parts = []
    for metric, where in (("accuracy", "the test set"), ("source_accuracy", "the source task")):
        table = metrics.curves(records, metric)
        if 0 in table:
            per_seed = table[0].groupby(level="seed").mean()
            parts.append(f"{percent(per_seed.mean())} % on {where}")
    return [f"The base, before the stream: {', '.join(parts)}."] if parts else []


def diverged_notes(records: pd.DataFrame, info: RunInfo) -> list[str]:
    """Which runs broke, and how they count."""
    steps = metrics.diverged(records)
    cells = records[["strategy", "seed"]].drop_duplicates()
    runs = Counter(cells["strategy"])
    notes = []
    for strategy in info.strategies:
        broken = steps[steps.index.get_level_values("strategy") == strategy.name]
        if len(broken):
            seeds = broken.index.get_level_values("seed")
            where = ", ".join(
                f"seed {s} after step {t}" for s, t in zip(seeds, broken, strict=True)
            )
            notes.append(
                f"{strategy.label} diverged in {len(broken)} of {runs[strategy.name]} runs "
                f"({where}); all predictions of these from there on count as wrong."
            )
    return notes


def bold_notes(
    best: Sequence[Leaders], strategies: Sequence[StrategyInfo], seeds: int
) -> list[str]:
    """What is bold: a sentence, or none where nothing is.

    Args:
        best: the leaders of each column.
        strategies: those of the table.
        seeds: how many there are at most.
    """
    if not any(found.names for found in best):
        return []
    text = "Bold: the best mean"
    if any(found.tested for found in best):
        text += (
            ", and those not told from it (signed-rank test after Holm's correction, p > "
            f"{stats.ALPHA}, or a 95 % interval of the difference that holds 0)"
        )
        if not all(found.tested for found in best if found.names):
            text += "; where there are too few seeds for the test, the best alone"
    else:
        text += f"; {seeds} seed{'' if seeds == 1 else 's'} cannot tell the others from it"
    for strategy in strategies:
        if strategy.name == UPPER_LINE:
            text += f"; {strategy.label}, which keeps every example, takes no part"
    return [f"{text}."]


def _power_notes(pairs: int, family: int) -> list[str]:
    """Said where the test can't be significant, whatever the outcome."""
    if family == 0 or stats.smallest_p(pairs, family) <= stats.ALPHA:
        return []
    smallest = f"{stats.smallest_p(pairs):.3g}"
    if family > 1:
        smallest += f", {stats.smallest_p(pairs, family):.3g} after the correction"
    return [
        f"The smallest p that {pairs} seed{'' if pairs == 1 else 's'} can give is {smallest}: "
        f"the test cannot reach {stats.ALPHA}, whatever the difference."
    ]


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _stacked(header: str) -> str:
    """A column's name in lines of its own, so that the column stays as narrow as its numbers."""
    together = header.replace(" ↑", "\N{NO-BREAK SPACE}↑").replace(" ↓", "\N{NO-BREAK SPACE}↓")
    lines = [
        escaped(line)
        for line in textwrap.wrap(together, 11, break_long_words=False, break_on_hyphens=False)
    ]
    return lines[0] if len(lines) == 1 else "\\shortstack[r]{" + " \\\\ ".join(lines) + "}"
