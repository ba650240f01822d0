"""The README's numbers are those of the reference records."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from gtl_bench import load_results, stats

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = ROOT / "results" / "reference"


def final(folder: str) -> pd.Series:
    """Final accuracy (%) by strategy and seed, from the records alone."""
    records = load_results(REFERENCE / folder)
    rows = records.query("metric == 'accuracy' and experience == -1 and step == step.max()")
    series = rows.set_index(["strategy", "seed"])["value"] * 100
    assert isinstance(series, pd.Series)
    return series


def test_final_accuracies_and_their_difference() -> None:
    means = final("main-job").groupby("strategy").mean()
    claimed = re.findall(r"([\d.]+) % for (naive|GTL|EWC|SI|the frozen base)\b", figure_text())
    names = {"naive": "naive", "GTL": "gtl", "EWC": "ewc", "SI": "si", "the frozen base": "frozen"}
    assert len(claimed) == 5
    for number, label in claimed:
        assert float(number) == pytest.approx(means[names[label]], abs=0.051)
    [points] = re.findall(r"([\d.]+) points below naive", figure_text())
    assert float(points) == pytest.approx(means["naive"] - means["gtl"], abs=0.051)


def test_matched_comparison() -> None:
    means = final("split-mnist-matched").groupby("strategy").mean()
    [above] = re.findall(r"([\d.]+) points above naive", figure_text())
    assert float(above) == pytest.approx(means["gtl"] - means["naive"], abs=0.051)


def test_interval_of_the_difference() -> None:
    table = final("main-job").unstack("strategy")
    low, high = stats.mean_interval((table["naive"] - table["gtl"]).to_numpy())[1:]
    [(a, b)] = re.findall(r"below naive.*?95 % interval ([\d.]+) to ([\d.]+)", figure_text())
    assert (float(a), float(b)) == pytest.approx((low, high), abs=0.051)


def figure_text() -> str:
    """What the README says of its figure."""
    return README.partition("so everywhere.")[2].partition("\n## ")[0]
