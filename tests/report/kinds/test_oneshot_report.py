"""The report of one-shot learning: its claim and its figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_figures import check_print

from gtl_bench.experiments.oneshot import BINS, checkpoints
from gtl_bench.report import Layout, StrategyInfo
from gtl_bench.report.info import RunInfo
from gtl_bench.report.kinds.oneshot import KIND, claim, scalars, training

STEPS = checkpoints(50)
LABELS = {
    "naive": ("Naive", False),
    "gtl": ("GTL", False),
    "gtl-shuffled": ("GTL, shuffled", True),
    "gtl-scalar": ("GTL, scalar", True),
    "last-layer": ("Last layer", False),
    "frozen": ("Frozen base", True),
    **{name: (name.upper(), False) for name in ("ewc", "si", "mas", "lwf", "replay", "my_method")},
}


def planted(finals: dict[str, list[float]]) -> tuple[pd.DataFrame, RunInfo]:
    """Accuracies that rise to those given, a value a seed."""
    rows = []
    for name, values in finals.items():
        for seed, final in enumerate(values):
            share = np.linspace(0, 1, len(STEPS))
            for step, accuracy in zip(STEPS, 0.05 + share * (final - 0.05)):
                rows.append((name, seed, step, "accuracy", accuracy))
                rows.append((name, seed, step, "learned_accuracy", 1.0))
                rows.append((name, seed, step, "loss", 3 - accuracy))
            if name.startswith("gtl"):
                shares = np.exp(-np.arange(BINS) / 3)
                rows += [(name, seed, k, "guide", v) for k, v in enumerate(shares / shares.sum())]
    records = pd.DataFrame(rows, columns=["strategy", "seed", "step", "metric", "value"])
    records = records.assign(benchmark="oneshot-omniglot", experience=-1)
    info = RunInfo(
        title="oneshot-omniglot",
        experiences=("all",),
        boundaries=(50,),
        strategies=tuple(StrategyInfo(name, *LABELS[name]) for name in finals),
        seeds=len(next(iter(finals.values()))),
        chance=0.05,
        regime="untuned defaults",
        kind="oneshot",
        more={"ways": 20, "draws": 10},
    )
    return records, info


def said(finals: dict[str, list[float]]) -> str:
    records, info = planted(finals)
    return claim(scalars(records, info), records, info)


def test_a_gain_that_no_control_has() -> None:
    assert said(
        {
            "naive": [0.40, 0.41, 0.42],
            "gtl": [0.45, 0.46, 0.48],
            "gtl-scalar": [0.41, 0.42, 0.43],
        }
    ) == (
        "That guides raise one-shot accuracy (20-way): holds here: 46.3 % with guides, 41.0 % with "
        "pretraining alone (difference +5.3 points, 95 % interval +3.9 to +6.8, 3 seeds); beside "
        "its controls GTL is above GTL, scalar (+4.3 points, 95 % interval +2.9 to +5.8, 3 seeds)."
    )


def test_a_gain_that_a_control_has_too() -> None:
    text = said(
        {
            "naive": [0.40, 0.41, 0.42],
            "gtl": [0.45, 0.46, 0.47],
            "gtl-scalar": [0.46, 0.45, 0.47],
            "gtl-shuffled": [0.50, 0.51, 0.53],
        }
    )
    assert "below GTL, shuffled (−5.3 points" in text
    assert "not told from GTL, scalar (0.0 points" in text


@pytest.mark.parametrize(
    ("gtl", "words"),
    [
        ([0.35, 0.36, 0.38], "does not hold here"),
        ([0.39, 0.42, 0.43], "is not shown"),
    ],
)
def test_no_gain(gtl: list[float], words: str) -> None:
    text = said({"naive": [0.40, 0.41, 0.42], "gtl": gtl, "gtl-scalar": [0.2, 0.2, 0.2]})
    assert words in text
    assert "control" not in text


def test_a_single_seed_and_a_run_without_gtl() -> None:
    assert "one seed cannot tell" in said({"naive": [0.4], "gtl": [0.5]})
    assert "is not tested" in said({"naive": [0.4], "frozen": [0.05]})


@pytest.mark.parametrize("names", [("naive", "gtl", "frozen"), tuple(LABELS)])
@pytest.mark.parametrize("layout", [Layout(), Layout("double")])
@pytest.mark.parametrize("seeds", [1, 5])
def test_figure(names: tuple[str, ...], layout: Layout, seeds: int) -> None:
    rng = np.random.default_rng(0)
    records, info = planted({name: list(rng.uniform(0.1, 0.6, seeds)) for name in names})
    sheet = training(records, info, layout)
    accuracy, loss, guide = sheet.axes
    assert len(accuracy.lines) == len(names) + 1  # chance
    assert len(loss.lines) == len(names)
    assert len(guide.patches) == 1  # controls' histograms are left out
    ends = {reading.label: float(reading.values.mean[-1]) for reading in sheet.readings}
    final = 100 * scalars(records, info)["final_accuracy"].groupby("strategy").mean()
    assert ends == pytest.approx({LABELS[str(name)][0]: value for name, value in final.items()})
    check_print(sheet)


def test_what_diverged_is_drawn_as_far_as_it_goes_and_needs_no_guide() -> None:
    records, info = planted({"naive": [0.4, 0.5], "frozen": [0.05, 0.05]})
    broken = (records["strategy"] == "naive") & (records["metric"] == "loss")
    records.loc[broken & (records["step"] >= 10), "value"] = np.inf
    sheet = training(records, info)
    assert len(sheet.axes) == 2
    assert 2 < sheet.axes[1].get_ylim()[1] < 4


def test_the_score_is_the_final_accuracy() -> None:
    assert KIND.score == "final_accuracy"
    assert set(KIND.plots) == {"training"}
