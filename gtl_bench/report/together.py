"""One report of several runs: a figure, a table and a page for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gtl_bench.report import tables
from gtl_bench.report.benchmarks import benchmarks
from gtl_bench.report.info import DEFAULT_FOCUS, PRINT
from gtl_bench.report.page import page, plot
from gtl_bench.report.provenance import provenance
from gtl_bench.report.run import Options, stand_in_warnings
from gtl_bench.report.several import Comparison, compare, measured, summary, summary_table
from gtl_bench.report.sheet import save
from gtl_bench.report.tables import Table
from gtl_bench.report.verdict import Verdict, judge, to_text
from gtl_bench.report.writing import Writer, replace_file, write_csv, write_text
from gtl_bench.store import RunFolder


def report_runs(
    folders: Sequence[RunFolder], out: Path, options: Options
) -> tuple[list[Verdict], Table]:
    """Write one report of several runs.

    Args:
        folders: where the runs are.
        out: where the report goes.
        options: what it is to look like.

    Returns:
        The verdicts of the runs in which the focus can be judged, and the summary table.

    Raises:
        UsageError: if there is no run in one of the folders, the focus asked for is in none of
            them, or the report can't be written.
        RunError: if none of a run's cells is finished.
    """
    compared = compare(folders)
    verdicts = _verdicts(compared, options.focus)
    for name, write in _files(compared, verdicts, options):
        replace_file(out / name, write)
    return verdicts, summary_table(compared)


def _verdicts(compared: Comparison, focus: str | None) -> list[Verdict]:
    """The focus judged in each run that has it, and something beside it."""
    name = focus or DEFAULT_FOCUS
    runs = {title: run for title, run in compared.runs.items() if run.info.comparable(name)}
    if focus and not runs:
        runs = dict(list(compared.runs.items())[:1])  # which says what there is to choose from
    verdicts = []
    for title, run in runs.items():
        judged = judge(run.scalars, run.records, run.info, name)
        verdicts.append(replace(judged, headline=f"{title}: {judged.headline}"))
    return verdicts


def _files(
    compared: Comparison, verdicts: Sequence[Verdict], options: Options
) -> Iterator[tuple[str, Writer]]:
    """The name of each file, and what writes it."""
    table = summary_table(compared)
    yield "tables/benchmarks.csv", partial(write_csv, summary(compared))
    yield "tables/benchmarks.md", partial(write_text, tables.to_markdown(table))
    yield "tables/benchmarks.tex", partial(write_text, tables.to_latex(table))
    yield "tables/benchmarks.html", partial(write_text, tables.to_html(table))
    if verdicts:
        text = "\n".join(map(to_text, verdicts))
        yield "tables/verdict.md", partial(write_text, text)
    figure = benchmarks(compared, options.layout)
    for file_format in options.formats:
        write = partial(save, figure, file_format=file_format)
        yield f"figures/benchmarks.{file_format}", write
    yield "index.html", partial(write_text, _page(compared, verdicts, table, options.focus))


def _page(
    compared: Comparison, verdicts: Sequence[Verdict], table: Table, focus: str | None
) -> str:
    runs = compared.runs
    plots = [
        plot(
            benchmarks(compared, PRINT),
            "benchmarks",
            f"{measured(compared)} on each benchmark, and mean ranks over them.",
            "Score",
        )
    ]
    shown = [table]
    for number, (title, run) in enumerate(runs.items(), start=1):
        draw, *_ = run.info.reported.figures(run.info)
        caption, x = run.info.reported.plots[draw.__name__]
        figure = draw(run.records, run.info)
        plots.append(plot(figure, f"{draw.__name__}-{number}", f"{title}: {caption}", x))
        whole = tables.summary_table(run.scalars, run.records, run.info)
        shown.append(replace(whole, name=f"summary-{number}"))
    return page(
        ", ".join(runs),
        f"{len(runs)} runs",
        warnings=stand_in_warnings([run.manifest for run in runs.values()]),
        verdicts=verdicts,
        no_verdict=f"There is none: {focus or DEFAULT_FOCUS} is in none of these runs, or alone.",
        plots=plots,
        shown=shown,
        runs=[
            provenance(run.manifest, f"-{number}")
            for number, run in enumerate(runs.values(), start=1)
        ],
    )
