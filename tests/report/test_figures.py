"""Figures: what they show, and that they can be printed."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_pgf import LatexManager
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from gtl_bench import metrics, stats
from gtl_bench.errors import DataError, UsageError
from gtl_bench.reference import STRATEGIES
from gtl_bench.report import Layout, StrategyInfo, figures, style
from gtl_bench.report.sheet import fit_ticks, save, spread_out
from gtl_bench.report.writing import replace_file

LATEX_WITH_PGF = (
    shutil.which("pdflatex") is not None
    and subprocess.run(["kpsewhich", "pgf.sty"], capture_output=True, check=False).returncode == 0
)
KINDS = [figures.accuracy, figures.retention, figures.forgetting, figures.accuracy_matrix]
SEVERAL = {
    "four": {},
    "eight": {"names": ("naive", "ewc", "si", "gtl", "gtl-scalar", "frozen", "ncm", "my_method")},
    "eighteen": {},
    "single seed, single experience": {"seeds": 1, "experiences": 1, "each": 60},
    "four experiences": {"experiences": 4},
    "twenty experiences": {"seeds": 2, "experiences": 20, "each": 4},
    "a very long label": {"names": ("naive", "a-strategy-whose-name-is-far-too-long-for-a-figure")},
}


@pytest.fixture(scope="module", params=SEVERAL)
def run(request, make_run, four, eighteen):
    if request.param in ("four", "eighteen"):
        return {"four": four, "eighteen": eighteen}[request.param]
    return make_run(**SEVERAL[request.param])


def texts(figure: Figure) -> Iterator[Text]:
    """All that is written in a figure; ticks outside an axis' range are not."""
    yield from figure.texts
    for ax in figure.axes:
        yield from (ax.title, ax._left_title, ax._right_title, *ax.texts)
        for axis in (ax.xaxis, ax.yaxis):
            yield axis.label
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if tick.label1.get_visible() and low <= tick.get_loc() <= high:
                    yield tick.label1


def boxes(figure: Figure) -> dict[Text, Bbox]:
    renderer = figure.canvas.get_renderer()
    written = [text for text in texts(figure) if text.get_text() and text.get_visible()]
    return {text: text.get_window_extent(renderer) for text in written}


