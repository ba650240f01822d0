"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from inline import Inline

from gtl_bench.contract import toy
from gtl_bench.scenario import Scenario

# One thread a process, in the processes that tests start as well: several tests run at once.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a test asserts is no matter of the machine's speed: no example has a deadline.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


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
    return toy()


@pytest.fixture
def inline() -> type[Inline]:
    """The class `Inline`: called, it makes an executor."""
    return Inline
