"""The benchmark of the harness's cost: contenders do the same work, and the table says what it is.

Each of our fast paths (one pass over the weights, closed-form penalties, an integral by parts,
batches without loaders) is compared here with the plain formula after 200 examples.
"""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from gtl_bench import bench
from gtl_bench.bench import Job, Row


@pytest.fixture(scope="module")
def job() -> Job:
    return Job(200)


@pytest.fixture(scope="module")
def naive(job: Job) -> nn.Module:
    return job.ours("naive")


def distance(a: nn.Module, b: nn.Module) -> float:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max(float((p - q).abs().max().detach()) for p, q in pairs)


def test_naive_is_the_plain_loop_bit_for_bit(job: Job, naive: nn.Module) -> None:
    assert distance(naive, job.bare("naive")) == 0
    assert distance(naive, job.model) > 1e-3


def test_guided_gradients_are_the_plain_loop_bit_for_bit(job: Job) -> None:
    assert distance(job.ours("gtl-gradient"), job.bare("gtl-gradient")) == 0


@pytest.mark.parametrize("method", ["gtl", "ewc", "si"])
def test_fast_paths_are_the_plain_formula(method: str, job: Job, naive: nn.Module) -> None:
    ours = job.ours(method)
    rounding = distance(ours, job.bare(method))
    assert rounding < 1e-6
    assert distance(ours, naive) > 100 * rounding


def test_answers_in_pieces_are_those_of_one_pass() -> None:
    job = Job(10)
    model, course = job.ours_evaluated("naive")
    with torch.inference_mode():
        right = model(job.test.x).argmax(1) == job.test.y
    assert course.test[-1].tolist() == right.tolist()
    assert distance(model, job.bare("naive", evaluate=True)) == 0


def test_stock_learns_the_same(job: Job) -> None:
    short = Job(10)
    assert distance(short.ours("naive"), short.stock("naive", evaluate=True)) < 1e-6


@pytest.mark.parametrize(
    ("value", "bound", "verdict"),
    [(1.25, "≤ 1.25", "kept"), (1.26, "≤ 1.25", "missed"), (2.9, "≥ 3", "missed"), (9.0, "", "")],
)
def test_a_bound_is_kept_or_missed(value: float, bound: str, verdict: str) -> None:
    assert Row("it", value, "×", bound).verdict == verdict


def test_a_ratio_is_the_median_over_rounds() -> None:
    row = bench.ratio("it", {"a": [2.0, 9.0, 6.0], "b": [1.0, 3.0, 6.0]}, "a", "b")
    assert row.value == 2.0
    assert row.detail == "a 6000 ms, b 3000 ms"


def test_growth_is_seen_where_there_is_some() -> None:
    cost, memory = bench.grow("joint", rounds=1, examples=30)
    assert cost > 1.2
    assert memory >= 1


def test_the_page_names_what_is_missed() -> None:
    what = next(iter(bench.REASONS))
    rows = [Row(what, 9.0, "×", "≤ 1.10", "a 1 ms, b 2 ms"), Row("other", 1.0, "s", "≤ 2")]
    report = {"command": "c", "processor": "p", "cores": 2, "platform": "l", "date": "d"}
    table = [vars(row) | {"verdict": row.verdict, "reason": row.reason} for row in rows]
    text = bench.page({**report, "commit": None, "rows": table})
    assert f"| {what} | 9 × | ≤ 1.10 | missed | a 1 ms, b 2 ms |" in text
    assert re.findall(r"^- (.*)$", text.partition("Bounds that are missed")[2], re.M) == [
        f"{what}: {bench.REASONS[what]}"
    ]