def overlap(one: Bbox, other: Bbox) -> float:
    """Area that two boxes share, in square pixels."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(width, 0) * max(height, 0)


def check_print(figure: Figure) -> None:
    """Everything written is inside the page, large enough, and covers nothing else written."""
    with style.rc(figure.scale):
        figure.canvas.draw()
        written = boxes(figure)
    assert figure.get_figheight() < 9  # a page
    assert {text.get_fontname() for text in written} == {"DejaVu Sans"}
    assert min(text.get_fontsize() for text in written) >= 6
    page = figure.bbox.padded(1)
    for text, box in written.items():
        inside = Bbox.intersection(page, box)
        assert inside is not None, text
        assert inside.bounds == pytest.approx(box.bounds), text
    for (one, box), (other, other_box) in itertools.combinations(written.items(), 2):
        # The extent of a text holds some air above and below its letters.
        assert overlap(box, other_box) < 0.1 * min(box.width * box.height, 400), (one, other)


@pytest.mark.parametrize("draw", KINDS)
def test_everything_can_be_read_in_one_column(draw, run):
    figure = draw(*run)
    assert figure.get_figwidth() == 3.25
    check_print(figure)


@pytest.mark.parametrize("draw", KINDS)
def test_everything_can_be_read_in_two_columns(draw, four, eighteen):
    for run in (four, eighteen):
        figure = draw(*run, Layout("double"))
        assert figure.get_figwidth() == 6.75
        check_print(figure)


@pytest.mark.parametrize("draw", KINDS)
def test_titles_name_the_benchmark_the_seeds_and_the_regime(draw, four):
    written = " ".join(text.get_text() for text in draw(*four).texts)
    assert "split-digits (stand-in for split-mnist)" in written
    assert "over 5 seeds" in written
    assert "default settings" in written


def test_a_single_seed_is_not_called_a_mean(make_run):
    records, info = make_run(seeds=1)
    written = " ".join(text.get_text() for text in figures.accuracy(records, info).texts)
    assert "; 1 seed; default settings" in written


@pytest.mark.parametrize("draw", KINDS[:3])
def test_labels_and_keys_never_cover_data(draw, four, make_run):
    for run in (four, make_run(experiences=4)):  # the key in a free cell, and below
        figure = draw(*run)
        with style.rc(figure.scale):
            figure.canvas.draw()
            written = boxes(figure)
        for text, box in written.items():
            assert not any(overlap(box, ax.bbox) > 1 for ax in figure.axes), text


def lines(ax: Axes) -> dict[str, np.ndarray]:
    """The data lines of an axes by colour: those that have a point for each step."""
    return {line.get_color(): line.get_xydata() for line in ax.lines if len(line.get_xdata()) > 2}


def test_accuracy_shows_means_bands_boundaries_and_chance(four):
    records, info = four
    (ax,) = figures.accuracy(records, info).axes
    drawn = lines(ax)
    look = style.looks(info.strategies)
    assert len(drawn) == 4
    for strategy in info.strategies:
        cells = metrics.curves(records, "accuracy").loc[strategy.name].to_numpy()
        x, y = drawn[look[strategy.name].colour].T
        assert x.tolist() == list(range(201))
        assert y == pytest.approx(100 * cells.mean(axis=0))
    ewc = metrics.curves(records, "accuracy").loc["ewc"].to_numpy()
    band = next(
        c for c in ax.collections if to_rgb(look["ewc"].colour) == tuple(c.get_facecolor()[0][:3])
    )
    outline = band.get_paths()[0].vertices
    interval = stats.mean_interval(100 * ewc[:, 150])
    heights = outline[outline[:, 0] == 150, 1]
    assert sorted({round(h, 6) for h in heights}) == pytest.approx(
        [interval.low, interval.high], abs=1e-5
    )
    straight = [line.get_xydata() for line in ax.lines if len(line.get_xdata()) == 2]
    assert sorted(points[0, 0] for points in straight if points[0, 0] == points[1, 0]) == [
        40,
        80,
        120,
        160,
    ]
    assert [points[0, 1] for points in straight if points[0, 1] == points[1, 1]] == [10]
    assert [text.get_text() for text in ax.texts] == list(info.experiences)
    assert ax.get_ylabel() == "Test accuracy (%)"
    assert ax.get_xlabel() == "Examples seen"


def test_direct_labels_stand_in_the_order_in_which_the_lines_end(four):
    records, info = four
    figure = figures.accuracy(records, info)
    ends = metrics.curves(records, "accuracy")[200].groupby("strategy").mean()
    expected = [strategy.label for strategy in sorted(info.strategies, key=lambda s: ends[s.name])]
    labels = {text.get_text(): text.get_position()[1] for text in figure.texts}
    assert sorted(expected, key=lambda label: labels[label]) == expected
    assert labels["chance"] < labels[expected[0]]


def test_retention_stops_where_a_quarter_of_the_examples_is_that_old(four):
    (ax,) = figures.retention(*four).axes
    assert {line[-1, 0] for line in lines(ax).values()} == {150}
    assert ax.get_xlabel() == "Age (examples)"


def test_forgetting_has_a_panel_an_experience_with_its_own_time_shaded(four):
    records, info = four
    axes = figures.forgetting(records, info).axes
    assert [ax.get_title(loc="left") for ax in axes] == [
        f"Experience {e}" for e in info.experiences
    ]
    gtl = style.looks(info.strategies)["gtl"].colour
    for j, ax in enumerate(axes):
        (shade,) = ax.patches
        assert (shade.get_x(), shade.get_width()) == (40 * j, 40)
        cells = metrics.curves(records, "accuracy", j).loc["gtl"].to_numpy()
        assert lines(ax)[gtl][:, 1] == pytest.approx(100 * cells.mean(axis=0))


def test_many_strategies_get_a_row_each_in_the_forgetting_panels(eighteen):
    records, info = eighteen
    figure = figures.forgetting(records, info)
    panels = [ax for ax in figure.axes if ax.images]
    assert len(panels) == 5
    for j, ax in enumerate(panels):
        shown = ax.images[0].get_array()
        means = metrics.curves(records, "accuracy", j).groupby("strategy").mean()
        expected = 100 * means.loc[[s.name for s in info.strategies]].to_numpy()
        assert np.asarray(shown) == pytest.approx(expected)


def test_many_strategies_get_a_panel_each(eighteen):
    records, info = eighteen
    axes = figures.accuracy(records, info).axes
    look = style.looks(info.strategies)
    assert [ax.get_title(loc="left").replace("\n", " ") for ax in axes] == [
        s.label for s in info.strategies
    ]
    for ax, strategy in zip(axes, info.strategies, strict=True):
        assert len([line for line in ax.lines if line.get_color() == "0.8"]) == 18
        cells = metrics.curves(records, "accuracy").loc[strategy.name].to_numpy()
        assert lines(ax)[look[strategy.name].colour][:, 1] == pytest.approx(
            100 * cells.mean(axis=0)
        )


def test_heat_maps_hold_the_accuracy_matrices(four):
    records, info = four
    axes = figures.accuracy_matrix(records, info).axes
    for ax, strategy in zip(axes, info.strategies, strict=True):
        states = [0, *info.boundaries]
        expected = [
            [
                100 * metrics.curves(records, "accuracy", j).loc[strategy.name][t].mean()
                for j in range(5)
            ]
            for t in states
        ]
        assert ax.get_title(loc="left") == strategy.label
        assert np.asarray(ax.collections[0].get_array()) == pytest.approx(np.array(expected))
        numbers = [text.get_text() for text in ax.texts]
        assert numbers == [f"{value:.0f}" for value in np.ravel(expected)]
        framed = {patch.get_xy() for patch in ax.patches}
        assert framed == {(j, j + 1) for j in range(5)}  # experience j is learned in row j + 1


def test_missing_strategies_and_seeds_are_said(make_run):
    records, info = make_run()
    partial = records[
        (records["strategy"] != "si") & ~((records["strategy"] == "gtl") & (records["seed"] > 2))
    ]
    figure = figures.accuracy(partial, info)
    written = " ".join(text.get_text() for text in figure.texts)
    assert "over 5 seeds (SI 0 of 5, GTL 3 of 5)" in written
    assert len(lines(figure.axes[0])) == 3


def test_incomplete_records_are_refused(four):
    records, info = four
    with pytest.raises(DataError, match="lacks 1 of 201"):
        figures.accuracy(records.drop(records.index[7]), info)


def luminance(colour: str) -> float:
    return float(np.dot(to_rgb(colour), (0.2126, 0.7152, 0.0722)))


def test_known_strategies_can_be_told_apart_in_colour_and_in_grey(eighteen):
    looks = style.looks(eighteen[1].strategies)
    assert len({look.dashes for look in looks.values()}) == 18
    assert len({look.colour for look in looks.values()}) >= 15
    for look in looks.values():
        assert luminance(look.colour) < 0.7  # dark enough for white paper
    default = [luminance(looks[name].colour) for name in ("naive", "gtl", "si", "ewc")]
    assert np.diff(default).min() > 0.05


def test_every_strategy_of_the_study_has_a_look_of_its_own():
    assert set(STRATEGIES) <= set(style._KNOWN)
    rhythms = [dashes for _, dashes in style._KNOWN.values()]
    assert len(set(rhythms)) == len(rhythms)
    assert set(rhythms).isdisjoint(dashes for _, dashes in style._SPARE)


def test_a_strategy_looks_the_same_in_every_run():
    def look_of(name, *others):
        return style.looks([StrategyInfo(n, n) for n in (*others, name)])[name]

    assert look_of("gtl") == look_of("gtl", "naive", "my_method")
    assert look_of("my_method") == look_of("my_method", "naive", "gtl", "ewc")
    known = {style.looks([StrategyInfo(n, n)])[n] for n in style._KNOWN}
    assert look_of("my_method") not in known


def test_unknown_strategies_never_share_a_look():
    names = [f"method-{i}" for i in range(25)]
    looks = style.looks([StrategyInfo(name, name) for name in names])
    assert len({(look.colour, look.dashes) for look in looks.values()}) == 25
    with pytest.raises(ValueError, match="no more than 25"):
        style.looks([StrategyInfo(name, name) for name in [*names, "one-more"]])


def test_controls_are_thinner():
    looks = style.looks([StrategyInfo("gtl", "GTL"), StrategyInfo("frozen", "Frozen", True)])
    assert looks["frozen"].width < looks["gtl"].width


def test_global_settings_stay_as_they_are(four):
    before = dict(mpl.rcParams)
    figures.accuracy(*four)
    assert dict(mpl.rcParams) == before


def test_pdf_fonts_are_embedded_truetype(four, tmp_path):
    for draw in KINDS:
        save(draw(*four), tmp_path / "figure.pdf", "pdf")
        content = (tmp_path / "figure.pdf").read_bytes()
        assert b"/Type3" not in content
        fonts = len(re.findall(rb"/Subtype /CIDFontType2", content))
        assert fonts == len(re.findall(rb"/FontFile2", content)) > 0
        assert b"/CreationDate" not in content


@pytest.mark.parametrize("draw", KINDS)
def test_slides_are_the_same_figure_drawn_larger(draw, four):
    on_paper, on_slides = draw(*four), draw(*four, Layout(medium="slides"))
    written = []
    for figure in (on_paper, on_slides):
        with style.rc(figure.scale):
            figure.canvas.draw()
            written.append(list(texts(figure)))
    assert on_slides.get_figwidth() == 3 * 3.25
    for one, other in zip(*written, strict=True):
        assert other.get_text() == one.get_text()
        assert other.get_fontsize() == 3 * one.get_fontsize()
        assert other.get_window_extent().x0 == pytest.approx(3 * one.get_window_extent().x0, abs=6)
    for one, other in zip(on_paper.axes, on_slides.axes, strict=True):
        assert np.allclose(one.get_position().bounds, other.get_position().bounds)
        for line, larger in zip(one.lines, other.lines, strict=True):
            assert larger.get_linewidth() == pytest.approx(3 * line.get_linewidth())
    assert draw(*four, Layout("double", "slides")).get_figwidth() < 13.34  # a slide


@pytest.mark.skipif(not LATEX_WITH_PGF, reason="pdflatex with the package pgf is not there")
def test_pgf_compiles_in_a_document(eighteen, make_run, tmp_path):
    awkward = make_run(("naive", "my_method", "gtl", "ewc"))
    for draw, run in ((figures.accuracy, awkward), (figures.forgetting, eighteen)):
        write = partial(save, draw(*run), file_format="pgf")
        written = replace_file(tmp_path / f"{draw.__name__}.pgf", write)
    assert len(written) > 1  # heat maps are images of their own
    source = (
        "\\documentclass{article}\\usepackage{pgf}\\begin{document}"
        "\\input{accuracy.pgf}\\clearpage\\input{forgetting.pgf}\\end{document}\n"
    )
    (tmp_path / "t.tex").write_text(source)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_pgf_without_latex_is_one_line(four, tmp_path, monkeypatch):
    LatexManager._get_cached_or_new_impl.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="--format pgf needs pdflatex") as caught:
        save(figures.accuracy(*four), tmp_path / "figure.pgf", "pgf")
    assert "\n" not in str(caught.value)


def test_dollars_in_a_label_are_no_formula(four, tmp_path):
    records, info = four
    strategies = tuple(replace(s, label="$\\x$ % & _") for s in info.strategies)
    for draw in KINDS:
        save(draw(records, replace(info, strategies=strategies)), tmp_path / "f.svg", "svg")


DRAW = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from conftest import made_up
from gtl_bench.report import figures
from gtl_bench.report.sheet import save
figure = figures.accuracy(*made_up())
for name in ("pdf", "png", "svg"):
    save(figure, Path(sys.argv[2]) / f"figure.{name}", name)
"""


