"""Fixtures for all tests."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
import torch

from gtl_bench.models import mlp
from gtl_bench.rng import Rng
from gtl_bench.scenario import Examples, Pretraining, Scenario, assemble

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A data folder with the real MNIST and Omniglot's two small sets; skips where there is none.

    GTL_BENCH_TEST_DATA names it; by default it is `shared/data` beside the checkout.
    """
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("GTL_BENCH_TEST_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (GTL_BENCH_TEST_DATA names a folder)")
    return folder


@pytest.fixture
def scenario() -> Scenario:
    """Two experiences of two classes each, twelve examples, images of 4 × 4; learned in no time."""
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.rand(4, 4, 4, generator=generator) * 200

    def draw(per_class: int, shift: float) -> Examples:
        y = torch.arange(4).repeat(per_class)
        noise = torch.rand(len(y), 4, 4, generator=generator) * 55
        return Examples((prototypes[y].roll(int(shift), 1) + noise).to(torch.uint8), y)

    rng = Rng(3)
    drawn = assemble(
        mlp((16, 12, 4), rng("initial weights")),
        source=draw(20, 0),
        pool=draw(6, 1),
        test=draw(5, 1),
        groups=((0, 1), (2, 3)),
        per_class=3,
        epochs=2,
        rng=rng,
    )
    return dataclasses.replace(drawn, pretraining=Pretraining(epochs=3, lr=0.1, batch_size=8))


class Inline(Executor):
    """Runs each call at once in this process: an executor for tests of what is around it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


@pytest.fixture
def inline() -> type[Inline]:
    """The class `Inline`: called, it makes an executor."""
    return Inline
