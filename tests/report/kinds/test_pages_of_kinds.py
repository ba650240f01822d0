"""The pages of all kinds of experiment: every figure can be read out, in a browser too."""

from __future__ import annotations

import json
import re
from math import log10

import pytest
import test_accumulation_report
import test_cousins_report
import test_kind_batch
import test_kind_transfer
import test_oneshot_report
import test_xor_report
from chromium import CHROMIUM, Page
from test_page import page_of, readouts

PLANTED = {
    "accumulation": lambda: test_accumulation_report.planted(
        {"naive": (0.2, 0.1, 0.2, -0.3), "gtl": (0.1, 0.1, 0.1, 0.1)}
    ),
    "batch": lambda: test_kind_batch.planted({"naive": [0.8, 0.82], "gtl": [0.9, 0.92]}),
    "cousins": lambda: test_cousins_report.planted({"naive": 0.03, "gtl": 0.0054}),
    "oneshot": lambda: test_oneshot_report.planted({"naive": [0.3, 0.4], "gtl": [0.4, 0.4]}),
    "transfer": lambda: test_kind_transfer.planted(
        test_kind_transfer.TEXTBOOK | {"gtl": (0.1, 0.2, 0.3, 0.4)}
    ),
    "xor": lambda: test_xor_report.planted({"naive": 0.1, "gtl": 0.2}),
}
# In the first panel of the first figure, a point: its index, what is read there, and where it is.
POINTS = {
    "accumulation": (5, "Examples learned: 50", 0.5),
    "batch": (0, "Accuracy: after the last experience", 0.0),
    "cousins": (5, "Epochs: 5", 0.25),
    # Up to 1 the scale is linear and 10/9 as wide as a tenfold is.
    "oneshot": (3, "Epochs: 5", (10 / 9 + log10(5)) / (10 / 9 + log10(50))),
    "transfer": (1, "Quadrant: few, far", 0.375),
    "xor": (1, "Steps: 10", 0.5),
}


@pytest.fixture(scope="module", params=PLANTED)
def kind(request) -> tuple[str, str]:
    """A kind and a page of it."""
    return request.param, page_of(*PLANTED[request.param]())


def test_every_figure_can_be_read_out(kind):
    name, text = kind
    shown = readouts(text)
    assert shown
    for figure in shown:
        assert figure["panels"]
        for panel in figure["panels"]:
            assert panel["series"]
            assert 0 <= min(panel["places"]) <= max(panel["places"]) <= 1
            for series in panel["series"]:
                assert len(series["mean"]) == len(panel["x"]) == len(panel["places"])
    index, _, place = POINTS[name]
    assert shown[0]["panels"][0]["places"][index] == pytest.approx(place, abs=1e-4)


def test_rates_lie_on_their_logarithmic_axis():
    _, by_rate = readouts(page_of(*PLANTED["accumulation"]()))
    (panel,) = by_rate["panels"]
    assert panel["x"] == [0.001, 0.01, 0.1]
    assert panel["places"] == [0, 0.5, 1]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not there")
def test_pointer_and_keys_read_every_figure_out(kind, tmp_path):
    name, text = kind
    path = tmp_path / "index.html"
    path.write_text(text, encoding="utf-8")
    index, said, place = POINTS[name]
    shown = readouts(text)
    panel = shown[0]["panels"][0]
    with Page(path, tmp_path / "profile", 400) as page:
        assert page.run("document.documentElement.scrollWidth") <= 400
        page.run("document.querySelector('.drawing').scrollIntoView()")
        x, y, width = page.run(
            "(({x, y, width}) => [x, y, width])"
            "(document.querySelector('svg').getBoundingClientRect())"
        )
        scale = width / (72 * 3.25)
        left, top, right, bottom = (scale * side for side in panel["box"])
        inside = min(max(place, 0.01), 0.99)
        page.point(x + left + inside * (right - left), y + (top + bottom) / 2)
        read = page.run("document.querySelector('.readout').innerText")
        assert read.splitlines()[0].endswith(said)
        for series in panel["series"]:
            assert f"{series['mean'][index]:.1f}{panel['unit']}" in read
        for number, figure in enumerate(shown):
            drawing = f"document.querySelectorAll('.drawing')[{number}]"
            page.run(f"{drawing}.focus()")
            for _ in figure["panels"]:
                page.press("ArrowRight")
                page.press("ArrowDown")
            last = figure["panels"][-1]
            read = page.run(f"{drawing}.querySelector('.readout').innerText")
            assert last["title"] in read
            assert all(series["label"] in read for series in last["series"])
            assert last["unit"].strip() in read
            page.press("Escape")
            assert page.run(f"{drawing}.querySelector('.readout').hidden")
        assert page.complaints == []


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not there")
def test_keys_and_pointer_find_nothing_in_a_figure_without_numbers(tmp_path):
    text = page_of(*PLANTED["cousins"]())
    (training,) = readouts(text)
    path = tmp_path / "index.html"
    bare = json.dumps([{"x": training["x"], "panels": []}])
    path.write_text(re.sub(r'(id="readouts">).*?(?=</script>)', rf"\g<1>{bare}", text))
    with Page(path, tmp_path / "profile", 400) as page:
        page.run("document.querySelector('.drawing').focus()")
        page.press("ArrowRight")
        page.point(200, 450)
        assert page.run("document.querySelector('.readout').hidden")
        assert page.complaints == []


def test_a_loss_is_read_out_as_it_is():
    (training,) = readouts(page_of(*PLANTED["cousins"]()))
    accuracy, loss = training["panels"]
    assert (accuracy["title"], accuracy["unit"]) == ("Accuracy (%)", " %")
    assert (loss["title"], loss["unit"]) == ("Loss (squared error)", "")
    assert loss["series"][1]["mean"][-1] == pytest.approx(0.0054)
    assert loss["series"][1]["mean"][0] == 0.05
