"""The report of a run's folder: from its records and manifest to figures and tables in it."""

from __future__ import annotations

from gtl_bench import metrics
from gtl_bench.errors import RunError
from gtl_bench.report import RunInfo, StrategyInfo, tables, write_report
from gtl_bench.store import RunFolder

#: The metrics of the short table on the terminal.
SHORT = ("final_accuracy", "learning_accuracy", "forgetting", "source_accuracy_kept")


def report_run(folder: RunFolder) -> tables.Table:
    """Write a run's figures and tables into its folder.

    Returns:
        The short table for the terminal.

    Raises:
        UsageError: if there is no run in the folder, or it can't be written to.
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
    write_report(records, info, folder.path)
    numbers = tables.summary(metrics.scalars(records, info.boundaries), info)
    names = [name for name in SHORT if name in metrics.SCALARS]
    return tables.summary_table(numbers, records, info, names)
