"""Where a run's numbers come from, out of its manifest, for the page of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gtl_bench.report.tables import NOTHING, Table


@dataclass(frozen=True)
class Provenance:
    """Where a run comes from.

    Attributes:
        title: the benchmark.
        command: what makes the run again.
        facts: heading -> name -> value.
        tables: what failed, hyperparameters, and times.
    """

    title: str
    command: str
    facts: Mapping[str, Mapping[str, object]]
    tables: Sequence[Table]


def provenance(manifest: Mapping[str, Any], suffix: str = "") -> Provenance:
    """Where a run comes from.

    Args:
        manifest: from the run's folder.
        suffix: of the names of its tables, where several runs are on one page.
    """
    made = {
        "Benchmark": manifest["benchmark"],
        "Regime": manifest["regime"],
        "Seeds": manifest["seeds"],
        "Device": manifest["device"],
        "Processor": manifest.get("processor"),
        "Platform": manifest["platform"],
        "Git commit": manifest.get("commit"),
        "Written": manifest["written"],
    }
    return Provenance(
        title=manifest["title"],
        command=manifest["command"],
        facts={
            "Run": {name: value for name, value in made.items() if value is not None},
            "Benchmark settings": manifest["benchmark_settings"],
            "Versions": {"python": manifest["python"], **manifest["versions"]},
            "Data, SHA-256": manifest["data"],
        },
        tables=(
            *_failures(manifest, suffix),
            _settings(manifest, suffix),
            _times(manifest, suffix),
        ),
    )


def _failures(manifest: Mapping[str, Any], suffix: str) -> list[Table]:
    """Cells that failed, where there are any: a row for each strategy and reason."""
    labels = {entry["name"]: entry["label"] for entry in manifest["strategies"]}
    seeds: dict[tuple[str, str], list[str]] = {}
    for cell in manifest["cells"]:
        if cell.get("error"):
            row = seeds.setdefault((labels[cell["strategy"]], cell["error"]), [])
            row.append(str(cell["seed"]))
    if not seeds:
        return []
    return [
        Table(
            name=f"failures{suffix}",
            caption="Cells that failed: they are in no table and no figure.",
            header=("Strategy", "Seeds", "Why"),
            rows=tuple((label, ", ".join(row), why) for (label, why), row in seeds.items()),
            notes=(),
        )
    ]


def _settings(manifest: Mapping[str, Any], suffix: str) -> Table:
    """Hyperparameters: a row a strategy, a column each that any of them has."""
    strategies = manifest["strategies"]
    keys = list(dict.fromkeys(key for entry in strategies for key in entry["settings"]))
    return Table(
        name=f"settings{suffix}",
        caption=f"Hyperparameters ({manifest['regime']}).",
        header=("Strategy", *keys),
        rows=tuple(
            (entry["label"], *(str(entry["settings"].get(key, NOTHING)) for key in keys))
            for entry in strategies
        ),
        notes=(),
    )


def _times(manifest: Mapping[str, Any], suffix: str) -> Table:
    """Wall time of cells: a row a strategy."""
    rows = []
    for entry in manifest["strategies"]:
        cells = [cell for cell in manifest["cells"] if cell["strategy"] == entry["name"]]
        seconds = [cell["seconds"] for cell in cells if cell["seconds"] is not None]
        mean, most = (
            (f"{sum(seconds) / len(seconds):.1f}", f"{max(seconds):.1f}")
            if seconds
            else (NOTHING, NOTHING)
        )
        rows.append((entry["label"], f"{len(seconds)} of {len(cells)}", mean, most))
    return Table(
        name=f"times{suffix}",
        caption="Wall time of a cell: one strategy with one seed, its source phase included where "
        "no other cell had computed it.",
        header=("Strategy", "Cells timed", "Mean (s)", "Longest (s)"),
        rows=tuple(rows),
        notes=(),
    )
