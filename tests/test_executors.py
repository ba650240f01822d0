"""Cells on a dask cluster leave what they leave here, and its end is no crash."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest

from gtl_bench import executors
from gtl_bench.data import DataFolder
from gtl_bench.errors import RunError, UsageError
from gtl_bench.executors import LocalExecutor, dask_executor
from gtl_bench.plan import Plan, Request, plan
from gtl_bench.recipes import discover
from gtl_bench.runner import Progress, run
from gtl_bench.store import RunFolder

MINE = "from gtl_bench import strategy\n@strategy('mine')\ndef mine(source):\n    return []\n"


@pytest.fixture
def todo(tmp_path: Path) -> Plan:
    (tmp_path / "mine.py").write_text(MINE)
    request = Request(
        "split-digits",
        strategies=("naive", str(tmp_path / "mine.py")),
        seeds=2,
        settings=("benchmark.per_class=1", "benchmark.hidden=8", "benchmark.epochs=1"),
        cache_folder=tmp_path / "cache",
    )
    planned = plan(request, discover(), DataFolder(Path("/nonexistent"), download=False))
    (tmp_path / "mine.py").unlink()  # workers may be on machines that lack it
    return planned


def run_folder(path: Path) -> RunFolder:
    folder = RunFolder(path)
    folder.prepare()
    return folder


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A scheduler and two workers, as threads of this process that talk over the loopback."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
    ) as cluster:
        yield cluster


def test_a_cluster_leaves_the_same_bytes(
    todo: Plan, tmp_path: Path, cluster: Any, inline: type[Executor]
) -> None:
    here, there = run_folder(tmp_path / "here"), run_folder(tmp_path / "there")
    assert run(todo, here, inline).finished == 4
    shown = []
    progress = run(
        todo,
        there,
        dask_executor(cluster.scheduler_address),
        lambda progress: shown.append((progress.done, progress.running)),
    )
    assert (progress.finished, progress.failed, progress.stopped) == (4, [], None)
    assert max(running for _, running in shown) == 2
    assert shown[-1] == (4, 0)
    assert {path.name: path.read_bytes() for path in there.finished().values()} == {
        path.name: path.read_bytes() for path in here.finished().values()
    }


def test_without_a_scheduler_the_run_stops_with_what_is_finished(
    todo: Plan,
    tmp_path: Path,
    cluster: Any,
    inline: type[Executor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = run_folder(tmp_path / "run")

    def lose(progress: Progress) -> None:
        if progress.done == 1:
            cluster.close()
            monkeypatch.setattr(executors, "TIMEOUT", 1.0)  # nobody is there to answer

    progress = run(todo, folder, dask_executor(cluster.scheduler_address), lose)
    assert isinstance(progress.stopped, RunError)
    assert f"no dask scheduler at {cluster.scheduler_address}" in str(progress.stopped)
    assert "\n" not in str(progress.stopped)
    assert progress.failed == []
    assert 1 <= progress.finished == len(folder.finished()) < 4
    assert run(todo, folder, inline).finished == 4


def test_what_cannot_be_a_cluster() -> None:
    for address in ("local:", "local:two", "local:0", "local:-1", "nonsense", "tcp://", "a b:1"):
        with pytest.raises(UsageError, match=f"--dask {address}: write a scheduler's address"):
            dask_executor(address)


def test_an_address_that_only_dask_can_judge(todo: Plan, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    progress = run(todo, run_folder(tmp_path / "run"), dask_executor("tcp://no-port"))
    assert isinstance(progress.stopped, UsageError)
    assert "no dask scheduler at tcp://no-port (" in str(progress.stopped)
    assert "\n" not in str(progress.stopped)


def test_dask_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'gtl-bench\[dask\]'"):
        dask_executor("tcp://127.0.0.1:8786")


def test_local_workers_are_as_many_as_asked_for() -> None:
    assert LocalExecutor(3).width == 3
