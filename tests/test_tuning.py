"""Searches: equal budgets, seeds and images of their own, files that are added to."""

from __future__ import annotations

import dataclasses
import os
import signal
import tomllib
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
from inline import Inline

from gtl_bench.data import DataFolder
from gtl_bench.errors import Interrupted, UsageError
from gtl_bench.plan import TUNING_SEEDS, Request, plan
from gtl_bench.recipes import Choice, discover
from gtl_bench.store import RunFolder, record_metadata
from gtl_bench.tuned import Tuned
from gtl_bench.tuning import _propose, plan_search, tune

SHIPPED = sorted((Path(__file__).parents[1] / "benchmarks" / "tuned").glob("*.toml"))
REGISTRY = discover()


class Counted(Inline):
    """Runs each cell at once; tells how many, and sends this process a signal at one of them."""

    cells = 0
    stop_at = 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        type(self).cells += 1
        if self.cells == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        return super().submit(fn, *args, **kwargs)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    monkeypatch.setattr(Counted, "cells", 0)
    monkeypatch.setattr(Counted, "stop_at", 0)
    return Counted


def search(
    folder: Path,
    strategies: tuple[str, ...],
    executor: type[Executor] = Inline,
    trials: int = 2,
    seeds: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """What a search on a tiny split-digits writes."""
    setup, searches = plan_search(
        "split-digits",
        strategies,
        discover(),
        DataFolder(Path("/nonexistent"), download=False),
        cache_folder=folder.parent / "cache",
    )
    small = {"per_class": 1, "hidden": 8, "epochs": 1}
    setup = dataclasses.replace(setup, settings={**setup.settings, **small})
    run_folder = RunFolder(folder)
    run_folder.prepare()
    path = tune(
        setup, searches, trials=trials, seeds=seeds, folder=run_folder, executor=executor, **more
    )
    return tomllib.loads(path.read_text(encoding="utf-8"))


def trials_of(content: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in content["trial"]:
        found.setdefault(row["strategy"], []).append(row)
    return found


def test_budgets_are_equal_and_of_seeds_and_images_that_no_reported_run_uses(
    tmp_path: Path,
) -> None:
    content = search(tmp_path / "tuning", ("naive", "ewc", "slda", "frozen"), trials=3, seeds=2)
    assert {name: len(rows) for name, rows in trials_of(content).items()} == {
        "naive": 3,
        "ewc": 3,
        "slda": 3,  # frozen has nothing to search
    }
    cells = [record_metadata(path) for path in (tmp_path / "tuning" / "records").glob("*.parquet")]
    spent = {name: sum(c["strategy"] == name for c in cells) for name in content["strategies"]}
    assert spent == {"naive": 6, "ewc": 6, "slda": 6}
    # That the images of this split are others is for tests/contract/test_benchmarks.py.
    assert {cell["benchmark_settings"]["split"] for cell in cells} == {"tune"}
    tuned_on = {cell["seed"] for cell in cells}
    assert tuned_on == set(content["seeds"]) == {TUNING_SEEDS, TUNING_SEEDS + 1}
    none = DataFolder(Path("/nonexistent"), download=False)
    reported = Request("split-digits", ("frozen",), seeds=3)
    cells_of = plan(reported, discover(), none).cells
    assert {cell.seed for cell in cells_of} == {0, 1, 2}
    assert {cell.benchmark_settings["split"] for cell in cells_of} == {"report"}
    with pytest.raises(UsageError, match="between 1 and 10000"):
        plan(dataclasses.replace(reported, seeds=TUNING_SEEDS + 1), discover(), none)


def test_the_first_trial_is_the_defaults_and_the_best_one_wins(tmp_path: Path) -> None:
    content = search(tmp_path / "tuning", ("naive", "ewc"), trials=4)
    for name, rows in trials_of(content).items():
        recipe = REGISTRY.strategy(name)
        values = [{key: row[key] for key in recipe.search} for row in rows]
        assert values[0] == {key: recipe.defaults[key] for key in recipe.search}
        assert len({tuple(value.values()) for value in values}) == 4
        best = max(range(4), key=lambda number: rows[number]["score"])
        assert content["strategies"][name] == values[best]
        assert content["scores"][name] == pytest.approx(rows[best]["score"], abs=5e-5)


def test_an_interrupted_search_goes_on_where_it_was(tmp_path: Path, counted: type[Counted]) -> None:
    whole = search(tmp_path / "whole", ("naive", "ewc"), trials=3)
    counted.stop_at = 4
    with pytest.raises(Interrupted, match="Repeat the command"):
        search(tmp_path / "again", ("naive", "ewc"), counted, trials=3)
    assert not (tmp_path / "again" / "tuned.toml").exists()
    done = counted.cells
    assert done < 6
    assert search(tmp_path / "again", ("naive", "ewc"), counted, trials=3) == whole
    assert counted.cells == 6
    assert search(tmp_path / "again", ("naive", "ewc"), counted, trials=3) == whole
    assert counted.cells == 6


def test_adding_strategies_keeps_what_is_known_of_others(tmp_path: Path) -> None:
    file = tmp_path / "tuned.toml"
    before = search(tmp_path / "first", ("naive", "si"), file=file)
    after = search(tmp_path / "second", ("slda", "si"), file=file)
    assert list(after["strategies"]) == ["naive", "slda", "si"]
    for table in ("strategies", "scores", "spaces"):
        assert after[table]["naive"] == before[table]["naive"]
    assert trials_of(after)["naive"] == trials_of(before)["naive"]
    assert {name: len(rows) for name, rows in trials_of(after).items()} == {
        "naive": 2,
        "slda": 2,
        "si": 2,
    }
    assert [one["strategies"] for one in after["search"]] == [["naive"], ["slda", "si"]]
    assert all({"date", "versions"} < set(one) for one in after["search"])
    known = Tuned.of(REGISTRY.benchmark("split-digits"), file)
    assert known.values(REGISTRY.strategy("naive")) == before["strategies"]["naive"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"trials": 3}, r"holds values of naive, searched with trials = 2, not 3"),
        ({"seeds": 2}, r"searched with seeds = \[10000\], not \[10000, 10001\]"),
    ],
)
def test_another_budget_is_refused_before_anything_is_computed(
    tmp_path: Path, counted: type[Counted], other: dict[str, int], message: str
) -> None:
    file = tmp_path / "tuned.toml"
    search(tmp_path / "first", ("naive",), file=file)
    text = file.read_bytes()
    with pytest.raises(UsageError, match=message):
        search(tmp_path / "second", ("si",), counted, file=file, **other)
    assert (counted.cells, file.read_bytes()) == (0, text)
    # Nothing of the old budget stays where the same strategies are searched again.
    again = search(tmp_path / "third", ("naive",), file=file, **other)
    assert again["trials"] == other.get("trials", 2)


