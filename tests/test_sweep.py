"""Sweeps: which points there are, that their numbers are those of runs, and the figure."""

from __future__ import annotations

import dataclasses
import itertools
import math
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gtl_bench import Linear, Log
from gtl_bench.data import DataFolder
from gtl_bench.errors import Interrupted, UsageError
from gtl_bench.plan import Request, plan
from gtl_bench.recipes import discover
from gtl_bench.report import style
from gtl_bench.report.info import Layout, StrategyInfo
from gtl_bench.report.sensitivity import Swept, described, saturation, sensitivity, write_sweep
from gtl_bench.runner import Progress, run
from gtl_bench.stats import mean_interval
from gtl_bench.store import RunFolder, read_records
from gtl_bench.sweep import Sweep, ladder, plan_sweep, sweep

SMALL = ("per_class=2", "benchmark.hidden=8", "epochs=1")


def planned(
    tmp_path: Path, strategies: tuple[str, ...] = ("naive", "frozen"), **more: Any
) -> Sweep:
    chosen: dict[str, Any] = {"values": ("0.1", "0.001"), "seeds": 2, "settings": SMALL}
    return plan_sweep(
        "split-digits",
        strategies,
        more.pop("key", "lr"),
        discover(),
        DataFolder(tmp_path / "none"),
        cache_folder=tmp_path / "cache",
        **chosen | more,
    )


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    path = tmp_path / "tuned.toml"
    path.write_text('benchmark = "split-digits"\n[strategies.naive]\nlr = 0.02\n')
    return path


def test_points_are_the_values_and_each_strategys_own(tmp_path: Path, tuned: Path) -> None:
    found = planned(tmp_path, ("naive", "gtl", "frozen"), tuned=tuned)
    points = [(p.recipe.name, p.value, p.tuned) for p in found.points[:6]]
    assert points == [
        ("naive", 0.001, False),
        ("naive", 0.02, True),
        ("naive", 0.1, False),
        ("gtl", 0.001, False),
        ("gtl", 0.01, True),
        ("gtl", 0.1, False),
    ]
    (last,) = found.points[6:]
    assert (last.recipe.name, last.tuned) == ("frozen", True)
    assert math.isnan(last.value)
    for point in found.points:
        assert [cell.seed for cell in point.cells] == [0, 1]
        if not math.isnan(point.value):
            assert {cell.strategy_settings["lr"] for cell in point.cells} == {point.value}
    assert found.logarithmic
    again = planned(tmp_path, ("naive",), tuned=tuned, values=("0.02", "0.020", "2e-2"))
    assert [point.value for point in again.points] == [0.02]


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([Log(1e-3, 3e-1)], [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]),
        ([Log(1e-2, 1e-1), Log(2e-3, 5e-2)], [0.003, 0.01, 0.03, 0.1]),
        ([Log(1e0, 1e5)], [1, 3, 10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000]),
        ([Linear(0.5, 1.0)], [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
    ],
)
def test_the_ladder_spans_what_is_searched(ranges: list[Any], expected: list[float]) -> None:
    assert ladder(ranges) == expected


def test_without_values_the_ladder_is_used(tmp_path: Path, tuned: Path) -> None:
    found = planned(tmp_path, ("ewc",), key="decay", values=(), tuned=tuned)
    assert [point.value for point in found.points] == [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert not found.logarithmic


@pytest.mark.parametrize(
    ("key", "values", "expected", "logarithmic"),
    [
        ("n_scouts", ("5", "120"), [5, 40, 120], True),
        ("n_classes", ("2", "5"), [2, 3, 5], False),
        ("scout_examples", ("9",), [0, 9], False),
    ],
)
def test_what_no_strategy_searches_can_be_swept_too(
    tmp_path: Path, key: str, values: tuple[str, ...], expected: list[int], logarithmic: bool
) -> None:
    found = planned(tmp_path, ("naive", "gtl"), key=key, values=values, tuned=None)
    naive, *gtl = found.points
    assert math.isnan(naive.value)
    assert [point.value for point in gtl] == expected
    assert [point.cells[0].strategy_settings[key] for point in gtl] == expected
    assert found.logarithmic == logarithmic


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"key": "speed"}, "--over speed: none of these strategies has it as a number"),
        ({"strategies": ("frozen",)}, "they search nothing"),
        ({"strategies": ("gtl",), "key": "measure"}, "has it as a number"),
        ({"strategies": ("gtl",), "key": "n_scouts", "values": ()}, "name values with --values"),
        ({"strategies": ("gtl",), "key": "n_scouts", "values": ("2.5",)}, "expected a whole"),
        ({"values": ("fast",)}, "naive.lr=fast: expected a number"),
        ({"values": ("-1",)}, "0 or more"),
        ({"settings": ("per_class",)}, "write benchmark.KEY=VALUE"),
        ({"strategies": ("naiv",)}, "did you mean 'naive'"),
        ({"strategies": ("nowhere.py",)}, "nowhere.py"),
    ],
)
def test_wrong_usage(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        planned(tmp_path, **more)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path: Path, inline: Any) -> None:
    found = planned(tmp_path)
    folder = RunFolder(tmp_path / "sweep")
    folder.prepare()

    def interrupt(progress: Progress) -> None:
        if progress.done == 3 and not progress.stopped:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="Repeat the command"):
        sweep(found, folder, inline, interrupt)
    before = {path: path.stat().st_mtime_ns for path in folder.records.iterdir()}
    assert 1 <= len(before) < 8
    assert len(sweep(found, folder, inline)) == 8
    after = {path: path.stat().st_mtime_ns for path in folder.records.iterdir()}
    assert before.items() <= after.items()


