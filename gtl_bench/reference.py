"""The project's own study: which runs it is made of, and which of them are reported together.

`python -m gtl_bench reference` makes it, in `results/reference`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from gtl_bench.errors import UsageError
from gtl_bench.plan import DEFAULT_STRATEGIES, Request

SEEDS = 20

#: What is compared on streams: methods, baselines, controls and the upper line.
STRATEGIES = (
    *DEFAULT_STRATEGIES,
    *("gtl-masked", "l2-anchor", "lwf", "mas", "replay", "slda", "ncm"),
    *("first-layer", "last-layer", "frozen", "joint"),
    *("gtl-scalar", "gtl-shuffled", "gtl-inverted", "gtl-masked-scalar", "gtl-masked-shuffled"),
)

#: The learning rate of all strategies in the regime in which they share one.
MATCHED = ("lr=0.01",)


@dataclass(frozen=True)
class Row:
    """A run of the study; the arguments of `run`, and where it goes.

    Attributes:
        folder: in the study's folder.
        benchmark: a benchmark's name.
        strategies: names; the benchmark's own if empty.
        settings: texts OWNER.KEY=VALUE.
        matched: texts KEY=VALUE.
        seeds: how many.
        together: it is part of the report of all runs of its regime.
    """

    folder: str
    benchmark: str
    strategies: tuple[str, ...] = STRATEGIES
    settings: tuple[str, ...] = ()
    matched: tuple[str, ...] = ()
    seeds: int = SEEDS
    together: bool = True

    def request(self) -> Request:
        """What it asks for, on real data alone."""
        return Request(
            self.benchmark,
            self.strategies,
            self.seeds,
            self.settings,
            matched=self.matched,
            require_data=True,
        )


#: What is compared there: the methods, and what a common rate may be mistaken for.
MATCHED_STRATEGIES = (
    *DEFAULT_STRATEGIES,
    *("gtl-masked", "first-layer", "frozen", "gtl-scalar", "gtl-shuffled", "gtl-inverted"),
)

#: Split MNIST as the literature runs it.
CLASSICAL = ("naive", "ewc", "si", "lwf", "joint", "frozen")


def _both(benchmark: str) -> tuple[Row, Row]:
    """A stream with each strategy at values of its own, and all at one learning rate."""
    return (
        Row(benchmark, benchmark),
        Row(f"{benchmark}-matched", benchmark, MATCHED_STRATEGIES, matched=MATCHED),
    )


def _experiment(benchmark: str, seeds: int = 8) -> Row:
    """An experiment beyond the stream: its own strategies, at the values that it is given.

    Its seeds are as many as the signed-rank test needs to tell GTL from each of the others.
    """
    return Row(benchmark, benchmark, (), seeds=seeds, together=False)


def _classical(scenario: str, seeds: int) -> Row:
    """The classical table, a scenario of it."""
    return Row(
        f"split-mnist-batch-{scenario}",
        "split-mnist-batch",
        # To GTL, scouting after each pair, the scenario with its published values is enough.
        () if scenario == "task" else CLASSICAL,
        (f"benchmark.scenario={scenario}",),
        seeds=seeds,
        together=False,
    )


#: The study. `main-job` is the run that the README begins with.
STUDY: tuple[Row, ...] = (
    Row("main-job", "split-mnist", (*DEFAULT_STRATEGIES, "frozen"), together=False),
    *_both("split-mnist"),
    *_both("stream-mnist"),
    *_both("split-digits"),
    _experiment("xor"),
    _experiment("binary-patterns"),
    _experiment("oneshot-digits"),
    _experiment("oneshot-omniglot"),
    _experiment("stream-omniglot"),
    _experiment("transfer-matrix", seeds=9),
    _classical("task", seeds=3),
    _classical("domain", seeds=1),
    _classical("class", seeds=1),
)


def choose(folder: str | None) -> tuple[Row, ...]:
    """The row that goes into a folder, or all.

    Raises:
        UsageError: if no row goes there.
    """
    chosen = tuple(row for row in STUDY if folder in (None, row.folder))
    if not chosen:
        known = [row.folder for row in STUDY]
        near = difflib.get_close_matches(folder or "", known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(known)}."
        raise UsageError(f"--only {folder}: the study has no such folder; {hint}")
    return chosen


def together(out: Path) -> dict[Path, list[Path]]:
    """Folder of a report -> folders of the runs in it: one of each regime."""
    reports: dict[Path, list[Path]] = {}
    for row in STUDY:
        if row.together:
            report = out / ("report-matched" if row.matched else "report-tuned")
            reports.setdefault(report, []).append(out / row.folder)
    return reports


def command(request: Request, out: Path) -> list[str]:
    """The command that makes a run again: the words of `python -m gtl_bench run …`."""
    words = ["python", "-m", "gtl_bench", "run", request.benchmark]
    if request.strategies:
        words += ["--strategies", ",".join(request.strategies)]
    words += ["--seeds", str(request.seeds)]
    words += [word for text in request.settings for word in ("--set", text)]
    words += [word for text in request.matched for word in ("--matched", text)]
    return [*words, "--require-data", "--out", str(out)]
