"""Planning, running, resuming; one thing failing while the others end well."""

from __future__ import annotations

import dataclasses
import random
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from gtl_bench.data import DataFolder
from gtl_bench.errors import DataError, UsageError
from gtl_bench.recipes import discover
from gtl_bench.plan import Plan, Request, plan
from gtl_bench.runner import Progress, local_executor, manifest, run
from gtl_bench.store import RunFolder

SMALL = ("benchmark.per_class=1", "benchmark.hidden=8", "benchmark.epochs=1")


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return Request(
        "split-digits",
        strategies=("naive", "ewc"),
        seeds=2,
        settings=SMALL,
        cache_folder=tmp_path / "cache",
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.prepare()
    return folder


def planned(request: Request, data: Path = Path("/nonexistent")) -> Plan:
    return plan(request, discover(), DataFolder(data, download=False))


def test_cells_are_strategies_times_seeds(request_: Request) -> None:
    cells = planned(request_).cells
    assert [(cell.strategy, cell.seed) for cell in cells] == [
        ("naive", 0),
        ("naive", 1),
        ("ewc", 0),
        ("ewc", 1),
    ]
    assert len({cell.key for cell in cells}) == 4
    # All strategies of a seed share the source phase.
    assert cells[0].scenario_key == cells[2].scenario_key != cells[1].scenario_key
    assert cells[0].benchmark_settings["per_class"] == 1


def test_the_key_changes_with_everything_that_shapes_the_numbers(request_: Request) -> None:
    def keys(request: Request) -> set[str]:
        return {cell.key for cell in planned(request).cells}

    base = keys(request_)
    assert keys(request_) == base
    for change in ("benchmark.per_class=2", "benchmark.split=tune", "naive.lr=0.02"):
        other = keys(dataclasses.replace(request_, settings=(*SMALL, change)))
        assert len(other - base) == (2 if "naive" in change else 4)
    assert keys(dataclasses.replace(request_, device="cuda")).isdisjoint(base)
    assert base < keys(dataclasses.replace(request_, seeds=3))


def test_an_edited_recipe_is_another_cell(request_: Request, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    text = "from gtl_bench import strategy\n@strategy('mine')\ndef mine(source):\n    return []\n"
    path.write_text(text)
    request = dataclasses.replace(request_, strategies=(str(path),))
    before = planned(request).cells[0].key
    path.write_text(text + "# edited\n")
    assert planned(request).cells[0].key != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"benchmark": "split-digit"}, "did you mean 'split-digits'"),
        ({"strategies": ("naive", "egc")}, "did you mean 'ewc'"),
        ({"seeds": 0}, "--seeds 0: it must lie between 1"),
        ({"settings": ("naive.lr",)}, "write STRATEGY.KEY=VALUE"),
        ({"settings": ("lr=1",)}, "write STRATEGY.KEY=VALUE"),
        ({"settings": ("gtl.lr=1",)}, "'gtl' takes no part in this run"),
        ({"settings": ("naive.momentun=1",)}, "did you mean 'momentum'"),
        ({"settings": ("benchmark.perclass=1",)}, "did you mean 'per_class'"),
        ({"settings": ("naive.optimizer=sdg",)}, "choose from sgd"),
        ({"strategies": ("./nowhere.py",)}, "no recipe file .*nowhere.py"),
    ],
)
def test_wrong_requests_are_one_line(
    request_: Request, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        planned(dataclasses.replace(request_, **change))
    assert "\n" not in str(error.value)


def test_stand_in_takes_over_and_says_so(request_: Request) -> None:
    request = dataclasses.replace(request_, benchmark="split-mnist")
    stand_in = planned(request)
    assert stand_in.title == "split-digits (stand-in for split-mnist)"
    assert stand_in.setup.benchmark.name == "split-digits"
    assert "/nonexistent" in (stand_in.setup.stand_in_reason or "")
    assert {cell.title for cell in stand_in.cells} == {stand_in.title}
    with pytest.raises(DataError, match="python -m gtl_bench data mnist"):
        planned(dataclasses.replace(request, require_data=True))


def test_run_then_resume(request_: Request, folder: RunFolder, inline: type[Executor]) -> None:
    todo = planned(request_)
    first = run(todo, folder, inline)
    assert (first.done, first.reused, first.failed) == (4, 0, [])
    files = folder.finished()
    assert set(files) == {cell.key for cell in todo.cells}

    def refuse() -> Executor:
        raise AssertionError("there is nothing left to run")

    assert run(todo, folder, refuse).reused == 4
    files[todo.cells[2].key].unlink()
    again = run(todo, folder, inline)
    assert again.reused == 3
    # File names carry the checksum of their content.
    assert folder.finished() == files
    assert run(todo, folder, inline, fresh=True).reused == 0
    assert folder.finished() == files
    folder.write_manifest(manifest(todo, folder, request_, again.seconds))
    frame = folder.load()
    assert frame.groupby(["strategy", "seed"]).ngroups == 4
    at_start = frame.query("metric == 'accuracy' and experience == -1 and step == 0")
    assert (at_start.groupby("seed")["value"].nunique() == 1).all()


BAD_RECIPES = {
    "raises": ("raise RuntimeError('bad\\nluck')", "can't be built: RuntimeError: bad luck"),
    "none": ("return None", "must return a list of Avalanche plugins"),
    "strings": ("return ['plugin']", "must return a list of Avalanche plugins"),
}


@pytest.mark.parametrize("name", BAD_RECIPES)
def test_a_bad_recipe_fails_alone(
    request_: Request, folder: RunFolder, inline: type[Executor], tmp_path: Path, name: str
) -> None:
    body, message = BAD_RECIPES[name]
    path = tmp_path / "bad.py"
    path.write_text(
        f"from gtl_bench import strategy\n@strategy('bad')\ndef bad(source):\n    {body}\n"
    )
    request = dataclasses.replace(request_, strategies=("naive", str(path)))
    progress = run(planned(request), folder, inline)
    assert [(result.cell.strategy, result.exit_status) for result in progress.failed] == [
        ("bad", 2),
        ("bad", 2),
    ]
    assert message in (progress.failed[0].error or "")
    assert "\n" not in (progress.failed[0].error or "")
    assert len(folder.finished()) == 2


def test_an_error_in_mid_stream_fails_alone(
    request_: Request, folder: RunFolder, inline: type[Executor], tmp_path: Path
) -> None:
    path = tmp_path / "late.py"
    path.write_text(
        "from gtl_bench import strategy\n@strategy('late')\ndef late(source):\n"
        "    from avalanche.core import SupervisedPlugin\n"
        "    class Late(SupervisedPlugin):\n"
        "        def after_update(self, strategy, **kwargs):\n"
        "            if strategy.clock.train_exp_counter == 5:\n"
        "                raise ValueError('at the fifth')\n"
        "    return [Late()]\n"
    )
    request = dataclasses.replace(request_, strategies=(str(path), "naive"))
    progress = run(planned(request), folder, inline)
    assert {result.cell.strategy for result in progress.failed} == {"late"}
    assert progress.failed[0].error == "ValueError: at the fifth (line 8 of late.py)"
    assert progress.failed[0].exit_status == 1
    assert len(folder.finished()) == 2


def test_broken_file_beside_good_ones_is_left_out(request_: Request, tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("1 / 0")
    request = dataclasses.replace(request_, strategies=("naive", str(path)))
    todo = planned(request)
    assert [recipe.name for recipe in todo.strategies] == ["naive"]
    assert "ZeroDivisionError" in todo.broken[0].reason


def test_a_dying_worker_costs_only_its_own_cell(
    request_: Request, folder: RunFolder, inline: type[Executor]
) -> None:
    todo = planned(request_)
    culprit = todo.cells[1].key

    class Fragile(inline):  # type: ignore[misc, valid-type]
        """Breaks at the culprit, and with it all that comes after, as a process pool does."""

        broken = False

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            if self.broken or args[0].key == culprit:
                self.broken = True
                future: Future[Any] = Future()
                future.set_exception(BrokenProcessPool("a worker died"))
                return future
            return super().submit(fn, *args, **kwargs)

    progress = run(todo, folder, Fragile)
    [failed] = progress.failed
    assert failed.cell.key == culprit
    assert "worker process died" in (failed.error or "")
    assert len(folder.finished()) == 3


def test_interrupt_keeps_what_was_running(request_: Request, folder: RunFolder) -> None:
    todo = planned(request_)
    seen: list[int] = []

    def interrupt(progress: Progress) -> None:
        seen.append(progress.done)
        if progress.done == 1:
            raise KeyboardInterrupt

    with_one_thread = ThreadPoolExecutor(1)
    progress = run(todo, folder, lambda: with_one_thread, interrupt)
    assert progress.interrupted
    assert 1 <= len(folder.finished()) < 4
    assert len(folder.finished()) == progress.done


@pytest.mark.parametrize("workers", [1, 3])
def test_records_are_the_same_bytes_for_any_number_of_workers_and_any_order(
    request_: Request, tmp_path: Path, inline: type[Executor], workers: int
) -> None:
    request = dataclasses.replace(request_, strategies=("naive", "si", "gtl"))
    todo = planned(request)
    reference = RunFolder(tmp_path / "reference")
    reference.prepare()
    run(todo, reference, inline)
    shuffled = list(todo.cells)
    random.Random(workers).shuffle(shuffled)
    # A cache of its own, so that the source phase is computed in the workers.
    shuffled = [
        dataclasses.replace(cell, cache_folder=tmp_path / f"cache{workers}") for cell in shuffled
    ]
    other = RunFolder(tmp_path / "other")
    other.prepare()
    progress = run(
        dataclasses.replace(todo, cells=tuple(shuffled)), other, lambda: local_executor(workers)
    )
    assert progress.failed == []
    assert {path.name: path.read_bytes() for path in other.finished().values()} == {
        path.name: path.read_bytes() for path in reference.finished().values()
    }