def test_numbers_are_those_of_a_run_and_are_computed_once(tmp_path: Path, inline: Any) -> None:
    found = planned(tmp_path)
    folder = RunFolder(tmp_path / "sweep")
    folder.prepare()
    told: list[Progress] = []

    def tell(progress: Progress) -> None:
        told.append(dataclasses.replace(progress))

    results = sweep(found, folder, inline, tell)
    assert told[-1].done == told[-1].total == 8
    assert len(results) == 8

    request = Request(
        "split-digits",
        ("naive", "frozen"),
        seeds=2,
        settings=tuple(f"benchmark.{text.removeprefix('benchmark.')}" for text in SMALL),
        matched=("lr=0.1",),
        cache_folder=tmp_path / "cache",
    )
    as_run = RunFolder(tmp_path / "run")
    as_run.prepare()
    wanted = plan(request, discover(), DataFolder(tmp_path / "none"))
    run(wanted, as_run, inline)
    for cell in wanted.cells:
        records = read_records([as_run.finished()[cell.key]])
        rows = records.query("metric == 'accuracy' and experience == -1 and step == step.max()")
        mine = results[(results["strategy"] == cell.strategy) & (results["seed"] == cell.seed)]
        if cell.strategy == "naive":
            mine = mine[mine["value"] == 0.1]
        assert mine["final_accuracy"].item() == rows["value"].item()

    before = {path: path.stat().st_mtime_ns for path in folder.records.iterdir()}
    again = sweep(found, folder, inline, tell)
    assert told[-1].reused == 8
    assert {path: path.stat().st_mtime_ns for path in folder.records.iterdir()} == before
    pd.testing.assert_frame_equal(again, results)

    written = write_sweep(found, results, folder, saturation(found, results))
    assert {path.name for path in written} == {"sweep.csv", "sensitivity.pdf", "sensitivity.png"}
    table = pd.read_csv(folder.path / "tables" / "sweep.csv")
    pd.testing.assert_frame_equal(table, results)


def of_gains(
    gains: dict[float, float], seeds: int, key: str = "n_scouts", naive: float = math.nan
) -> tuple[Sweep, pd.DataFrame]:
    """GTL this far above a naive of 50 % at each value, each seed a little off its own way."""
    finals = {("naive", naive): 0.5} | {("gtl", value): 0.5 + g for value, g in gains.items()}
    rows = [
        (name, value, False, seed, final + 0.002 * number * (seed - (seeds - 1) / 2))
        for number, ((name, value), final) in enumerate(finals.items())
        for seed in range(seeds)
    ]
    columns = ["strategy", "value", "tuned", "seed", "final_accuracy"]
    recipes = tuple(discover().strategy(name) for name in ("naive", "gtl"))
    setup: Any = SimpleNamespace(title="toy")
    planned = Sweep(setup, key, recipes, (), True, "tuned")
    return planned, pd.DataFrame(rows, columns=columns)


def test_what_more_scouts_make_of_the_gain() -> None:
    assert saturation(*of_gains({5: 0.02, 40: 0.1, 120: 0.06}, seeds=8)) == (
        "With n_scouts=5 the gain of GTL over Naive is +2.0 points, 95 % interval +1.6 to +2.4, "
        "8 seeds; with n_scouts=120 it is +6.0 points, 95 % interval +4.8 to +7.2, 8 seeds. That "
        "the two differ is shown: difference +4.0 points, 95 % interval +3.2 to +4.8, 8 seeds."
    )


@pytest.mark.parametrize(
    ("highest", "seeds", "words"),
    [
        (0.02, 8, "is not shown: difference 0.0 points, 95 % interval −0.4 to +0.4, 8 seeds."),
        (0.01, 8, "is shown: difference −1.0 points"),
        (0.06, 5, "is not told at 5 seeds: difference +4.0 points, 95 % interval +3.6 to +4.4"),
        (0.06, 1, "is not told at 1 seed: difference +4.0 points, 1 seed."),
    ],
)
def test_a_difference_is_claimed_as_in_a_verdict(highest: float, seeds: int, words: str) -> None:
    assert words in saturation(*of_gains({5: 0.02, 120: highest}, seeds))