def test_files_are_the_same_to_the_last_byte_in_another_process(four, tmp_path):
    figure = figures.accuracy(*four)
    here = Path(__file__).parent
    subprocess.run([sys.executable, "-c", DRAW, here, tmp_path], check=True)
    for name in ("pdf", "png", "svg"):
        save(figure, tmp_path / f"again.{name}", name)
        assert (tmp_path / f"again.{name}").read_bytes() == (
            tmp_path / f"figure.{name}"
        ).read_bytes()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([1.0, 5.0], [1.0, 5.0]),  # far enough apart: left alone
        ([2.0, 2.0], [1.5, 2.5]),  # pushed apart evenly
        ([5.0, 5.2, 4.9], [5.0333333, 6.0333333, 4.0333333]),  # order kept
        ([0.0, 0.1], [0.0, 1.0]),  # not below the axis
        ([9.9, 10.0], [9.0, 10.0]),  # not above it
    ],
)
def test_labels_are_spread_as_little_as_needed(wanted, expected):
    assert spread_out(np.array(wanted), 1.0, 0.0, 10.0) == pytest.approx(expected)


def test_ticks_fit_and_keep_both_ends():
    assert fit_ticks((0, 40, 80, 120, 160, 200), 3) == [0, 40, 80, 120, 160, 200]
    assert fit_ticks((0, 40, 80, 120, 160, 200), 0.5) == [0, 200]
    assert fit_ticks((0, 40, 80, 120, 160), 0.6) == [0, 80, 160]
