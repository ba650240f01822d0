"""The report on experiences learned in batches: its claim on planted numbers, and its figure."""

from __future__ import annotations

import pandas as pd
import pytest
from test_figures import check_print

from gtl_bench.report import Layout
from gtl_bench.report.info import RunInfo, StrategyInfo
from gtl_bench.report.kinds.batch import KIND, claim, final_accuracy
from gtl_bench.report.verdict import judge

PUBLISHED = {"naive": [0.85, 0.85], "ewc": [0.986, 0.991], "joint": [0.996, 0.996]}


def planted(finals: dict[str, list[float]], published=PUBLISHED) -> tuple[pd.DataFrame, RunInfo]:
    """Runs of two experiences that end at these accuracies, after 0.5 at the start."""
    rows = []
    for name, values in finals.items():
        for seed, final in enumerate(values):
            matrix = [[0.5, 0.5], [1.0, 0.5], [2 * final - 1.0, 1.0]]
            for step, pair in enumerate(matrix):
                cell = ("b", name, seed, step, "accuracy")
                rows += [(*cell, -1, sum(pair) / 2), (*cell, 0, pair[0]), (*cell, 1, pair[1])]
    columns = ["benchmark", "strategy", "seed", "step", "metric", "experience", "value"]
    info = RunInfo(
        title="Pairs",
        experiences=("0/1", "2/3"),
        boundaries=(1, 2),
        strategies=tuple(StrategyInfo(name, name.upper(), name == "joint") for name in finals),
        seeds=max(map(len, finals.values())),
        chance=0.5,
        regime="untuned defaults",
        kind="batch",
        more={"published": published},
    )
    return pd.DataFrame(rows, columns=columns), info


def claimed(finals: dict[str, list[float]], published=PUBLISHED) -> str:
    records, info = planted(finals, published)
    return claim(KIND.scalars(records, info), records, info)


def test_numbers_of_a_cell() -> None:
    records, info = planted({"naive": [0.8]})
    row = KIND.scalars(records, info).loc[("naive", 0)]
    assert row["final_accuracy"] == pytest.approx(0.8)
    assert row["learning_accuracy"] == 1.0
    assert row["forgetting"] == pytest.approx(0.4)
    assert row["backward_transfer"] == pytest.approx(-0.4)


def test_a_published_value_is_reproduced_within_a_point_or_within_the_interval() -> None:
    text = claimed({"naive": [0.8, 0.81, 0.9], "ewc": [0.98, 0.98, 0.98], "joint": [0.9, 0.9, 0.9]})
    first, _, second = text.partition("; not reproduced: ")
    assert first.startswith("2 of 3 published values are reproduced")
    assert "NAIVE 83.7 % (70.0 to 97.3), published 85.0" in first  # t(0.975; 2) = 4.303
    assert "EWC 98.0 % (98.0 to 98.0), published 98.6–99.1" in first
    assert second == "JOINT 90.0 % (90.0 to 90.0), published 99.6."


def test_a_single_seed_has_no_interval() -> None:
    text = claimed({"naive": [0.8], "ewc": [0.98]})
    assert "EWC 98.0 %, published" in text
    assert "not reproduced: NAIVE 80.0 %, published 85.0." in text


def test_strategies_without_a_published_value_are_left_out() -> None:
    assert "GTL" not in claimed({"naive": [0.85], "gtl": [0.9]})


def test_without_published_values_it_says_so() -> None:
    text = claimed({"naive": [0.8, 0.8], "gtl": [0.9, 0.9]}, {})
    assert text.startswith("No published values stand beside this scenario")
    assert "NAIVE 80.0 % (80.0 to 80.0); GTL 90.0 % (90.0 to 90.0)" in text


def test_verdict_holds_the_claim() -> None:
    records, info = planted({"naive": [0.8, 0.81], "gtl": [0.85, 0.84]})
    judged = judge(KIND.scalars(records, info), records, info, "gtl")
    assert "published values are reproduced" in judged.claim


@pytest.mark.parametrize("column", ["single", "double"])
@pytest.mark.parametrize("strategies", [3, 12])
@pytest.mark.parametrize("seeds", [1, 3])
def test_figure_shows_every_strategy(column, strategies, seeds) -> None:
    names = [*PUBLISHED, *(f"method-{k}" for k in range(9))][:strategies]
    records, info = planted({name: [0.9 + 0.01 * k for k in range(seeds)] for name in names})
    figure = final_accuracy(records, info, Layout(column))
    (ax,) = figure.axes
    assert [text.get_text() for text in ax.get_yticklabels()] == [name.upper() for name in names]
    means = [line for line in ax.lines if line.get_marker() == "o"]
    assert [float(line.get_xdata()[0]) for line in means] == pytest.approx(
        [90.0 + (seeds - 1) / 2] * strategies
    )
    assert len(ax.collections) == 3  # the published values
    assert [reading.label for reading in figure.readings] == [name.upper() for name in names]
    band = figure.readings[0].values
    assert band.mean.tolist() == pytest.approx([90.0 + (seeds - 1) / 2])
    if seeds == 3:  # t(0.975; 2) = 4.303, standard deviation 1
        assert band.low.tolist() == pytest.approx([91 - 4.303 / 3**0.5], abs=1e-3)
        assert band.high.tolist() == pytest.approx([91 + 4.303 / 3**0.5], abs=1e-3)
    check_print(figure)


def test_figure_shows_intervals_to_their_ends() -> None:
    records, info = planted({"naive": [0.55, 0.56, 0.54], "frozen": [0.41, 0.51, 0.64]})
    figure = final_accuracy(records, info)
    low = min(float(reading.values.low[0]) for reading in figure.readings)
    assert figure.axes[0].get_xlim()[0] <= low < 25
