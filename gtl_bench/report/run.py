"""The report of a run's folder: from records and manifest to figures, tables and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from gtl_bench.errors import RunError, UsageError
from gtl_bench.report import tables, write_report
from gtl_bench.report.info import DEFAULT_FOCUS, FORMATS, PRINT, Layout, RunInfo, StrategyInfo
from gtl_bench.report.page import page, plot
from gtl_bench.report.provenance import provenance
from gtl_bench.report.tables import Table
from gtl_bench.report.verdict import Verdict, judge
from gtl_bench.report.writing import replace_file, write_text
from gtl_bench.store import RunFolder

#: The metrics of a stream's short table on the terminal.
SHORT = ("final_accuracy", "learning_accuracy", "forgetting", "source_accuracy_kept")


@dataclass(frozen=True)
class Run:
    """A run as it was left on the disk.

    Attributes:
        manifest: what its folder says of it.
        info: what a report says of it.
        records: tidy records, with the columns of `metrics.RECORD_COLUMNS`.
        scalars: a row a cell, of its kind's metrics.
    """

    manifest: Mapping[str, Any]
    info: RunInfo
    records: pd.DataFrame
    scalars: pd.DataFrame


def load_run(folder: RunFolder) -> Run:
    """The run in a folder.

    Raises:
        UsageError: if there is no run in the folder.
        RunError: if none of its cells is finished.
    """
    manifest = folder.manifest()
    records = folder.load()
    if not manifest["boundaries"]:
        raise RunError(f"{folder.manifest_path} is incomplete; repeat the run's command.")
    info = RunInfo(
        title=manifest["title"],
        experiences=tuple(manifest["experiences"]),
        boundaries=tuple(manifest["boundaries"]),
        strategies=tuple(
            StrategyInfo(entry["name"], entry["label"], entry["control"])
            for entry in manifest["strategies"]
        ),
        seeds=manifest["seeds"],
        chance=manifest["chance"],
        regime=manifest["regime"],
        each_tuned=manifest["each_tuned"],
        kind=manifest.get("kind", "stream"),
        more=manifest.get("more", {}),
    )
    return Run(manifest, info, records, info.reported.scalars(records, info))


def judge_run(folder: RunFolder, focus: str = DEFAULT_FOCUS) -> Verdict:
    """What a run shows of one strategy.

    Raises:
        UsageError: if there is no run in the folder, or the focus is not in it.
        RunError: if none of its cells is finished.
    """
    run = load_run(folder)
    return judge(run.scalars, run.records, run.info, focus)


@dataclass(frozen=True)
class Options:
    """What a report is to look like.

    Attributes:
        formats: of the figures, out of `info.FORMATS`.
        layout: how wide the figures are, and for what.
        focus: the strategy that is judged; if None, gtl where it is in the run.
    """

    formats: tuple[str, ...] = ("pdf", "png")
    layout: Layout = PRINT
    focus: str | None = None

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in FORMATS:
                raise UsageError(f"--format {name}: choose from {', '.join(FORMATS)}.")


DEFAULTS = Options()


def report_run(
    folder: RunFolder, out: Path | None = None, options: Options = DEFAULTS
) -> tuple[Verdict | None, Table]:
    """Write a run's figures and tables, and the page that shows them.

    Args:
        folder: where the run is.
        out: where the report goes; into the run's own folder if None, the page in a folder
            `report` of it.
        options: what it is to look like.

    Returns:
        The verdict, where there is one, and the short table for the terminal.

    Raises:
        UsageError: if there is no run in the folder, the focus asked for is not in it, or the
            report can't be written.
        RunError: if none of its cells is finished.
    """
    run = load_run(folder)
    page_folder = out or folder.path / "report"
    out = out or folder.path
    focus = options.focus or DEFAULT_FOCUS
    judged = None
    if options.focus or run.info.comparable(focus):
        judged = judge(run.scalars, run.records, run.info, focus)
    write_report(
        run.records, run.info, out, formats=options.formats, layout=options.layout, focus=focus
    )
    page = partial(write_text, page_of_run(run, judged, focus))
    replace_file(page_folder / "index.html", page)
    short = SHORT if run.info.kind == "stream" else None
    return judged, tables.summary_table(run.scalars, run.records, run.info, short)


def page_of_run(run: Run, judged: Verdict | None, focus: str) -> str:
    """The page of a single run."""
    shown = tables.of_run(run.scalars, run.records, run.info, focus)
    reported = run.info.reported
    plots = [
        plot(draw(run.records, run.info), draw.__name__, *reported.plots[draw.__name__])
        for draw in reported.figures(run.info)
    ]
    return page(
        run.info.title,
        f"{run.info.regime}; {run.info.seeds} seeds; written {run.manifest['written'][:10]}",
        warnings=stand_in_warnings([run.manifest]),
        verdicts=[judged] if judged else [],
        no_verdict=f"There is none: {focus} is not in this run, or stands alone. "
        "`python -m gtl_bench report RUN_DIR --focus NAME` judges another strategy.",
        plots=plots,
        shown=[table for _, table in shown],
        runs=[provenance(run.manifest)],
    )


def stand_in_warnings(manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is to be said of runs that are not of the benchmark asked for."""
    return [
        f"This is not {manifest['requested']}: its data could not be had, and its stand-in "
        f"{manifest['benchmark']} ran in its place, with other images and other numbers. "
        f"{manifest['stand_in_reason']}"
        for manifest in manifests
        if manifest["stand_in_reason"]
    ]
