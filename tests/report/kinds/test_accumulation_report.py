"""The report of further examples after one-shot learning: its claim and its figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_figures import check_print

from gtl_bench.report import Layout, StrategyInfo
from gtl_bench.report.info import RunInfo
from gtl_bench.report.kinds.accumulation import KIND, accumulation, claim, gain_by_rate, scalars
from gtl_bench.report.page import plot
from gtl_bench.report.style import _KNOWN

STEPS = range(0, 101, 10)
RATES = ("0.001", "0.01", "0.1")
LABELS = {
    "naive": ("Naive", False),
    "gtl": ("GTL", False),
    "gtl-shuffled": ("GTL, shuffled", True),
    "gtl-scalar": ("GTL, scalar", True),
    "frozen": ("Frozen base", True),
    **{name: (name.upper(), False) for name in ("ewc", "si", "mas", "lwf", "replay", "ncm", "x")},
}


def planted(gains: dict[str, tuple[float, ...]], seeds: int = 5) -> tuple[pd.DataFrame, RunInfo]:
    """From 40 % after ten examples, by the gain at the strategy's own rate and at each rung."""
    rows = []
    for name, values in gains.items():
        for experience, gain in enumerate(values, start=-1):
            for seed in range(seeds):
                end = gain + (1 + (name == "gtl")) * 0.01 * (seed - (seeds - 1) / 2)
                for step in STEPS:
                    value = 0.1 if step == 0 else 0.4 + end * (step - 10) / 90
                    rows.append((name, seed, step, "accuracy", experience, value))
    columns = ["strategy", "seed", "step", "metric", "experience", "value"]
    records = pd.DataFrame(rows, columns=columns).assign(benchmark="stream-omniglot")
    info = RunInfo(
        title="stream-omniglot",
        experiences=RATES,
        boundaries=(100,) * 3,
        strategies=tuple(StrategyInfo(name, *LABELS.get(name, (name,))) for name in gains),
        seeds=seeds,
        chance=0.1,
        regime="untuned defaults",
        kind="accumulation",
        more={"ways": 10, "draws": 2},
    )
    return records, info


def said(gains: dict[str, tuple[float, ...]], seeds: int = 5) -> str:
    records, info = planted(gains, seeds)
    return claim(scalars(records, info), records, info)


def test_scalars_are_at_the_strategys_own_rate() -> None:
    records, info = planted({"naive": (0.2, 0, 0.1, -0.3)}, seeds=1)
    found = scalars(records, info).loc[("naive", 0)]
    assert found.to_dict() == pytest.approx(
        {"final_accuracy": 0.6, "oneshot_accuracy": 0.4, "gain": 0.2}
    )
    assert KIND.score == "final_accuracy"


def test_both_gain() -> None:
    text = said({"naive": (0.2, 0.1, 0.2, -0.3), "gtl": (0.1, 0.1, 0.1, -0.1)}, seeds=8)
    assert text == (
        "That later examples help with guides, and with pretraining alone don't, holds at no rate "
        "of the ladder 0.001 … 0.1; later examples raise the accuracy with guides at rates 0.001, "
        "0.01, with pretraining alone at rates 0.001, 0.01; each at the rate of the ladder that is "
        "best for it, accuracy ends at 50.0 % with guides (rate 0.001) and at 60.0 % with "
        "pretraining alone (rate 0.01), a difference of −10.0 points, 95 % interval −12.0 to −8.0, "
        "8 seeds."
    )


@pytest.mark.parametrize(
    ("scalar", "words"),
    [(0.1, "where GTL, scalar gains too"), (0.0, "where none of its controls in the run gains")],
)
def test_guides_alone_gain_at_a_rate(scalar: float, words: str) -> None:
    text = said(
        {
            "naive": (0.2, 0.1, 0.2, 0.01),
            "gtl": (0.1, 0.1, 0.1, 0.1),
            "gtl-scalar": (0.1, 0, 0, scalar),
        },
        seeds=8,
    )
    assert "holds at rate 0.1 of the ladder" in text
    assert words in text
    assert (
        "; at rate 0.1 they add +10.0 points with guides and +1.0 with pretraining alone "
        "(difference +9.0 points, 95 % interval +7.0 to +11.0, 8 seeds); "
    ) in text


