"""Several runs in one report: the score on each benchmark, and ranks over all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gtl_bench import stats
from gtl_bench.report import tables
from gtl_bench.report.info import StrategyInfo
from gtl_bench.report.run import Run, load_run
from gtl_bench.report.tables import NOTHING, UPPER_LINE, Table
from gtl_bench.store import RunFolder


@dataclass(frozen=True)
class Ranks:
    """Strategies ranked over benchmarks by mean score; 1 is the best.

    Attributes:
        mean: strategy -> mean rank, of those that every run has.
        benchmarks: how many they are over.
        critical: the difference from which on the Nemenyi test tells two mean ranks apart.
    """

    mean: dict[str, float]
    benchmarks: int
    critical: float


@dataclass(frozen=True)
class Comparison:
    """Several runs side by side.

    Attributes:
        runs: title -> run; titles differ.
        strategies: all that any of them has, in the order in which they first appear.
        ranks: None where there is nothing to rank, or the runs are not of different benchmarks.
    """

    runs: dict[str, Run]
    strategies: tuple[StrategyInfo, ...]
    ranks: Ranks | None


def compare(folders: Sequence[RunFolder]) -> Comparison:
    """Load runs and rank their strategies.

    Joint training, which keeps every example, is not ranked.

    Raises:
        UsageError: if there is no run in one of the folders.
        RunError: if none of a run's cells is finished.
    """
    loaded = [load_run(folder) for folder in folders]
    runs = dict(zip(_titles(loaded, folders), loaded))
    known: dict[str, StrategyInfo] = {}
    for run in loaded:
        for strategy in run.info.strategies:
            known.setdefault(strategy.name, strategy)
    return Comparison(runs, tuple(known.values()), _ranks(loaded, list(known)))


def _titles(runs: Sequence[Run], folders: Sequence[RunFolder]) -> list[str]:
    """The runs' benchmarks; with regime, and folder, where these alone tell them apart."""
    names = [run.info.title for run in runs]
    if len(set(names)) < len(names):
        names = [f"{run.info.title}, {run.info.regime}" for run in runs]
    if len(set(names)) < len(names):
        names = [f"{name} ({folder.path})" for name, folder in zip(names, folders)]
    return names


def _ranks(runs: Sequence[Run], names: Sequence[str]) -> Ranks | None:
    scores = [run.scalars[run.info.reported.score] for run in runs]
    means = pd.DataFrame([score.groupby("strategy").mean() for score in scores])
    shared = [name for name in names if name in means and means[name].notna().all()]
    ranked = [name for name in shared if name != UPPER_LINE]
    different = len({run.info.title for run in runs}) == len(runs)
    if len(ranked) < 2 or len(runs) < 2 or not different:
        return None
    mean = stats.mean_ranks(means[ranked].to_numpy(dtype=np.float64))
    critical = stats.critical_difference(len(ranked), len(runs))
    return Ranks(dict(zip(ranked, mean.tolist())), len(runs), critical)


def summary(compared: Comparison) -> pd.DataFrame:
    """`tables.summary` of every run, indexed by (run, strategy), and the strategies' mean ranks."""
    parts = {title: tables.summary(run.scalars, run.info) for title, run in compared.runs.items()}
    whole = pd.concat(parts, names=["run"])
    ranks = compared.ranks.mean if compared.ranks else {}
    names = whole.index.get_level_values("strategy")
    return whole.assign(mean_rank=[ranks.get(name, np.nan) for name in names])


def summary_table(compared: Comparison) -> Table:
    """Strategies × benchmarks: the score, and the mean rank over them."""
    runs, ranks = compared.runs, compared.ranks
    best = [tables.leaders(run.scalars, run.info, run.info.reported.score) for run in runs.values()]
    rows, bold = [], set()
    for line, strategy in enumerate(compared.strategies):
        texts = [strategy.label]
        for column, (run, leading) in enumerate(zip(runs.values(), best), start=1):
            texts.append(_final(finals(run, strategy.name)))
            if strategy.name in leading.names:
                bold.add((line, column))
        if ranks:
            rank = ranks.mean.get(strategy.name)
            texts.append(NOTHING if rank is None else f"{rank:.2f}")
        rows.append(tuple(texts))
    seeds = "; ".join(
        f"{title}: {run.info.regime}, {run.info.seeds_text(_counts(run))}"
        for title, run in runs.items()
    )
    diverged = [
        f"{title}: {note}"
        for title, run in runs.items()
        for note in tables.diverged_notes(run.records, run.info)
    ]
    most = max(run.info.seeds for run in runs.values())
    bold_notes = tables.bold_notes(best, compared.strategies, most)
    return Table(
        name="benchmarks",
        caption=f"{measured(compared)} in percent, mean ± 95 % interval (Student's t) over seeds. "
        f"{seeds}.",
        header=("Strategy", *runs, *(["Mean rank ↓"] if ranks else [])),
        rows=tuple(rows),
        notes=(*bold_notes, _rank_note(compared), *diverged),
        wide=True,
        bold=frozenset(bold),
    )


def measured(compared: Comparison) -> str:
    """What the runs' scores are: one name where they have one, or a list of them by run."""
    labels = {
        title: run.info.reported.metrics[run.info.reported.score].label
        for title, run in compared.runs.items()
    }
    if len(set(labels.values())) == 1:
        return next(iter(labels.values()))
    return "Score (" + ", ".join(f"{t}: {text.lower()}" for t, text in labels.items()) + ")"


def _counts(run: Run) -> Counter[str]:
    return Counter(run.scalars.index.get_level_values("strategy"))


def finals(run: Run, name: str) -> stats.Array:
    """A strategy's scores in a run, (seeds,), 0 to 1; empty where it is not in it."""
    final = run.scalars[run.info.reported.score]
    return final[final.index.get_level_values("strategy") == name].to_numpy()


def _final(values: stats.Array) -> str:
    if not len(values):
        return NOTHING
    mean, _, high = map(float, stats.mean_interval(values))
    return tables.interval(mean, high)


def _rank_note(compared: Comparison) -> str:
    ranks = compared.ranks
    if ranks is None:
        return (
            "No mean ranks: they need at least two runs of different benchmarks, and two "
            "strategies that all of them have."
        )
    text = (
        f"Mean rank of {len(ranks.mean)} strategies over {ranks.benchmarks} benchmarks, 1 is best. "
        f"Critical difference {ranks.critical:.2f}: mean ranks nearer than that are not told apart "
        "(Nemenyi test at 0.05; Demšar 2006)."
    )
    if ranks.benchmarks > 1:
        text += (
            " The test takes the benchmarks for independent, which those of the same images are "
            "not: they count for more than they are."
        )
    if ranks.critical > len(ranks.mean) - 1:
        text += (
            " With so few benchmarks no two mean ranks can lie that far apart: nothing is told "
            "apart, whatever the ranks."
        )
    return text
