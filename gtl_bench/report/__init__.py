"""A run's figures and tables, from its tidy records.

Importing this loads neither matplotlib nor scipy: that waits until a report is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from gtl_bench.errors import DataError
from gtl_bench.report.info import DEFAULT_FOCUS, PRINT, Layout, RunInfo, StrategyInfo
from gtl_bench.report.writing import Writer, replace_file, write_csv, write_text

__all__ = ["Layout", "RunInfo", "StrategyInfo", "write_report"]


def write_report(
    records: pd.DataFrame,
    info: RunInfo,
    out_dir: Path,
    *,
    formats: Sequence[str] = ("pdf", "png"),
    layout: Layout = PRINT,
    focus: str = DEFAULT_FOCUS,
) -> list[Path]:
    """Write a run's figures into `out_dir/figures` and its tables into `out_dir/tables`.

    A file that is there is replaced whole or not at all. The same records give the same bytes. The
    forgetting curves and the accuracy matrix are drawn where there are several experiences.

    Args:
        records: tidy records of one benchmark, with the columns of `metrics.RECORD_COLUMNS`.
        info: the run that they are of.
        out_dir: made if it is not there.
        formats: of the figures.
        layout: of the figures: how wide, and for what.
        focus: the strategy that is judged and that the others are compared with; without it in
            the run, or nothing beside it, verdict and differences are left out.

    Returns:
        The files written.

    Raises:
        DataError: the records are empty, incomplete, or not of this run.
        UsageError: the folder can't be written to.
    """
    scalars = info.reported.scalars(records, info)
    unknown = set(scalars.index.get_level_values("strategy")) - {s.name for s in info.strategies}
    if unknown:
        raise DataError(
            f"the records hold the strategy {min(unknown)!r}, which is not of this run: "
            f"remove its records, or report the run that it belongs to"
        )
    return [
        path
        for name, write in (
            *_tables(records, scalars, info, focus),
            *_figures(records, info, formats, layout),
        )
        for path in replace_file(out_dir / name, write)
    ]


def _figures(
    records: pd.DataFrame, info: RunInfo, formats: Sequence[str], layout: Layout
) -> Iterator[tuple[str, Writer]]:
    """The name of each figure's file, and what writes it."""
    from gtl_bench.report.sheet import save

    for draw in info.reported.figures(info):
        figure = draw(records, info, layout)
        for file_format in formats:
            write = partial(save, figure, file_format=file_format)
            yield f"figures/{draw.__name__}.{file_format}", write


def _tables(
    records: pd.DataFrame, scalars: pd.DataFrame, info: RunInfo, focus: str
) -> Iterator[tuple[str, Writer]]:
    """The name of each table's file, and what writes it."""
    from gtl_bench.report import tables
    from gtl_bench.report.verdict import judge, to_text

    yield "tables/cells.csv", partial(write_csv, scalars)
    if info.kind == "stream":
        matrix = tables.accuracy_matrix(records, info).set_index("strategy")
        yield "tables/accuracy_matrix.csv", partial(write_csv, matrix)
    if info.comparable(focus):
        text = to_text(judge(scalars, records, info, focus))
        yield "tables/verdict.md", partial(write_text, text)
    for numbers, table in tables.of_run(scalars, records, info, focus):
        yield f"tables/{table.name}.csv", partial(write_csv, numbers)
        yield f"tables/{table.name}.md", partial(write_text, tables.to_markdown(table))
        yield f"tables/{table.name}.tex", partial(write_text, tables.to_latex(table))
        yield f"tables/{table.name}.html", partial(write_text, tables.to_html(table))
