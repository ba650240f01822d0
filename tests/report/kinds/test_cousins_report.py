"""The report of cousins: the claim's sentence, and figures that can be read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import STRATEGIES
from test_figures import check_print

from gtl_bench.report.info import Layout, RunInfo, StrategyInfo
from gtl_bench.report.kinds.cousins import KIND, claim, scalars, training
from gtl_bench.report.style import _KNOWN

LABELS = STRATEGIES | {"gtl-gradient": ("GTL, gradient", False)}
DEFAULT = ("naive", "gtl", "gtl-gradient", "gtl-shuffled", "gtl-scalar", "frozen")


def planted(losses: dict[str, float], seeds: int = 5) -> tuple[pd.DataFrame, RunInfo]:
    """A run whose losses fall from 0.05 to those given, and up to 0.001 apart by seed."""
    rows = []
    for name, loss in losses.items():
        for seed in range(seeds):
            end = loss + 0.00025 * (seed - (seeds - 1) / 2) * (1 + 0.1 * len(name))
            for step, value in enumerate(np.linspace(0.05, end, 21)):
                rows.append((name, seed, step, "loss", value))
                rows.append((name, seed, step, "accuracy", 1 - 10 * value))
    columns = ["strategy", "seed", "step", "metric", "value"]
    records = pd.DataFrame(rows, columns=columns).assign(benchmark="b", experience=-1)
    info = RunInfo(
        title="binary-patterns",
        experiences=("cousins",),
        boundaries=(20,),
        strategies=tuple(StrategyInfo(name, *LABELS.get(name, (name,))[:2]) for name in losses),
        seeds=seeds,
        chance=0.1,
        regime="default settings",
        kind="cousins",
        more={"cousins": 15},
    )
    return records, info


def said(records: pd.DataFrame, info: RunInfo) -> str:
    return claim(scalars(records, info), records, info)


def test_scalars_by_hand() -> None:
    table = scalars(*planted({"naive": 0.03}, seeds=1))
    [row] = table.to_dict("records")
    assert list(row) == list(KIND.metrics)
    assert row["final_loss"] == pytest.approx(0.03)
    assert row["final_accuracy"] == pytest.approx(0.7)
    assert row["loss_along"] == pytest.approx(np.linspace(0.05, 0.03, 21)[1:].mean())


def test_a_gain_that_a_smaller_step_explains_is_said_to_be() -> None:
    losses = {"naive": 0.04, "gtl": 0.01, "gtl-gradient": 0.04, "gtl-scalar": 0.01}
    text = said(*planted(losses, seeds=8))
    assert "for GTL it holds (loss 0.0100, without guides 0.0400, difference −0.0300" in text
    assert "for GTL, gradient it is not shown" in text
    assert "a smaller step is +0.0000" in text.replace("−0.0000", "+0.0000")
    assert "which alone makes 100 % of the gain" in text
    assert "accuracy +30.0 points" in text


def test_a_control_that_does_worse_than_naive_makes_nothing_of_the_gain() -> None:
    text = said(*planted({"naive": 0.02, "gtl": 0.01, "gtl-scalar": 0.03}, seeds=8))
    assert "which alone makes nothing of the gain" in text


def test_a_loss_above_naive_s_does_not_hold() -> None:
    text = said(*planted({"naive": 0.02, "gtl": 0.03, "gtl-scalar": 0.025}, seeds=8))
    assert "for GTL it does not hold" in text
    assert "of the gain" not in text


@pytest.mark.parametrize(("seeds", "words"), [(1, "1 seed"), (5, "5 seeds"), (6, "6 seeds")])
def test_too_few_seeds_tell_nothing(seeds: int, words: str) -> None:
    text = said(*planted({"naive": 0.02, "gtl": 0.01, "gtl-scalar": 0.012}, seeds))
    assert f"for GTL it is not told at {words} (loss 0.0100" in text
    assert ("difference −0.0100, 95 % interval −0.01" in text) == (seeds > 1)


def diverging(records: pd.DataFrame, strategy: str, loss: float) -> pd.DataFrame:
    """The same run, but that a strategy diverges on its first seed."""
    broken = (records["strategy"] == strategy) & (records["seed"] == 0) & (records["step"] > 5)
    changed = records.copy()
    changed.loc[broken & (records["metric"] == "loss"), "value"] = loss
    changed.loc[broken & (records["metric"] == "accuracy"), "value"] = 0.0
    return changed


@pytest.mark.parametrize("loss", [np.inf, np.nan])
def test_what_diverged_is_named_and_judged_by_accuracy(loss: float) -> None:
    records, info = planted({"naive": 0.04, "gtl": 0.01, "gtl-scalar": 0.012}, seeds=8)
    records = diverging(records, "naive", loss)
    assert len(training(records, info).axes) == 2
    text = said(records, info)
    assert text.startswith(
        "“Guides lower the loss on cousins”, judged by accuracy since Naive diverged in 1 of 8 "
        "runs: for GTL it holds (accuracy 90.0 %, without guides 52.3 %, difference +37.7 points"
    )
    assert "GTL's accuracy less that with each tensor's mean" in text
    assert "a smaller step is +2.0 points" in text
    assert "which alone makes 95 % of the gain" in text
    assert "inf" not in text.replace("interval", "")
    assert "nan" not in text


def test_guides_that_diverge_do_not_hold() -> None:
    records, info = planted({"naive": 0.01, "gtl": 0.04}, seeds=8)
    text = said(diverging(records, "gtl", np.inf), info)
    assert "since GTL diverged in 1 of 8 runs: for GTL it does not hold (accuracy" in text


def test_no_seed_in_common() -> None:
    records, info = planted({"naive": 0.02, "gtl": 0.01, "gtl-scalar": 0.012}, seeds=2)
    apart = records[(records["strategy"] == "naive") == (records["seed"] == 1)]
    text = said(apart, info)
    assert "for GTL it is not tested, for want of a common seed; GTL's loss less" in text
    assert "of the gain" not in text


def test_no_claim_without_guides_or_without_naive() -> None:
    assert said(*planted({"naive": 0.02, "frozen": 0.05})) == ""
    assert said(*planted({"gtl": 0.02, "frozen": 0.05})) == ""


RUNS = {
    "default": (DEFAULT, 5),
    "three, one seed": (DEFAULT[:3], 1),
    "twelve": ((*tuple(LABELS)[:11], "frozen"), 5),
    "all known": (tuple(_KNOWN), 5),
}


@pytest.mark.parametrize("column", ["single", "double"])
@pytest.mark.parametrize(("names", "seeds"), RUNS.values(), ids=RUNS)
def test_figure_can_be_read_and_shows_all(column: str, names: tuple[str, ...], seeds: int) -> None:
    records, info = planted({name: 0.002 * k for k, name in enumerate(names)}, seeds)
    figure = training(records, info, Layout(column))
    check_print(figure)
    assert len(figure.axes) == 2
    assert {reading.label for reading in figure.readings} == {info.label(name) for name in names}
    for ax, unit in zip(figure.axes, (" %", ""), strict=True):
        assert len(ax.lines) == len(names)
        read = [reading for reading in figure.readings if reading.axes is ax]
        assert {reading.unit for reading in read} == {unit}
        loss = [0.002 * k for k in range(len(names))]
        ends = [float(reading.values.mean[-1]) for reading in read]
        assert ends == pytest.approx([100 - 1000 * v for v in loss] if unit else loss, abs=1e-9)