def test_no_sentence_where_there_is_no_such_gain() -> None:
    assert saturation(*of_gains({0.01: 0.02, 0.1: 0.06}, 8, "lr", naive=0.01)) == ""
    assert saturation(*of_gains({40: 0.02}, 8)) == ""
    planned, results = of_gains({5: 0.02, 120: 0.06}, 8)
    for name in ("naive", "gtl"):
        assert saturation(planned, results[results["strategy"] == name]) == ""


def made_up(names: list[str], values: list[float], seeds: int = 4) -> Swept:
    rng = np.random.default_rng(0)
    rows = []
    for number, name in enumerate(names):
        own = 0.02
        for value in [math.nan] if name == "frozen" else sorted({*values, own}):
            used = value == own or name == "frozen"
            finals = rng.uniform(0.4, 0.6, seeds) + number / 50
            rows += [(name, value, used, seed, final) for seed, final in enumerate(finals)]
    results = pd.DataFrame(rows, columns=["strategy", "value", "tuned", "seed", "final_accuracy"])
    strategies = tuple(StrategyInfo(name, name.upper()) for name in names)
    regime = "tuned by equal-budget search"
    return Swept(results, strategies, "toy", "Final accuracy", "lr", True, 0.1, regime)


def test_the_figure_is_named_by_the_score_of_its_kind(tmp_path: Path, inline: Any) -> None:
    small = ("networks=2", "steps=40", "hidden=2")
    found = plan_sweep(
        "xor",
        ("naive",),
        "lr",
        discover(),
        DataFolder(tmp_path / "none"),
        values=("1",),
        seeds=2,
        settings=small,
        cache_folder=tmp_path / "cache",
    )
    folder = RunFolder(tmp_path / "sweep")
    folder.prepare()
    swept = described(found, sweep(found, folder, inline), folder)
    for layout in (Layout(), Layout("double")):
        sheet = sensitivity(swept, layout)
        assert sheet.axes[0].get_ylabel() == "Solved (%)"
        assert "Solved by lr" in " ".join(text.get_text() for text in sheet.texts)


NAMES = ["naive", "ewc", "frozen"]
MANY = ["naive", "ewc", "frozen", "gtl", "si", "mas", "lwf", "replay", "joint", "ncm"]


def test_figure_shows_means_bands_and_the_value_of_a_run() -> None:
    swept = made_up(NAMES, [0.001, 0.1])
    sheet = sensitivity(swept)
    (ax,) = sheet.axes
    look = style.looks(swept.strategies)
    for name in ("naive", "ewc"):
        rows = swept.results[swept.results["strategy"] == name]
        finals = rows.groupby("value")["final_accuracy"]
        bands = {value: mean_interval(100 * group.to_numpy()) for value, group in finals}
        line, dot = [one for one in ax.lines if one.get_color() == look[name].colour]
        assert line.get_xdata().tolist() == [0.001, 0.02, 0.1]
        assert line.get_ydata() == pytest.approx([bands[v].mean for v in (0.001, 0.02, 0.1)])
        assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (0.02, pytest.approx(bands[0.02].mean))
    (level,) = [one for one in ax.lines if one.get_color() == look["frozen"].colour]
    assert level.get_xdata().tolist() == [0.001, 0.1]
    assert len(set(level.get_ydata())) == 1
    assert ax.get_xscale() == "log"
    written = " ".join(text.get_text() for text in sheet.texts)
    assert "Final accuracy by lr" in written
    assert ax.get_ylabel() == "Final accuracy (%)"
    assert "over 4 seeds; tuned by equal-budget search" in written


@pytest.mark.parametrize("names", [NAMES, MANY])
@pytest.mark.parametrize("values", [[1e-5, 1e-3, 0.1, 1.0], [0.001, 0.1]])
@pytest.mark.parametrize("layout", [Layout(), Layout("double")])
def test_everything_fits_onto_the_page(
    names: list[str], values: list[float], layout: Layout
) -> None:
    sheet = sensitivity(made_up(names, values), layout)
    assert len(sheet.axes) == (1 if names is NAMES else len(MANY))
    with style.rc():
        sheet.canvas.draw()
        texts = [*sheet.texts, *(ax._left_title for ax in sheet.axes)]
        marks = []
        for ax in sheet.axes:
            low, high = ax.get_xlim()
            ticks = [
                tick.label1 for tick in ax.xaxis.get_major_ticks() if low <= tick.get_loc() <= high
            ]
            marks += [label for label in ticks if label.get_visible()]
        for one, other in itertools.combinations(marks, 2):
            assert not one.get_window_extent().overlaps(other.get_window_extent()), (one, other)
        for text in [*texts, *marks]:
            box = text.get_window_extent()
            assert text.get_fontsize() >= 6
            assert -1 <= box.x0 <= box.x1 <= sheet.bbox.width + 1, text
            assert "mathdefault" not in text.get_text()


def test_a_single_seed_is_not_called_a_mean() -> None:
    sheet = sensitivity(made_up(NAMES, [0.1], seeds=1))
    assert "; 1 seed;" in " ".join(text.get_text() for text in sheet.texts)
