"""Experiments that are no streams, as a run takes strategies through them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtl_bench.data import DataFolder
from gtl_bench.plan import Request, plan
from gtl_bench.recipes import BenchmarkRecipe, discover

RECIPE = Path(__file__)


def benchmark(**given: object) -> BenchmarkRecipe:
    return BenchmarkRecipe("b", "B", lambda: None, {}, RECIPE, given=given)


def test_a_benchmark_gives_defaults_but_not_where_a_strategy_pins_its_own() -> None:
    registry = discover()
    asked = benchmark(lr=0.3, n_scouts=7)
    assert asked.adapted(registry.strategy("naive")).defaults["lr"] == 0.3
    assert "n_scouts" not in asked.adapted(registry.strategy("naive")).defaults
    assert asked.adapted(registry.strategy("gtl")).defaults["n_scouts"] == 7
    assert asked.adapted(registry.strategy("frozen")).defaults["lr"] == 0.0


@pytest.mark.parametrize("asked", ["naive,gtl", ""])
def test_the_benchmark_says_what_a_run_that_names_no_strategies_compares(
    asked: str, tmp_path: Path
) -> None:
    registry = discover()
    registry.add(
        BenchmarkRecipe(
            "b", "B", lambda: None, {}, RECIPE, strategies=("frozen", "naive"), given={"lr": 0.2}
        )
    )
    request = Request("b", tuple(asked.split(",")) if asked else (), seeds=1)
    planned = plan(request, registry, DataFolder(tmp_path, download=False))
    lrs = {cell.strategy: cell.strategy_settings["lr"] for cell in planned.cells}
    assert lrs == ({"naive": 0.2, "gtl": 0.2} if asked else {"frozen": 0.0, "naive": 0.2})
