"""The report on transfer to four targets: its claim on planted numbers, and its figure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from test_figures import check_print

from gtl_bench.experiments.transfer import QUADRANTS
from gtl_bench.report import Layout
from gtl_bench.report.info import RunInfo, StrategyInfo
from gtl_bench.report.kinds.transfer import KIND, claim, quadrants
from gtl_bench.report.sheet import LONGEST

Finals = dict[str, tuple[float, float, float, float]]

TEXTBOOK: Finals = {
    "naive": (0.5, 0.5, 0.7, 0.9),
    "partial-finetune": (0.6, 0.6, 0.9, 0.8),
    "feature-extraction": (0.7, 0.4, 0.6, 0.6),
}


def planted(finals: Finals, seeds: int = 5) -> tuple[pd.DataFrame, RunInfo]:
    """Runs that end at these accuracies, each seed a little off, alike for all strategies."""
    rows = []
    for name, values in finals.items():
        for seed in range(seeds):
            ends = np.array(values) + 0.001 * seed
            for step, accuracy in ((0, np.full(4, 0.1)), (20, ends)):
                cell = ("b", name, seed, step, "accuracy")
                rows.append((*cell, -1, accuracy.mean()))
                rows += [(*cell, index, value) for index, value in enumerate(accuracy)]
    columns = ["benchmark", "strategy", "seed", "step", "metric", "experience", "value"]
    info = RunInfo(
        title="Transfer",
        experiences=QUADRANTS,
        boundaries=(20,) * 4,
        strategies=tuple(StrategyInfo(name, name.capitalize()) for name in finals),
        seeds=seeds,
        chance=0.1,
        regime="untuned defaults",
        kind="transfer",
        more={"examples": [50, 50, 1000, 1000]},
    )
    return pd.DataFrame(rows, columns=columns), info


def claimed(finals: Finals, seeds: int = 5) -> str:
    records, info = planted(finals, seeds)
    return claim(KIND.scalars(records, info), records, info)


def test_numbers_of_a_cell() -> None:
    records, info = planted(TEXTBOOK)
    row = KIND.scalars(records, info).loc[("naive", 0)]
    assert row.tolist() == pytest.approx([0.65, 0.5, 0.5, 0.7, 0.9])
    assert list(row.index) == ["mean_accuracy", "few_near", "few_far", "many_near", "many_far"]


def test_the_rule_where_it_holds() -> None:
    text = claimed(TEXTBOOK)
    assert "has the best mean in 4 of 4 quadrants" in text
    assert "few, near: Feature-extraction less Partial-finetune +10.0 points" in text
    assert "95 % interval +10.0 to +10.0" in text


def test_the_rule_where_it_fails_and_what_is_ahead_of_all() -> None:
    text = claimed({**TEXTBOOK, "naive": (0.9, 0.9, 0.9, 0.9), "gtl": (0.95, 0.2, 0.2, 0.2)})
    assert "has the best mean in 1 of 4 quadrants" in text
    assert "few, near: Feature-extraction less Naive −20.0 points" in text
    assert "best of all is Gtl" in text
    assert "many, far: Naive less Partial-finetune +10.0 points" in text


def test_a_tie_is_no_win() -> None:
    tied = dict.fromkeys(TEXTBOOK, (0.5, 0.5, 0.5, 0.5))
    assert "has the best mean in 0 of 4 quadrants" in claimed(tied)


def test_without_the_textbooks_choices_nothing_is_claimed() -> None:
    text = claimed({"naive": (0.5, 0.5, 0.5, 0.5)})
    assert text.startswith("The textbook's rule is not tested: feature-extraction")


@pytest.mark.parametrize("column", ["single", "double"])
@pytest.mark.parametrize("strategies", [3, 12])
@pytest.mark.parametrize("seeds", [1, 3])
def test_figure_shows_every_strategy_and_frames_the_best(column, strategies, seeds) -> None:
    more = {f"method-{k}": (0.1, 0.1, 0.1, 0.1) for k in range(9)}
    finals = dict(list((TEXTBOOK | more).items())[:strategies])
    figure = quadrants(*planted(finals, seeds), Layout(column))
    ax = figure.axes[0]
    assert len(ax.get_yticklabels()) == strategies
    assert len(ax.texts) == 4 * strategies
    frames = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    assert [frame.get_xy() for frame in frames] == [(0, 2), (1, 1), (2, 1), (3, 0)]
    marks = [(float(x), float(y)) for x, y in (line.get_xydata()[0] for line in ax.lines)]
    assert sorted((int(x), int(y)) for x, y in marks) == [(0, 2), (1, 1), (2, 1), (3, 0)]
    check_print(figure)


@pytest.mark.parametrize("column", ["single", "double"])
def test_figure_has_room_for_the_longest_labels(column) -> None:
    records, info = planted(TEXTBOOK)
    label = "A strategy with a label that is cut"
    strategies = tuple(StrategyInfo(s.name, f"{s.name} {label}") for s in info.strategies)
    more = {"examples": [50, 50, 10000, 10000]}
    figure = quadrants(records, replace(info, strategies=strategies, more=more), Layout(column))
    (left, _), _ = figure.axes[0].get_position().get_points() * figure.width
    assert left > LONGEST
    check_print(figure)