def test_a_file_of_other_images_or_none_at_all_is_not_added_to(
    tmp_path: Path, counted: type[Counted]
) -> None:
    file = tmp_path / "tuned.toml"
    search(tmp_path / "first", ("naive",), file=file)
    good = file.read_text(encoding="utf-8")
    for change, message in (
        (("per_class = 1", "per_class = 2"), "benchmark_settings"),
        (('digits = "', 'digits = "0'), "searched with data"),
        (('benchmark = "split-digits"', 'benchmark = "stream-digits"'), "was tuned on"),
        (("[strategies.naive]", "["), "can't be read"),
    ):
        file.write_text(good.replace(*change), encoding="utf-8")
        with pytest.raises(UsageError, match=message):
            search(tmp_path / "second", ("si",), counted, file=file)
    with pytest.raises(UsageError, match="no folder"):
        search(tmp_path / "second", ("si",), counted, file=tmp_path / "nowhere" / "tuned.toml")
    assert counted.cells == 0


def test_only_what_is_drawn_from_the_seed_needs_no_images_apart() -> None:
    none = DataFolder(Path("/nonexistent"), download=False)
    setup, (searched,) = plan_search("binary-patterns", ("naive",), REGISTRY, none)
    assert "split" not in setup.settings
    assert searched.recipe.name == "naive"
    with pytest.raises(UsageError, match="transfer-matrix sets no images apart for tuning"):
        plan_search("transfer-matrix", ("naive",), REGISTRY, none)


@pytest.mark.filterwarnings("error")
def test_a_default_beyond_the_range_is_tried_first() -> None:
    none = DataFolder(Path("/nonexistent"), download=False)
    _, (searched,) = plan_search("xor", ("naive",), REGISTRY, none)
    assert [_propose(searched, number)[1]["lr"] <= 1.0 for number in range(3)] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_values_are_the_best_of_as_many_trials_for_each_strategy(file: Path) -> None:
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    assert content["benchmark"] == file.stem in REGISTRY.benchmarks
    apart = content["benchmark_settings"].get("split") == "tune"
    assert apart or not REGISTRY.benchmark(content["benchmark"]).data
    assert min(content["seeds"]) >= TUNING_SEEDS
    trials = trials_of(content)
    assert set(trials) == set(content["strategies"])
    assert {name: len(rows) for name, rows in trials.items()} == dict.fromkeys(
        trials, content["trials"]
    )
    assert sorted(name for one in content["search"] for name in one["strategies"]) == sorted(trials)
    for name, rows in trials.items():
        recipe = REGISTRY.strategy(name)
        assert content["spaces"][name] == {k: repr(space) for k, space in recipe.search.items()}
        best = max(rows, key=lambda row: row["score"])
        assert content["scores"][name] == pytest.approx(best["score"], abs=5e-5)
        assert content["strategies"][name] == {key: best[key] for key in recipe.search}
        for row in rows:
            for key, space in recipe.search.items():
                if isinstance(space, Choice):
                    assert row[key] in space.values
                else:
                    assert space.low <= row[key] <= space.high


def test_the_main_jobs_benchmark_and_its_stand_in_ship_tuned_values() -> None:
    assert {"split-mnist", "split-digits"} <= {file.stem for file in SHIPPED}
