"""A run's figures and tables, from its tidy records.

Importing this loads neither matplotlib nor scipy: that waits until a report is written.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from gtl_bench import metrics
from gtl_bench.errors import DataError, UsageError
from gtl_bench.report.info import PRINT, Layout, RunInfo, StrategyInfo

Writer = Callable[[Path], object]

__all__ = ["Layout", "RunInfo", "StrategyInfo", "write_report"]


def write_report(
    records: pd.DataFrame,
    info: RunInfo,
    out_dir: Path,
    *,
    formats: Sequence[str] = ("pdf", "png"),
    layout: Layout = PRINT,
    focus: str = "gtl",
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
    scalars = metrics.scalars(records, info.boundaries)
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
        for path in _replace(out_dir / name, write)
    ]


def _figures(
    records: pd.DataFrame, info: RunInfo, formats: Sequence[str], layout: Layout
) -> Iterator[tuple[str, Writer]]:
    """The name of each figure's file, and what writes it."""
    from gtl_bench.report import figures, style

    kinds = [figures.accuracy, figures.retention]
    if len(info.experiences) > 1:
        kinds += [figures.forgetting, figures.accuracy_matrix]
    for draw in kinds:
        figure = draw(records, info, layout)
        for file_format in formats:
            write = partial(style.save, figure, file_format=file_format)
            yield f"figures/{draw.__name__}.{file_format}", write


def _tables(
    records: pd.DataFrame, scalars: pd.DataFrame, info: RunInfo, focus: str
) -> Iterator[tuple[str, Writer]]:
    """The name of each table's file, and what writes it."""
    from gtl_bench.report import tables
    from gtl_bench.report.verdict import to_text, verdict

    yield "tables/cells.csv", partial(_write_csv, scalars)
    matrix = tables.accuracy_matrix(records, info).set_index("strategy")
    yield "tables/accuracy_matrix.csv", partial(_write_csv, matrix)
    summary = tables.summary(scalars, info)
    both = [(summary, tables.summary_table(scalars, records, info))]
    names = [strategy.name for strategy in info.strategies]
    if focus in names and len(names) > 1:
        judged = verdict(scalars, records, info, focus)
        yield "tables/verdict.md", partial(_write_text, to_text(judged))
        differences = tables.differences(scalars, info, focus)
        text = tables.differences_table(differences, records, info, focus)
        both.append((differences, text))
    for numbers, table in both:
        yield f"tables/{table.name}.csv", partial(_write_csv, numbers)
        yield f"tables/{table.name}.md", partial(_write_text, tables.to_markdown(table))
        yield f"tables/{table.name}.tex", partial(_write_text, tables.to_latex(table))
        yield f"tables/{table.name}.html", partial(_write_text, tables.to_html(table))


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, lineterminator="\n")


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _replace(path: Path, write: Writer) -> list[Path]:
    """Write a file beside its place and then move it there: it is never there by half.

    Returns:
        The file, and those that had to be written along with it (pgf keeps images apart).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
            write(Path(folder) / path.name)
            written = sorted(Path(folder).iterdir())
            for file in written:
                os.replace(file, path.parent / file.name)
    except OSError as error:
        raise UsageError(
            f"can't write {path} ({error.strerror or error}): name a folder that can be written"
        ) from None
    return [path.parent / file.name for file in written]
