"""The report of a run's folder: from its records and manifest to figures and tables in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gtl_bench import metrics
from gtl_bench.errors import RunError
from gtl_bench.report import RunInfo, StrategyInfo, tables, write_report
from gtl_bench.report.verdict import Verdict, verdict
from gtl_bench.store import RunFolder

#: The metrics of the short table on the terminal.
SHORT = ("final_accuracy", "learning_accuracy", "forgetting", "source_accuracy_kept")


@dataclass(frozen=True)
class Run:
    """A run as it was left on the disk.

    Attributes:
        manifest: what its folder says of it.
        info: what a report says of it.
        records: tidy records, with the columns of `metrics.RECORD_COLUMNS`.
        scalars: a row a cell, from `metrics.scalars`.
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
    )
    return Run(manifest, info, records, metrics.scalars(records, info.boundaries))


def judge(folder: RunFolder, focus: str) -> Verdict:
    """What a run shows of one strategy.

    Raises:
        UsageError: if there is no run in the folder, or the focus is not in it.
        RunError: if none of its cells is finished.
    """
    run = load_run(folder)
    return verdict(run.scalars, run.records, run.info, focus)


def report_run(folder: RunFolder) -> tables.Table:
    """Write a run's figures and tables into its folder.

    Returns:
        The short table for the terminal.

    Raises:
        UsageError: if there is no run in the folder, or it can't be written to.
        RunError: if none of its cells is finished.
    """
    run = load_run(folder)
    write_report(run.records, run.info, folder.path)
    return tables.summary_table(run.scalars, run.records, run.info, SHORT)
