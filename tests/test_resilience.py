"""A quick version of each of `resilience.py`, which tells more and takes longer."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import resilience
from resilience import Job, Records

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads /proc, kills process groups"
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Records, float]:
    """What a run leaves, and the seconds that it takes on this machine."""
    began = time.monotonic()
    records = Job(tmp_path_factory.mktemp("undisturbed"), seeds=3).undisturbed()
    return records, time.monotonic() - began


@pytest.fixture
def expected(undisturbed: tuple[Records, float]) -> Records:
    return undisturbed[0]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path, seeds=3)


def test_killed_runs_resume(job: Job, undisturbed: tuple[Records, float]) -> None:
    expected, seconds = undisturbed
    figures = resilience.kills(job, expected, 2, random.Random(1), seconds)
    assert figures["kills"] == 2


def test_killed_workers_cost_only_their_cells(job: Job, expected: Records) -> None:
    assert resilience.workers(job, expected, 1, random.Random(1))["workers killed"] == 1


@pytest.mark.nightly
def test_strategies_that_eat_memory_raise_and_diverge_fail_alone(job: Job) -> None:
    try:
        resilience.memory(job)
    except PermissionError as error:
        pytest.skip(str(error))


def test_a_full_disk_keeps_what_is_finished(job: Job, expected: Records) -> None:
    try:
        resilience.disk(job, expected)
    except PermissionError as error:
        pytest.skip(f"no right to mount a small disk: {error}")


def test_two_runs_in_one_folder(job: Job, expected: Records) -> None:
    resilience.rivals(job, expected)


@pytest.mark.nightly
def test_ten_thousand_cells_cost_little_beside_their_computation() -> None:
    script = Path(__file__).with_name("scale.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    assert figures["planning, resuming and reporting"] < 30
    assert figures["a cell's share of that, over its share of a quarter of the cells"] < 1.3
    assert figures["peak of memory in GiB"] < 1


@pytest.mark.nightly
def test_a_dask_cluster_that_loses_machines(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    job = Job(tmp_path, seeds=20)  # enough to be left when the scheduler is killed
    resilience.cluster(job, job.undisturbed())