def test_told_and_not_told_alone_make_no_difference() -> None:
    """The same mean gain, which only a noisier strategy's interval does not tell from 0."""
    records, info = planted(dict.fromkeys(("naive", "gtl"), (0.1,) * 4), seeds=8)
    noisy = (records["strategy"] == "naive") & (records["step"] == 100)
    records.loc[noisy, "value"] += 0.06 * (records["seed"] - 3.5)
    text = claim(scalars(records, info), records, info)
    assert "holds at no rate" in text
    assert "with guides at rates 0.001, 0.01, 0.1, with pretraining alone at no rate" in text


def test_rates_are_a_family() -> None:
    """Six seeds tell a single difference, but none of three."""
    gains = {"naive": (0.2, 0.1, 0.2, 0.0), "gtl": (0.1, 0.1, 0.1, 0.1)}
    assert "is not told at 6 seeds" in said(gains, seeds=6)
    assert "holds at rate 0.1" in said(gains, seeds=7)


def test_too_few_seeds_and_a_run_without_gtl() -> None:
    gains = {"naive": (0.2, 0.1, 0.2, -0.3), "gtl": (0.1, 0.1, 0.1, -0.1)}
    assert "don't, is not told at 1 seed; each at the rate" in said(gains, seeds=1)
    assert "don't, is not told at 5 seeds; each at the rate" in said(gains)
    gains["gtl"] = (0.1, 0.1, 0.1, 0.1)
    assert (
        "is not told at 5 seeds; at rate 0.1 they add +10.0 points with guides and −30.0 with "
        "pretraining alone (difference +40.0 points, 95 % interval +38.0 to +42.0, 5 seeds); each"
    ) in said(gains)
    assert "is not tested" in said({"naive": (0.2, 0.1, 0.2, -0.3)})


def test_a_single_seed_of_one_strategy_tells_nothing() -> None:
    records, info = planted({"naive": (0.0,) * 4, "gtl": (0.1,) * 4}, seeds=8)
    partial = records[(records["strategy"] == "gtl") | (records["seed"] == 0)]
    text = claim(scalars(partial, info), partial, info)
    assert "don't, is not told at 1 seed; each" in text


def test_no_seed_in_common() -> None:
    records, info = planted({"naive": (0.0,) * 4, "gtl": (0.1,) * 4}, seeds=2)
    apart = records[(records["strategy"] == "gtl") == (records["seed"] == 1)]
    text = claim(scalars(apart, info), apart, info)
    assert text.endswith("GTL and pretraining alone (naive) have no seed in common.")


@pytest.mark.parametrize("draw", [accumulation, gain_by_rate])
@pytest.mark.parametrize("names", [("naive", "gtl", "frozen"), tuple(LABELS), tuple(_KNOWN)])
@pytest.mark.parametrize("layout", [Layout(), Layout("double")])
@pytest.mark.parametrize("seeds", [1, 5])
def test_figures(draw, names: tuple[str, ...], layout: Layout, seeds: int) -> None:
    rng = np.random.default_rng(0)
    records, info = planted({n: tuple(rng.uniform(-0.3, 0.3, 4)) for n in names}, seeds)
    sheet = draw(records, info, layout)
    panels = len(RATES) if draw is accumulation else 1
    assert len(sheet.axes) == panels
    assert len(sheet.readings) == panels * len(names)
    check_print(sheet)


def test_gains_are_drawn_at_their_rates() -> None:
    records, info = planted({"naive": (0.2, 0.1, 0.2, -0.3), "frozen": (0, 0, 0, 0)})
    sheet = gain_by_rate(records, info)
    naive = sheet.readings[0]
    assert naive.x.tolist() == [0.001, 0.01, 0.1]
    assert naive.values.mean.tolist() == pytest.approx([10, 20, -30])
    shown = plot(sheet, "name", "Gains.", "Rate")
    (panel,) = shown.panels
    assert panel["x"] == [0.001, 0.01, 0.1]
    assert panel["unit"] == " points"
    assert "At the right end: Naive −30.0 points, Frozen base 0.0 points." in shown.svg
