"""Several runs in one report."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import as_run

from gtl_bench import stats
from gtl_bench.errors import UsageError
from gtl_bench.report import Layout, style, tables
from gtl_bench.report.benchmarks import benchmarks
from gtl_bench.report.run import Options, Run
from gtl_bench.report.several import compare, summary, summary_table
from gtl_bench.report.together import report_runs
from gtl_bench.store import RunFolder


def planted(make_run, title: str, finals: dict[str, float], seeds: int = 8, **changes) -> Run:
    """A run of that benchmark in which each strategy's final accuracy is about as given."""
    records, info = make_run(tuple(finals), seeds=seeds, experiences=1, each=5)
    run = as_run(records, replace(info, title=title, **changes))
    rng = np.random.default_rng(len(title))
    base = rng.normal(0, 0.01, seeds)
    for name, value in finals.items():
        noise = rng.normal(0, 0.001, seeds)
        run.scalars.loc[name, "final_accuracy"] = value + base + noise
    return run


class Folder(RunFolder):
    """A folder whose run is in memory."""

    def __init__(self, run: Run, path: str = "here") -> None:
        super().__init__(Path(path))
        self.run = run


@pytest.fixture
def three(make_run, monkeypatch) -> list[Folder]:
    monkeypatch.setattr("gtl_bench.report.several.load_run", lambda folder: folder.run)
    return [
        Folder(planted(make_run, "a", {"naive": 0.5, "gtl": 0.6, "ewc": 0.55, "joint": 0.9})),
        Folder(planted(make_run, "b", {"naive": 0.4, "ewc": 0.6, "gtl": 0.5, "joint": 0.9})),
        Folder(planted(make_run, "c", {"gtl": 0.7, "naive": 0.2, "ewc": 0.3, "si": 0.8})),
    ]


def test_strategies_are_ranked_by_their_means_where_all_runs_have_them(three):
    compared = compare(three)
    assert [s.name for s in compared.strategies] == ["naive", "gtl", "ewc", "joint", "si"]
    # Ranks of naive, gtl, ewc: 3, 1, 2 on a; 3, 2, 1 on b; 3, 1, 2 on c.
    assert compared.ranks.mean == pytest.approx({"naive": 3, "gtl": 4 / 3, "ewc": 5 / 3})
    assert compared.ranks.benchmarks == 3
    assert compared.ranks.critical == stats.critical_difference(3, 3)


def test_table_of_strategies_and_benchmarks(three):
    table = summary_table(compare(three))
    assert table.header == ("Strategy", "a", "b", "c", "Mean rank ↓")
    rows = {row[0]: row for row in table.rows}
    interval = stats.mean_interval(
        100 * three[0].run.scalars.loc["gtl", "final_accuracy"].to_numpy()
    )
    assert rows["GTL"][1] == f"{interval.mean:.1f} ± {interval.high - interval.mean:.1f}"
    assert rows["GTL"][4] == "1.33"
    assert rows["SI"] == ("SI", "–", "–", rows["SI"][3], "–")
    assert rows["Joint"][4] == "–"
    bold = {(table.rows[line][0], table.header[column]) for line, column in table.bold}
    assert bold == {("GTL", "a"), ("EWC", "b"), ("SI", "c")}
    notes = " ".join(table.notes)
    assert f"Critical difference {stats.critical_difference(3, 3):.2f}" in notes
    assert "a: default settings, 8 seeds" in table.caption


def test_few_benchmarks_tell_nothing_apart_and_this_is_said(three):
    assert stats.critical_difference(3, 2) > 2
    notes = " ".join(summary_table(compare(three[:2])).notes)
    assert "With so few benchmarks no two mean ranks can lie that far apart" in notes
    assert "With so few" not in " ".join(summary_table(compare(three)).notes)


def test_runs_of_one_benchmark_are_not_ranked(three, make_run):
    tuned = planted(make_run, "a", {"naive": 0.5, "gtl": 0.6}, regime="tuned")
    compared = compare([three[0], Folder(tuned)])
    assert compared.ranks is None
    assert list(compared.runs) == ["a, default settings", "a, tuned"]
    table = summary_table(compared)
    assert "Mean rank ↓" not in table.header
    assert any(note.startswith("No mean ranks") for note in table.notes)
    again = compare([three[0], Folder(three[0].run, "there")])
    assert list(again.runs) == ["a, default settings (here)", "a, default settings (there)"]


