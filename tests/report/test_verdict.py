"""The verdict on planted data: what is claimed, and what explains it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gtl_bench import metrics, stats
from gtl_bench.errors import UsageError
from gtl_bench.report import verdict
from gtl_bench.report.info import RunInfo, StrategyInfo

LABELS = {"naive": "Naive", "gtl": "GTL", "gtl-scalar": "GTL, scalar", "frozen": "Frozen base"}


@pytest.fixture(scope="module")
def judge(make_run):
    """Judge gtl among strategies whose final accuracies are planted: name -> values or offset."""
    records, _ = make_run(("naive",), seeds=2, experiences=1, each=4)

    def judge(planted, focus="gtl", seeds=20, noise=0.01, each_tuned=True):
        rng = np.random.default_rng(7)
        base = rng.normal(0.5, 0.05, seeds)  # what the runs of a seed have in common
        finals = {
            name: base + offset + rng.normal(0, noise, seeds) if np.isscalar(offset) else offset
            for name, offset in planted.items()
        }
        table = pd.DataFrame(finals).rename_axis("seed").stack().swaplevel()
        scalars = pd.DataFrame({"final_accuracy": table.rename_axis(["strategy", "seed"])})
        strategies = tuple(StrategyInfo(name, LABELS.get(name, name)) for name in planted)
        info = RunInfo(
            "toy", ("all",), (4,), strategies, seeds, 0.1, "untuned defaults", each_tuned
        )
        return verdict.judge(scalars, records, info, focus)

    return judge


def sentence(judged, name):
    (found,) = [text for text in judged.sentences if f" {name} (" in text]
    return found


def test_at_a_common_rate_a_control_excludes_nothing(judge):
    planted = {"naive": 0, "gtl": 0.06, "gtl-scalar": 0.02}
    tuned, common = judge(planted), judge(planted, each_tuned=False)
    assert "and a smaller step does not explain the gain" in tuned.headline
    assert "whether a smaller step explains the gain is open" in common.headline
    assert "may explain the gain at a rate of its own" in sentence(common, "its scalar control")
    assert "The comparison at tuned rates decides." in common.notes[0]
    assert len(tuned.notes) == len(common.notes) - 1


def test_a_strategy_that_equals_its_scalar_control_is_explained_by_a_smaller_step(judge):
    judged = judge({"naive": 0, "gtl": 0.06, "gtl-scalar": 0.06})
    assert judged.headline == "GTL is better than Naive, but a smaller step explains the gain."
    text = sentence(judged, "its scalar control")
    assert text.endswith("no difference shown; a smaller step explains the gain.")


def test_one_that_beats_it_is_not(judge):
    judged = judge({"naive": 0, "gtl": 0.06, "gtl-scalar": 0.02})
    assert (
        judged.headline == "GTL is better than Naive, and a smaller step does not explain the gain."
    )
    text = sentence(judged, "its scalar control")
    assert text.endswith("better; a smaller step does not explain the gain.")


def test_one_that_falls_short_of_it_is_explained_by_it(judge):
    judged = judge({"naive": 0, "gtl": 0.06, "gtl-scalar": 0.09})
    assert judged.headline == "GTL is better than Naive, but a smaller step explains the gain."
    text = sentence(judged, "its scalar control")
    assert text.endswith("worse; a smaller step explains the gain.")


def test_where_the_guide_does_not_matter_which_parameter_it_holds(judge):
    planted = {"naive": 0, "gtl": 0.06, "gtl-scalar": 0.02, "gtl-shuffled": 0.06}
    assert judge(planted).headline == (
        "GTL is better than Naive, but a guide with its values shuffled explains the gain."
    )
    planted["gtl-inverted"] = 0.06
    assert judge(planted).headline == (
        "GTL is better than Naive, but a guide with its values shuffled and the opposite guide "
        "each explain the gain."
    )


def test_better_than_every_control(judge):
    controls = {"gtl-scalar": 0.02, "gtl-shuffled": 0.01, "gtl-inverted": -0.03}
    judged = judge({"naive": 0, "gtl": 0.06} | controls)
    assert judged.headline == (
        "GTL is better than Naive, and neither a smaller step, a guide with its values shuffled "
        "nor the opposite guide explains the gain."
    )


def test_an_interval_that_holds_the_whole_gain_leaves_it_open(judge):
    """A control that wobbles so much could do all or nothing: it explains nothing yet."""
    wobble = 0.56 + 0.3 * (-1.0) ** np.arange(20)
    judged = judge({"naive": 0, "gtl": 0.06, "gtl-scalar": wobble})
    assert (
        judged.headline == "GTL is better than Naive; whether a smaller step explains the gain "
        "is open."
    )
    assert "more seeds are needed to tell" in sentence(judged, "its scalar control")


@pytest.mark.parametrize("others", [{}, {"gtl-shuffled": 0.01}, {"ewc": 0.01}])
def test_without_the_scalar_control_a_smaller_step_is_not_ruled_out(judge, others):
    headline = judge({"naive": 0, "gtl": 0.06} | others).headline
    assert headline.startswith("GTL is better than Naive")
    assert headline.endswith("; a smaller step is not ruled out, for want of a scalar control.")


def test_controls_are_known_by_name_and_belong_to_one_strategy(judge):
    planted = {"naive": 0, "gtl": 0.06, "gtl-masked": 0.09, "gtl-masked-scalar": 0.09}
    assert "for want of a scalar control" in judge(planted).headline
    judged = judge(planted, "gtl-masked")
    assert judged.headline == (
        "gtl-masked is better than Naive, but a smaller step explains the gain."
    )
    assert "above GTL (" in judged.sentences[-1]


def test_without_a_gain_nothing_is_explained(judge):
    worse = judge({"naive": 0, "gtl": -0.06, "gtl-scalar": -0.06})
    assert worse.headline == "GTL is worse than Naive."
    same = judge({"naive": 0, "gtl": 0, "gtl-scalar": 0})
    assert same.headline == "No difference is shown between GTL and Naive."
    for judged in (worse, same):
        assert "explain" not in " ".join(judged.sentences)


def test_numbers_are_those_of_the_paired_differences(judge):
    values = {"naive": np.linspace(0.4, 0.6, 8), "gtl": np.linspace(0.45, 0.67, 8)}
    judged = judge(values, seeds=8)
    interval = stats.mean_interval(values["gtl"] - values["naive"])
    assert interval.mean == pytest.approx(0.06)
    low, high = 100 * interval.low, 100 * interval.high
    assert sentence(judged, "Naive") == (
        f"GTL ends 6.0 points above Naive (95 % interval {low:.1f} to {high:.1f}, p = 0.008, "
        "8 seeds): better."
    )
    turned = judge(values, "naive", seeds=8)
    assert sentence(turned, "GTL") == (
        f"Naive ends 6.0 points below GTL (95 % interval −{high:.1f} to −{low:.1f}, p = 0.008, "
        "8 seeds): worse."
    )
    assert turned.headline == "Of 1 other strategies, Naive is better than 0 and worse than 1."


@pytest.mark.parametrize(("seeds", "others", "needed"), [(5, 1, 6), (6, 2, 7), (7, 4, 8)])
def test_too_few_seeds_claim_nothing(judge, seeds, others, needed):
    planted = {"naive": 0, "gtl": 0.3, "gtl-scalar": 0, "ewc": 0.0, "si": 0.0}
    planted = dict(list(planted.items())[: others + 1])
    judged = judge(planted, seeds=seeds)
    assert judged.headline == (
        f"Too few seeds to tell GTL from Naive: {seeds}, where a test of {others} "
        f"comparison{'s' * (others > 1)} needs {needed}."
    )
    assert all(text.endswith("too few seeds to tell.") for text in judged.sentences)
    assert "better" not in verdict.to_text(judged).replace("Holm", "")
    enough = judge(planted, seeds=needed)
    assert enough.headline.startswith("GTL is better than Naive")


def test_the_test_and_the_interval_have_to_agree(judge):
    # Many small gains and one great loss: the ranks are sure, the mean is not.
    gains = np.append(np.full(19, 0.01) + np.arange(19) / 1e4, -0.15)
    judged = judge({"naive": np.zeros(20), "gtl": gains})
    assert (
        "no difference shown (the test reaches 0.05, but the interval holds 0)"
        in (judged.sentences[0])
    )
    # One comparison among many, corrected for all of them.
    rng = np.random.default_rng(3)
    near = {f"other-{i}": rng.normal(0, 0.1, 9) for i in range(6)}
    slight = np.array([0.02, 0.021, 0.022, 0.023, 0.024, 0.025, 0.026, 0.027, -0.005])
    judged = judge({"naive": np.zeros(9), "gtl": slight} | near, seeds=9)
    assert "(the interval leaves out 0, but the test does not reach 0.05)" in judged.sentences[0]
    assert judged.headline == "No difference is shown between GTL and Naive."


def test_frozen_tells_whether_learning_helps(judge):
    planted = {"naive": 0, "gtl": 0.06}
    worse = judge(planted | {"frozen": 0.12})
    assert worse.headline.endswith("Not learning at all does better.")
    assert sentence(worse, "the frozen base").endswith("worse; not learning at all does better.")
    same = judge(planted | {"frozen": 0.06})
    assert same.headline.endswith("That learning from the stream helps is not shown.")
    better = judge(planted | {"frozen": -0.1})
    assert "learning" not in better.headline
    assert "learning from the stream helps" in sentence(better, "the frozen base")


def test_joint_is_the_upper_line_and_first_layer_a_question_of_its_own(judge):
    judged = judge({"naive": 0, "gtl": 0.06, "joint": 0.3, "first-layer": 0.1, "ewc": 0})
    assert "below joint training, the upper line (" in judged.sentences[-1]
    text = sentence(judged, "training of the first layer alone")
    assert text.endswith("worse; a layer chosen by hand does better.")


def test_seeds_that_only_one_of_two_has_are_left_out(judge):
    late = np.where(np.arange(12) < 4, np.nan, 0.5)
    none = np.full(12, np.nan)
    judged = judge({"naive": late, "gtl": 0.06, "ewc": none}, seeds=12)
    assert ", 8 seeds)" in sentence(judged, "Naive")
    assert judged.sentences[1] == "GTL and ewc have no seed in common: nothing to compare."
    assert "Holm-corrected over 1 comparison," in judged.notes[0]


def test_equal_strategies_are_level(judge):
    same = np.linspace(0.4, 0.6, 9)
    judged = judge({"naive": same, "gtl": same}, seeds=9)
    assert judged.sentences == (
        "GTL ends level with Naive (95 % interval 0.0 to 0.0, p = 1.000, 9 seeds): "
        "no difference shown.",
    )


def test_false_claims_stay_within_the_level(make_run):
    """Of runs in which nothing differs, no more than one in twenty claims anything."""
    records, _ = make_run(("naive",), seeds=2, experiences=1, each=4)
    names = ("naive", "gtl", "gtl-scalar", "gtl-shuffled", "frozen")
    info = RunInfo("toy", ("all",), (4,), tuple(StrategyInfo(n, n) for n in names), 10, 0.1, "x")
    rng = np.random.default_rng(0)
    claims = 0
    for _ in range(200):
        index = pd.MultiIndex.from_product([names, range(10)], names=["strategy", "seed"])
        values = rng.binomial(2000, 0.6, len(index)) / 2000
        judged = verdict.judge(
            pd.DataFrame({"final_accuracy": values}, index), records, info, "gtl"
        )
        claims += any(": better" in text or ": worse" in text for text in judged.sentences)
    assert claims <= 0.05 * 200 + 2 * np.sqrt(0.05 * 0.95 * 200)


def test_diverged_runs_are_named(four):
    records, info = four
    row = {"benchmark": "x", "strategy": "si", "seed": 1, "step": 30, "metric": "diverged"}
    broken = pd.concat([records, pd.DataFrame([row | {"experience": -1, "value": 1.0}])])
    judged = verdict.judge(metrics.scalars(records, info.boundaries), broken, info, "gtl")
    assert "SI diverged in 1 of 5 runs (seed 1 after step 30)" in judged.notes[1]


def test_a_focus_that_cannot_be_judged(four, judge):
    records, info = four
    with pytest.raises(UsageError, match="'slda' is not in this run"):
        verdict.judge(metrics.scalars(records, info.boundaries), records, info, "slda")
    with pytest.raises(UsageError, match="stands alone"):
        judge({"gtl": 0})


def test_text_is_markdown_with_the_headline_first(judge):
    judged = judge({"naive": 0, "gtl": 0.06, "gtl-scalar": 0.06})
    lines = verdict.to_text(judged).splitlines()
    assert lines[0] == f"**{judged.headline}**"
    assert "toy, untuned defaults" in lines[2]
    assert lines[4:6] == [f"- {text}" for text in judged.sentences]
    assert "Holm-corrected over 2 comparisons, gives p ≤ 0.05" in lines[-1]
