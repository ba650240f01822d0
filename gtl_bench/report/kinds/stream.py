"""Streams of single examples: accuracy along the stream, forgetting, retention.

What the records hold is told in `gtl_bench.records`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

from gtl_bench import metrics
from gtl_bench.report.info import RunInfo
from gtl_bench.report.kinds import Kind

if TYPE_CHECKING:
    from gtl_bench.report.sheet import Sheet


def _scalars(records: pd.DataFrame, info: RunInfo) -> pd.DataFrame:
    return metrics.scalars(records, info.boundaries)


def _figures(info: RunInfo) -> list[Callable[..., Sheet]]:
    from gtl_bench.report import figures

    return figures.of_run(info)


def _notes(info: RunInfo) -> list[str]:
    if len(info.experiences) > 1:
        return []
    return ["With a single experience there is no forgetting and no backward transfer."]


KIND = Kind(
    metrics=metrics.SCALARS,
    scalars=_scalars,
    figures=_figures,
    plots={
        "accuracy": ("Accuracy on the whole test set along the stream.", "Examples seen"),
        "retention": (
            "The share of the stream's examples that are still classified right, by their age.",
            "Age (examples)",
        ),
        "forgetting": (
            "Accuracy on each experience's test images along the stream.",
            "Examples seen",
        ),
        "accuracy_matrix": ("Accuracy on each experience after each experience.", "Tested on"),
    },
    notes=_notes,
)
