"""The page: that it holds everything itself, escaped, and works in a browser."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from chromium import CHROMIUM, Page
from conftest import as_run

from gtl_bench import metrics
from gtl_bench.report import StrategyInfo, tables
from gtl_bench.report.page import plot
from gtl_bench.report.run import page_of_run
from gtl_bench.report.sheet import Reading, Sheet
from gtl_bench.report.verdict import judge
from gtl_bench.stats import Interval, mean_interval

EVIL = "<script>alert('x')</script>&\"'"


def page_of(records, info, focus="gtl", **changes) -> str:
    run = as_run(records, info, **changes)
    judged = judge(run.scalars, records, info, focus) if info.comparable(focus) else None
    return page_of_run(run, judged, focus)


@pytest.fixture(scope="module")
def text(four) -> str:
    return page_of(*four)


@pytest.fixture(scope="module")
def long_text(eighteen) -> str:
    return page_of(*eighteen)


class Elements(HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.said += f"{data} "


def readouts(text: str) -> list[dict[str, Any]]:
    (found,) = re.findall(r'<script type="application/json" id="readouts">(.*?)</script>', text)
    return json.loads(found)


def test_it_asks_for_nothing(text):
    elements = Elements(text)
    for tag, attributes in elements.found:
        assert tag not in ("img", "iframe", "object", "embed", "base")
        assert not (tag == "script" and "src" in attributes)
        for name in ("href", "xlink:href", "src", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,")), attributes
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_ids_are_unique_and_references_lead_somewhere(text):
    elements = Elements(text)
    ids = Counter(a["id"] for _, a in elements.found if "id" in a)
    assert max(ids.values()) == 1
    references = {a["xlink:href"] for _, a in elements.found if "xlink:href" in a}
    references |= set(re.findall(r"url\((#[^)]*)\)", text))
    assert len(references) > 20
    assert {reference.removeprefix("#") for reference in references} <= set(ids)


def test_it_says_what_the_run_shows_and_how_it_was_made(four, text):
    said = " ".join(Elements(text).said.split())
    records, info = four
    judged = judge(metrics.scalars(records, info.boundaries), records, info, "gtl")
    for part in (
        judged.headline,
        *judged.sentences,
        *judged.notes,
        "python -m gtl_bench run split-mnist --strategies 'naive,./my method.py'",
        "5eed" * 16,
        "torch 2.14.1",
        "per_class 20",
        "This is not split-mnist",
        "No copy of MNIST is here.",
    ):
        assert part in said
    assert said.index(judged.headline) < said.index("Figures")
    for _, table in tables.of_run(metrics.scalars(records, info.boundaries), records, info, "gtl"):
        for row in table.rows:
            assert " ".join(row) in re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))


def test_wall_times_are_those_of_the_manifest(text):
    said = re.sub(r"<[^>]*>|\s+", " ", text)
    assert re.search(r"Naive +4 of 5 +1\.5 +1\.5", said)


def test_every_figure_is_described(text):
    elements = Elements(text)
    drawn = [attributes for tag, attributes in elements.found if tag == "svg"]
    assert len(drawn) == 4
    for attributes in drawn:
        assert attributes["role"] == "img"
        assert len(attributes["aria-label"]) > 40
    assert re.search(r"At the right end: Naive \d+\.\d %, EWC", drawn[0]["aria-label"])
    assert [tag for tag, _ in elements.found].count("figcaption") == 4 + 4


def test_what_comes_from_a_run_is_escaped(four):
    records, info = four
    strategies = tuple(
        StrategyInfo(s.name, f"{EVIL}{number}") for number, s in enumerate(info.strategies)
    )
    evil = replace(info, title=EVIL, strategies=strategies, regime=EVIL, experiences=(EVIL,) * 5)
    text = page_of(
        records,
        evil,
        command=EVIL,
        stand_in_reason=EVIL,
        benchmark_settings={EVIL: EVIL},
        versions={EVIL: EVIL},
        data={EVIL: EVIL},
    )
    elements = Elements(text)
    assert [tag for tag, _ in elements.found].count("script") == 2
    assert "<script>alert" not in text
    assert elements.said.count("<script>alert('x')</script>") > 20
    assert not any(name.startswith("on") for _, attributes in elements.found for name in attributes)
    assert readouts(text)[0]["panels"][0]["series"][0]["label"] == f"{EVIL}0"


def test_the_pointer_reads_the_means_and_intervals(four, text):
    records, info = four
    accuracy, retention, forgetting, matrix = readouts(text)
    table = metrics.curves(records, "accuracy")
    (panel,) = accuracy["panels"]
    assert panel["x"] == list(range(201))
    for strategy, series in zip(info.strategies, panel["series"], strict=True):
        band = mean_interval(100 * table.loc[strategy.name].to_numpy())
        assert series["label"] == strategy.label
        for name in ("mean", "low", "high"):
            assert series[name] == pytest.approx(getattr(band, name), abs=0.051)
    assert (accuracy["x"], retention["x"]) == ("Examples seen", "Age (examples)")
    assert [panel["title"] for panel in forgetting["panels"]] == [
        f"Experience {name}" for name in info.experiences
    ]
    gtl = matrix["panels"][3]
    assert gtl["title"] == "GTL"
    assert gtl["names"] == list(info.experiences)
    assert [series["label"] for series in gtl["series"]][:2] == ["base", "after 0/1"]
    of_gtl = metrics.accuracy_matrices(records, info.boundaries).loc["gtl"].mean()
    assert gtl["series"][2]["mean"] == pytest.approx(100 * of_gtl[80].to_numpy(), abs=0.051)


@pytest.mark.parametrize(("run", "shown"), [("four", "text"), ("eighteen", "long_text")])
def test_panels_lie_where_they_are_drawn(run, shown, request):
    _, info = request.getfixturevalue(run)
    text = request.getfixturevalue(shown)
    boxes = re.findall(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    for (width, height), readout in zip(boxes, readouts(text), strict=True):
        assert readout["panels"]
        for panel in readout["panels"]:
            left, top, right, bottom = panel["box"]
            assert 0 < left < right < float(width)
            assert 0 < top < bottom < float(height)
            assert 0 <= min(panel["places"]) <= max(panel["places"]) <= 1
            assert len(panel["places"]) == len(panel["x"])
    labels = {series["label"] for series in readouts(text)[2]["panels"][0]["series"]}
    assert labels == {strategy.label for strategy in info.strategies}


@pytest.mark.parametrize(
    ("scale", "more", "x", "places"),
    [
        ("linear", {}, [0, 12.346, 12346, 20000], [0, 0.0006, 0.6173, 1]),
        ("log", {}, [0.001, 0.0031623, 0.01, 0.1], [0, 0.25, 0.5, 1]),
        # Up to 1 it is linear, and 10/9 as wide as a tenfold is.
        ("symlog", {"linthresh": 1}, [0, 0.5, 1, 10, 100], [0, 0.1786, 0.3571, 0.6786, 1]),
    ],
)
def test_points_lie_where_the_axis_shows_them(scale, more, x, places):
    figure = Sheet(3, 2)
    ax = figure.add_axes((0.2, 0.2, 0.6, 0.6))
    ax.set_xscale(scale, **more)
    ax.set_xlim(x[0], x[-1])
    values = Interval(*(np.arange(len(x)) for _ in range(3)))
    figure.readings.append(Reading(ax, "one", "#000000", np.array(x), values))
    (panel,) = plot(figure, "name", "caption", "x").panels
    assert panel["places"] == pytest.approx(places, abs=1e-4)
    assert panel["x"] == [{12.346: 12.35, 0.0031623: 0.003162}.get(value, value) for value in x]


def test_a_single_seed_has_no_interval_to_read(make_run):
    text = page_of(*make_run(seeds=1, experiences=1, each=20))
    series = readouts(text)[0]["panels"][0]["series"][0]
    assert set(series["low"]) == {None}
    assert "NaN" not in text.split('id="readouts">')[1].split("</script>")[0]


def test_without_the_focus_it_says_how_to_judge_another(make_run):
    text = page_of(*make_run(("naive", "ewc"), seeds=2))
    assert "gtl is not in this run" in text
    assert "report RUN_DIR --focus NAME" in text


def test_the_same_run_gives_the_same_bytes(four, text):
    assert page_of(*four) == text


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not there")


@pytest.fixture(scope="module", params=[("text", 400), ("text", 1600), ("long_text", 400)])
def opened(request, tmp_path_factory) -> Iterator[tuple[Page, int]]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not there")
    shown, width = request.param
    folder = tmp_path_factory.mktemp("page")
    path = folder / "index.html"
    path.write_text(request.getfixturevalue(shown), encoding="utf-8")
    with Page(path, folder / "profile", width) as page:
        yield page, width
        assert page.complaints == []
        assert [url for url in page.requests if not url.startswith("data:")] == [path.as_uri()]


def test_it_fits_into_the_window(opened):
    page, width = opened
    assert page.run("document.documentElement.scrollWidth") <= width
    # Nothing but what scrolls within itself is wider than its place.
    wide = page.run(
        "[...document.querySelectorAll('body *')].filter((e) => !e.closest('.scroll, svg') "
        "&& e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    smallest = page.run(
        "Math.min(...[...document.querySelectorAll('p, li, td, th, dd, figcaption')]"
        ".map((e) => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 12
    # Six points of a column's width are the smallest text in a figure.
    drawn = page.run("Math.min(...[...document.querySelectorAll('svg')].map((e) => e.clientWidth))")
    assert 6 * drawn / (72 * 3.25) >= 9


def test_the_pointer_reads_a_figure_out(opened):
    page, _ = opened
    page.run("document.querySelectorAll('.drawing')[0].scrollIntoView()")
    plot = json.loads(page.run("document.getElementById('readouts').textContent"))[0]
    panel = plot["panels"][0]
    place = page.run(
        "(({x, y, width, height}) => [x, y, width, height])"
        "(document.querySelector('svg').getBoundingClientRect())"
    )
    scale = place[2] / (72 * 3.25)
    left, top, right, bottom = panel["box"]
    x = left + 150 / 200 * (right - left)
    page.point(place[0] + scale * x, place[1] + scale * (top + bottom) / 2)
    said = page.run("document.querySelector('.readout').innerText")
    assert said.splitlines()[0].endswith("Examples seen: 150")
    for series in panel["series"]:
        assert series["label"] in said
        assert f"{series['mean'][150]:.1f} %" in said
        assert f"{series['low'][150]:.1f} to {series['high'][150]:.1f}" in said
    inside = page.run(
        "(({left, right}) => 0 <= left && right <= innerWidth)"
        "(document.querySelector('.readout').getBoundingClientRect())"
    )
    assert inside
    page.point(1, 1)
    assert page.run("document.querySelector('.readout').hidden")


def test_the_keyboard_reads_a_figure_out(opened):
    page, _ = opened
    page.run("document.querySelectorAll('.drawing')[0].focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.press(key)
    assert "Examples seen: 1\n" in page.run("document.querySelector('.readout').innerText")
    page.press("Escape")
    assert page.run("document.querySelector('.readout').hidden")


def test_tables_sort(opened):
    page, _ = opened
    column = "[...document.querySelectorAll('#summary tbody tr')].map((r) => r.cells[{}].innerText)"
    click = "document.querySelectorAll('#summary thead button')[{}].click()"
    before = page.run(column.format(0))
    page.run(click.format(1))
    down = [float(text.split(" ")[0]) for text in page.run(column.format(1))]
    assert down == sorted(down, reverse=True)
    page.run(click.format(1))
    assert [float(text.split(" ")[0]) for text in page.run(column.format(1))] == down[::-1]
    transfer = page.run("[...document.querySelectorAll('#summary thead th')].map(t => t.innerText)")
    negative = next(i for i, name in enumerate(transfer) if "Backward" in name)
    page.run(click.format(negative))
    values = [float(t.split(" ")[0].replace("−", "-")) for t in page.run(column.format(negative))]
    assert values == sorted(values, reverse=True)
    page.run(click.format(0))
    assert page.run(column.format(0)) == sorted(before, key=str.casefold)
    sorted_by = (
        "[...document.querySelectorAll('#summary th')].map(t => t.getAttribute('aria-sort'))"
    )
    assert page.run(sorted_by).count(None) == len(page.run(sorted_by)) - 1


@needs_chromium
def test_dark_pages_keep_contrast(text, tmp_path):
    path = tmp_path / "index.html"
    path.write_text(text, encoding="utf-8")
    colours = (
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    for scheme, lighter in (("light", 0), ("dark", 1)):
        with Page(path, tmp_path / scheme, 800, scheme) as page:
            shades = [sum(map(int, re.findall(r"\d+", c))) / 765 for c in page.run(colours)]
        assert shades[lighter] > 0.85
        assert shades[1 - lighter] < 0.15
