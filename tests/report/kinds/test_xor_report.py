"""The report of XOR: pooled shares, the claim's sentence, figures that can be read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import STRATEGIES
from test_figures import check_print

from gtl_bench.report.info import Layout, RunInfo, StrategyInfo
from gtl_bench.report.kinds.xor import KIND, claim, pooled, scalars, solved, stalled

DEFAULT = ("naive", "gtl", "gtl-shuffled", "gtl-scalar", "frozen")


def planted(
    stalls: dict[str, float], seeds: int = 5, sizes: int = 4
) -> tuple[pd.DataFrame, RunInfo]:
    """A run in which shares of the networks stall, and all others solve it by step 20."""
    rows = []
    for name, share in stalls.items():
        for seed in range(seeds):
            for size in range(-1, sizes):
                for step, value in ((0, 0.0), (10, (1 - share) / 2), (20, 1 - share)):
                    rows.append((name, seed, step, "accuracy", size, value))
                if size >= 0:
                    rows.append((name, seed, 20, "stalled", size, share))
                    if share < 1:
                        rows.append((name, seed, 20, "steps", size, 15.0))
    columns = ["strategy", "seed", "step", "metric", "experience", "value"]
    records = pd.DataFrame(rows, columns=columns).assign(benchmark="xor")
    labels = {name: STRATEGIES.get(name, (name, False)) for name in stalls}
    info = RunInfo(
        title="xor",
        experiences=("2-2-1", "2-3-1", "2-4-1", "2-8-1")[:sizes],
        boundaries=(20,) * sizes,
        strategies=tuple(StrategyInfo(name, look[0], look[1]) for name, look in labels.items()),
        seeds=seeds,
        chance=0.0,
        regime="default settings",
        kind="xor",
        more={"networks": 100},
    )
    return records, info


def said(records: pd.DataFrame, info: RunInfo) -> str:
    return claim(scalars(records, info), records, info)


def test_scalars_are_those_of_the_first_size() -> None:
    records, info = planted({"naive": 0.1, "frozen": 1.0})
    other = (records["experience"] > 0) & (records["metric"] == "stalled")
    records.loc[other, "value"] = 0.9
    table = scalars(records, info)
    assert table.loc[("naive", 0)].tolist() == [0.9, 0.1, 15.0]
    assert np.isnan(table.loc[("frozen", 4), "steps"])
    assert list(table.columns) == list(KIND.metrics)


def test_shares_are_pooled_over_seeds() -> None:
    records, info = planted({"gtl": 0.0}, seeds=2)
    where = (records["metric"] == "stalled") & (records["experience"] == 1)
    records.loc[where & (records["seed"] == 1), "value"] = 0.07
    share = pooled(records, info, "gtl", 1)
    assert share.mean == pytest.approx(7 / 200)
    # Wilson (1927) by hand: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n).
    z, n, p = 1.959964, 200, 7 / 200
    middle, half = p + z**2 / 2 / n, z * (p * (1 - p) / n + z**2 / 4 / n**2) ** 0.5
    assert share.low == pytest.approx((middle - half) / (1 + z**2 / n), abs=1e-6)
    assert share.high == pytest.approx((middle + half) / (1 + z**2 / n), abs=1e-6)


def test_a_single_stalled_network_is_enough() -> None:
    records, info = planted({"naive": 0.14, "gtl": 0.0, "gtl-scalar": 0.02})
    where = (records["metric"] == "stalled") & (records["strategy"] == "gtl")
    records.loc[where & (records["seed"] == 3), "value"] = 0.01
    text = said(records, info)
    assert "does not hold: of 500 guided 2-2-1 networks 1 stalled, 0.2 %" in text
    assert "without guides 14.0 % (95 % interval 11.2 to 17.3)" in text
    assert "a difference of −13.8 points" in text
    assert "with its mean as a scalar 2.0 %" in text
    assert "shuffled" not in text


def test_none_stalled_comes_with_its_interval_and_those_still_on_their_way() -> None:
    records, info = planted({"naive": 0.1, "gtl": 0.0})
    where = (records["metric"] == "accuracy") & (records["strategy"] == "gtl")
    records.loc[where & (records["step"] == 20), "value"] = 0.75
    text = said(records, info)
    assert "is not contradicted: of 500 guided 2-2-1 networks none stalled, 0.0 %" in text
    assert "interval 0.0 to 0.8" in text
    assert "another 25.0 % had not solved it yet" in text


def test_no_claim_without_guides() -> None:
    assert said(*planted({"naive": 0.1, "frozen": 1.0})) == ""


def test_one_seed_has_no_interval_of_the_difference() -> None:
    assert "points" not in said(*planted({"naive": 0.1, "gtl": 0.2}, seeds=1))


RUNS = {
    "default": (DEFAULT, 5, 4),
    "one seed, one size": (DEFAULT, 1, 1),
    "twelve": ((*tuple(STRATEGIES)[:11], "frozen"), 5, 4),
}


@pytest.mark.parametrize("column", ["single", "double"])
@pytest.mark.parametrize(("names", "seeds", "sizes"), RUNS.values(), ids=RUNS)
def test_figures_can_be_read_and_show_all(
    column: str, names: tuple[str, ...], seeds: int, sizes: int
) -> None:
    shares = {name: (1.0 if name == "frozen" else 0.02 * k) for k, name in enumerate(names)}
    records, info = planted(shares, seeds, sizes)
    for draw, shown in ((solved, names), (stalled, [name for name in names if name != "frozen"])):
        figure = draw(records, info, Layout(column))
        check_print(figure)
        assert len(figure.readings) == len(shown) * sizes
        assert {reading.label for reading in figure.readings} == {
            STRATEGIES[name][0] for name in shown
        }