def test_too_few_seeds_in_one_of_the_runs_are_said(three, make_run):
    few = Folder(planted(make_run, "d", {"naive": 0.5, "gtl": 0.6}, seeds=3))
    notes = " ".join(summary_table(compare([three[0], few])).notes)
    assert "where there are too few seeds for the test, the best alone" in notes
    alone = " ".join(summary_table(compare([few, Folder(few.run, "there")])).notes)
    assert "3 seeds cannot tell the others from it" in alone


def test_numbers_are_those_of_each_run(three):
    compared = compare(three)
    numbers = summary(compared)
    for title, run in compared.runs.items():
        alone = tables.summary(run.scalars, run.info)
        pd.testing.assert_frame_equal(numbers.loc[title].drop(columns="mean_rank"), alone)
    assert numbers.loc[("b", "ewc"), "mean_rank"] == pytest.approx(5 / 3)
    assert np.isnan(numbers.loc[("b", "joint"), "mean_rank"])


@pytest.mark.parametrize("layout", [Layout(), Layout("double"), Layout("single", "slides")])
def test_figure_shows_means_intervals_and_ranks(three, layout):
    compared = compare(three)
    sheet = benchmarks(compared, layout)
    *panels, ranks = sheet.axes
    for ax, run in zip(panels, compared.runs.values(), strict=True):
        rows = [s.name for s in compared.strategies]
        for name in run.scalars.index.unique("strategy"):
            band = stats.mean_interval(100 * run.scalars.loc[name, "final_accuracy"].to_numpy())
            drawn = [line for line in ax.lines if set(line.get_ydata()) == {rows.index(name)}]
            dots = [line.get_xdata()[0] for line in drawn if line.get_marker() == "o"]
            assert dots == pytest.approx([band.mean])
            spans = [list(line.get_xdata()) for line in drawn if line.get_marker() == "None"]
            assert [pytest.approx([band.low, band.high])] == [s for s in spans if s != [0, 1]]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == [
        s.label for s in compared.strategies
    ]
    (line,) = [line for line in ranks.lines if set(line.get_ydata()) == {-0.8}]
    best = min(compared.ranks.mean.values())
    assert list(line.get_xdata()) == pytest.approx([best, min(best + compared.ranks.critical, 3)])
    with style.rc(sheet.scale):
        sheet.canvas.draw()
        texts = [text for ax in sheet.axes for text in (ax._left_title, *ax.texts)] + sheet.texts
    assert sheet.get_figwidth() == pytest.approx(layout.width * layout.scale)
    for text in texts:
        box = text.get_window_extent()
        assert 0 <= box.x0 <= box.x1 <= sheet.bbox.width + 1
        assert 0 <= box.y0 <= box.y1 <= sheet.bbox.height + 1


def test_report_writes_figure_tables_verdicts_and_page(three, tmp_path):
    verdicts, _ = report_runs(three, tmp_path, Options(formats=("svg",)))
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    endings = ("csv", "md", "tex", "html")
    assert names == {
        "index.html",
        "figures/benchmarks.svg",
        "tables/verdict.md",
        *(f"tables/benchmarks.{ending}" for ending in endings),
    }
    assert [judged.headline for judged in verdicts] == [
        f"{title}: GTL is better than Naive; a smaller step is not ruled out, for want of a scalar "
        "control."
        for title in ("a", "b", "c")
    ]
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert text.count('<p class="headline">') == 3
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(set(ids)) == len(ids)
    assert {"benchmarks", "summary-1", "settings-3"} <= set(ids)


def test_a_focus_that_no_run_has_is_refused(three, tmp_path):
    with pytest.raises(UsageError, match="'slda' is not in this run"):
        report_runs(three, tmp_path, Options(focus="slda"))
    verdicts, _ = report_runs(three, tmp_path, Options(formats=(), focus="si"))
    assert len(verdicts) == 1
