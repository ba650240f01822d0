"""The report of one-shot learning: its claim and its figure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_figures import check_print

from gtl_bench.experiments.oneshot import BINS, checkpoints
from gtl_bench.report import Layout, StrategyInfo
from gtl_bench.report.info import RunInfo
from gtl_bench.report.kinds.oneshot import KIND, claim, scalars, training
from gtl_bench.report.sheet import EDGE, LEFT
from gtl_bench.report.style import _KNOWN, looks, rc
from gtl_bench.report.verdict import judge

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
        strategies=tuple(StrategyInfo(name, *LABELS.get(name, (name, True))) for name in finals),
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


def by_seed(mean: float, wobble: float = 0.01, seeds: int = 8) -> list[float]:
    """Values about a mean, each seed's own."""
    return [mean + wobble * (seed - (seeds - 1) / 2) for seed in range(seeds)]


def test_a_gain_that_no_control_has() -> None:
    assert said(
        {
            "naive": by_seed(0.41),
            "gtl": by_seed(0.46, 0.012),
            "gtl-scalar": by_seed(0.42),
        }
    ) == (
        "That guides raise one-shot accuracy (20-way) holds here: 46.0 % with guides, 41.0 % with "
        "pretraining alone (difference +5.0 points, 95 % interval +4.6 to +5.4, 8 seeds); beside "
        "its controls GTL is above GTL, scalar (+4.0 points, 95 % interval +3.6 to +4.4, 8 seeds)."
    )


def test_a_gain_that_a_control_has_too() -> None:
    text = said(
        {
            "naive": by_seed(0.41),
            "gtl": by_seed(0.46),
            "gtl-scalar": by_seed(0.46, -0.01),
            "gtl-shuffled": by_seed(0.51, 0.012),
        }
    )
    assert "below GTL, shuffled (−5.0 points" in text
    assert "not told from GTL, scalar (0.0 points" in text


@pytest.mark.parametrize(
    ("gtl", "words"),
    [
        (by_seed(0.36, 0.012), "does not hold here"),
        (by_seed(0.41, -0.01), "is not shown: 41.0 %"),
    ],
)
def test_no_gain(gtl: list[float], words: str) -> None:
    text = said({"naive": by_seed(0.41), "gtl": gtl, "gtl-scalar": by_seed(0.2)})
    assert words in text
    assert "control" not in text


@pytest.mark.parametrize(
    ("seeds", "others", "words"),
    [
        (1, (), "is not told at 1 seed: "),
        (5, (), "is not told at 5 seeds: "),
        (6, (), "holds here: "),
        (6, ("gtl-scalar",), "is not told at 6 seeds: "),
        (7, ("gtl-scalar",), "holds here: "),
    ],
)
def test_claim_and_verdict_agree_on_what_seeds_can_tell(
    seeds: int, others: tuple[str, ...], words: str
) -> None:
    finals = {"naive": by_seed(0.41, seeds=seeds), "gtl": by_seed(0.46, 0.012, seeds)}
    finals |= {name: by_seed(0.42, seeds=seeds) for name in others}
    records, info = planted(finals)
    judged = judge(scalars(records, info), records, info, "gtl")
    assert words in judged.claim
    assert ("GTL is better than Naive" in judged.headline) == ("holds here" in judged.claim)
    assert ("Too few seeds" in judged.headline) == ("not told" in judged.claim)
    assert ("difference +5.0 points, 95 % interval +4." in judged.claim) == (seeds > 1)


def test_an_interval_that_the_test_does_not_bear_out() -> None:
    one_behind = [0.43] * 7 + [0.369]  # by more than any other is ahead
    text = said({"naive": [0.4] * 8, "gtl": one_behind})
    assert "is not shown (the interval leaves out 0, but the test does not reach 0.05): " in text


def test_a_run_without_gtl() -> None:
    text = said({"naive": [0.4], "frozen": [0.05]})
    assert "is not tested: GTL or pretraining alone (naive) is not in this run" in text


def test_no_seed_in_common() -> None:
    records, info = planted({"naive": [0.4, 0.5], "gtl": [0.4, 0.5]})
    apart = records[(records["strategy"] == "gtl") == (records["seed"] == 1)]
    text = claim(scalars(apart, info), apart, info)
    assert "GTL and pretraining alone (naive) have no seed in common" in text


@pytest.mark.parametrize("names", [("naive", "gtl", "frozen"), tuple(LABELS), tuple(_KNOWN)])
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
    final = scalars(records, info)["final_accuracy"].groupby("strategy").mean()
    for ax, unit, ends in ((accuracy, " %", 100 * final), (loss, "", 3 - final)):
        read = [reading for reading in sheet.readings if reading.axes is ax]
        assert {reading.unit for reading in read} == {unit}
        assert {one.label: float(one.values.mean[-1]) for one in read} == pytest.approx(
            {info.label(str(name)): value for name, value in ends.items()}
        )
    check_print(sheet)


def test_losses_are_drawn_with_their_bands_unless_these_dwarf_them() -> None:
    records, info = planted({"naive": by_seed(0.4), "frozen": by_seed(0.05)})
    at_first = (records["metric"] == "loss") & (records["step"] == 1)
    for wide, top in ((1.0, 3.0 + 0.8937), (50.0, 2 * 3.0)):  # t(0.975; 7) = 2.365
        spread = np.where(records["seed"] % 2, wide, -wide)
        losses = records["value"].where(~at_first, 3.0 + spread)
        ax = training(records.assign(value=losses), info).axes[1]
        assert ax.get_ylim()[1] == pytest.approx(1.05 * top, rel=1e-4)


@pytest.mark.parametrize("column", ["single", "double"])
def test_guides_can_be_told_apart_in_grey_and_labels_are_in_line(column: str) -> None:
    records, info = planted({name: [0.3, 0.4] for name in ("gtl", "gtl-masked", "gtl-gradient")})
    methods = tuple(replace(strategy, control=False) for strategy in info.strategies)
    sheet = training(records, replace(info, strategies=methods), Layout(column))
    with rc():
        sheet.canvas.draw()
    dashes = [patch.get_linestyle() for patch in sheet.axes[2].patches]
    look = looks(methods)
    wanted = [look[strategy.name].dashes for strategy in methods]
    assert dashes == [(0, rhythm) if rhythm else "-" for rhythm in wanted]
    assert len(set(dashes)) == 3
    for ax in sheet.axes:
        label, panel = ax.yaxis.label.get_window_extent(), ax.get_window_extent()
        assert (panel.x0 - label.x0) / sheet.dpi == pytest.approx(LEFT - EDGE, abs=0.02)
        ticks = [tick.label1.get_window_extent() for tick in ax.yaxis.get_major_ticks()]
        assert label.x1 < min(tick.x0 for tick in ticks)


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
