"""Planning, running, resuming; one thing failing while the others end well."""

from __future__ import annotations

import ast
import dataclasses
import errno
import json
import os
import random
import signal
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
import torch

from gtl_bench import environment
from gtl_bench.cell import Cell
from gtl_bench.data import DataFolder
from gtl_bench.errors import DataError, Interrupted, RunError, UsageError
from gtl_bench.executors import LocalExecutor
from gtl_bench.plan import Plan, Request, only, plan
from gtl_bench.recipes import discover
from gtl_bench.runner import Progress, manifest, run
from gtl_bench.store import FORMAT, RunFolder, read_records

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


def imported(file: Path) -> set[str]:
    """The modules and packages of gtl_bench that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gtl_bench."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {name[1] for name in names if name[0] == "gtl_bench" and name[1:]}
    return found


def test_no_module_that_numbers_come_from_is_left_out_of_the_key() -> None:
    package = Path(environment.__file__).parent
    files = [
        file for top in ("strategies", "benchmarks") for file in package.parent.glob(f"{top}/*.py")
    ]
    for name in environment.NUMERIC_MODULES:
        place = package / name
        files += place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]
    found = set().union(*map(imported, files))
    assert found >= {"learner", "regularizers", "gtl"}
    change_no_number = {"checks", "environment", "errors", "files", "recipes"}
    assert found - change_no_number <= set(environment.NUMERIC_MODULES)


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


PLUGIN = """from avalanche.core import SupervisedPlugin
    import torch
    class Bad(SupervisedPlugin):
        def {hook}(self, strategy, **kwargs):
            {body}
    return [Bad()]"""

RESEEDING = "sets the seed of the global random state"

BAD_RECIPES = {
    "raises": ("raise RuntimeError('bad\\nluck')", 2, "can't be built: RuntimeError: bad luck"),
    "exits": ("raise SystemExit(0)", 1, "SystemExit: 0 (line 4 of bad.py)"),
    "none": ("return None", 2, "must return a list of Avalanche plugins"),
    "strings": ("return ['plugin']", 2, "must return a list of Avalanche plugins"),
    "torch seed": ("import torch; torch.manual_seed(0); return []", 2, RESEEDING),
    "numpy seed": ("import numpy; numpy.random.seed(0); return []", 2, RESEEDING),
    "python seed": ("import random; random.seed(0); return []", 2, RESEEDING),
    "seed in training": (
        PLUGIN.format(hook="before_training_exp", body="torch.manual_seed(0)"),
        2,
        RESEEDING,
    ),
    "more outputs": (
        PLUGIN.format(
            hook="before_training_exp",
            body="strategy.model = torch.nn.Sequential(strategy.model, torch.nn.Linear(10, 12))",
        ),
        2,
        "strategy 'bad' changes the model's outputs from 10 to 12",
    ),
    "fewer outputs": (
        PLUGIN.format(
            hook="before_training_exp",
            body="strategy.model = torch.nn.Sequential(strategy.model, torch.nn.Linear(10, 1))",
        ),
        2,
        "strategy 'bad' changes the model's outputs from 10 to 1:",
    ),
    "in training": (
        PLUGIN.format(hook="before_backward", body="raise ValueError('no')"),
        1,
        "ValueError: no (line 8 of bad.py)",
    ),
    "in evaluation": (
        PLUGIN.format(
            hook="after_training_exp",
            body="strategy.model.register_forward_hook(lambda *a: 1 / 0)",
        ),
        1,
        "ZeroDivisionError: division by zero (line 8 of bad.py)",
    ),
}


@pytest.mark.parametrize("name", BAD_RECIPES)
def test_a_bad_recipe_fails_alone(
    request_: Request, folder: RunFolder, inline: type[Executor], tmp_path: Path, name: str
) -> None:
    body, status, message = BAD_RECIPES[name]
    path = tmp_path / "bad.py"
    path.write_text(
        f"from gtl_bench import strategy\n@strategy('bad')\ndef bad(source):\n    {body}\n"
    )
    request = dataclasses.replace(request_, strategies=("naive", str(path)), seeds=1)
    state = random.getstate(), torch.get_rng_state().tolist()
    progress = run(planned(request), folder, inline)
    [failed] = progress.failed
    assert (failed.cell.strategy, failed.exit_status) == ("bad", status)
    assert message in (failed.error or "")
    assert "\n" not in (failed.error or "")
    assert len(folder.finished()) == 1
    assert (random.getstate(), torch.get_rng_state().tolist()) == state


def test_drawing_from_the_global_state_is_harmless_and_repeatable(
    request_: Request, folder: RunFolder, inline: type[Executor], tmp_path: Path
) -> None:
    path = tmp_path / "noisy.py"
    body = PLUGIN.format(
        hook="before_update",
        body="[p.grad.add_(0.1 * torch.randn_like(p)) for p in strategy.model.parameters()]",
    )
    path.write_text(
        f"from gtl_bench import strategy\n@strategy('noisy')\ndef noisy(source):\n    {body}\n"
    )
    todo = planned(dataclasses.replace(request_, strategies=(str(path),)))
    assert run(todo, folder, inline).finished == 2
    first = folder.finished()
    torch.rand(3)
    assert run(todo, folder, inline, fresh=True).finished == 2
    assert folder.finished() == first


def test_parameters_that_are_not_finite_are_divergence(
    request_: Request, folder: RunFolder, inline: type[Executor], tmp_path: Path
) -> None:
    path = tmp_path / "nan.py"
    body = PLUGIN.format(
        hook="after_training_exp",
        body="next(strategy.model.parameters()).data.fill_(float('nan'))",
    )
    path.write_text(
        f"from gtl_bench import strategy\n@strategy('nan')\ndef nan(source):\n    {body}\n"
    )
    todo = planned(dataclasses.replace(request_, strategies=(str(path),), seeds=1))
    assert run(todo, folder, inline).failed == []
    records = read_records(folder.finished().values())
    assert records.loc[records["metric"] == "diverged", "step"].tolist() == [1]


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


class Threads(ThreadPoolExecutor):
    """Two threads, which compute one cell at a time."""

    width = 2

    def __init__(self) -> None:
        super().__init__(self.width)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_running_cells_end_and_keeps_them(
    request_: Request, folder: RunFolder, number: signal.Signals
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done == 1 and not progress.stopped:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    progress = run(planned(request_), folder, Threads, interrupt)
    assert isinstance(progress.stopped, Interrupted)
    assert 1 <= progress.finished < 4
    assert len(folder.finished()) == progress.done
    assert progress.running == 0
    assert signal.getsignal(number) is before


def test_a_second_signal_ends_at_once(
    request_: Request, folder: RunFolder, inline: type[Executor]
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(planned(request_), folder, inline, interrupt)
    assert 1 <= len(folder.finished()) < 4


def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(
    request_: Request, folder: RunFolder, inline: type[Executor], monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 2:  # a record, and its folder
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    source_phases = dataclasses.replace(request_, strategies=("naive",))
    run(planned(source_phases), RunFolder(folder.path / "other"), inline)
    monkeypatch.setattr(os, "fsync", full)
    todo = planned(request_)
    progress = run(todo, folder, inline)
    assert isinstance(progress.stopped, RunError)
    assert "No space left on device; make room" in str(progress.stopped)
    assert (progress.finished, progress.failed) == (1, [])
    assert list(folder.finished()) == [todo.cells[0].key]
    assert len(list(folder.records.iterdir())) == 1
    monkeypatch.undo()
    assert run(todo, folder, inline).reused == 1
    assert len(folder.finished()) == 4


def test_an_executor_that_cannot_be_made_again_stops_the_run(
    request_: Request, folder: RunFolder, inline: type[Executor]
) -> None:
    todo = planned(request_)
    made: list[Executor] = []

    class Lost(inline):  # type: ignore[misc, valid-type]
        """Its machines are gone after the first cell: what was given to it is cancelled."""

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            if args[0].key == todo.cells[0].key:
                return super().submit(fn, *args, **kwargs)
            future: Future[Any] = Future()
            future.cancel()
            return future

    def connect() -> Executor:
        if made:
            raise RunError("no scheduler")
        made.append(Lost())
        return made[0]

    progress = run(todo, folder, connect)
    assert str(progress.stopped) == "no scheduler"
    assert (progress.finished, progress.failed) == (1, [])


def test_a_worker_that_never_answers_costs_its_cell_alone(
    request_: Request, folder: RunFolder, inline: type[Executor]
) -> None:
    culprit = planned(request_).cells[1].key

    class KilledWorker(Exception):
        """Named as dask's."""

    class Dask(inline):  # type: ignore[misc, valid-type]
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            if args[0].key != culprit:
                return super().submit(fn, *args, **kwargs)
            future: Future[Any] = Future()
            future.set_exception(KilledWorker("attempted to run on 4 workers"))
            return future

    progress = run(planned(request_), folder, Dask)
    assert [result.error for result in progress.failed] == [
        "its worker process died (killed, or out of memory)."
    ]
    assert progress.finished == 3


def test_a_worker_with_other_code_refuses_its_cells(
    request_: Request, folder: RunFolder, inline: type[Executor]
) -> None:
    todo = planned(request_)
    cell = todo.cells[0]
    assert {"torch", "gtl-bench", "naive (naive.py)", "split-digits (split_digits.py)"} <= set(
        cell.environment
    )
    other = dataclasses.replace(cell, environment={**cell.environment, "torch": "1.0"})
    progress = run(dataclasses.replace(todo, cells=(other,)), folder, inline)
    assert "has another torch than the run was planned with" in (progress.failed[0].error or "")
    assert folder.finished() == {}


def test_a_recipe_is_run_as_it_was_planned(
    request_: Request, folder: RunFolder, inline: type[Executor], tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from gtl_bench import strategy\n@strategy('mine')\ndef mine(source):\n    return []\n"
    )
    todo = planned(dataclasses.replace(request_, strategies=(str(path),)))
    path.unlink()  # as on a machine that lacks the file
    assert run(todo, folder, inline).finished == 2


def test_the_manifest_has_the_form_of_its_format(request_: Request, folder: RunFolder) -> None:
    # When a version is released, another form is another number, which older ones refuse.
    assert FORMAT == 1
    written = manifest(planned(request_), folder, request_, {})
    assert " ".join(sorted(written)) == (
        "benchmark benchmark_settings boundaries cells chance command commit data device "
        "each_tuned experiences kind more platform processor python regime requested seeds "
        "stand_in_reason strategies title versions written"
    )
    folder.write_manifest(written)
    assert folder.manifest() == json.loads(json.dumps(written))


def test_the_manifest_tells_why_cells_failed_until_they_are_finished(
    request_: Request, folder: RunFolder, inline: type[Executor], tmp_path: Path
) -> None:
    path = tmp_path / "odd.py"
    path.write_text(
        "from pathlib import Path\nfrom gtl_bench import strategy\n@strategy('odd')\n"
        f"def odd(source):\n    assert Path({str(tmp_path / 'mended')!r}).exists(), 'not yet'\n"
        "    return []\n"
    )
    request = dataclasses.replace(request_, strategies=("naive", str(path)))
    todo = planned(request)

    def computed(cells: tuple[Cell, ...]) -> dict[tuple[str, int], str | None]:
        """What the manifest tells after a run of some of the plan's cells."""
        progress = run(dataclasses.replace(todo, cells=cells), folder, inline)
        folder.write_manifest(manifest(todo, folder, request, progress.seconds, progress.failed))
        return {(c["strategy"], c["seed"]): c["error"] for c in folder.manifest()["cells"]}

    failed = "strategy 'odd' can't be built: AssertionError: not yet (line 5 of odd.py)"
    healthy = {("naive", 0): None, ("naive", 1): None}
    assert computed(todo.cells) == {**healthy, ("odd", 0): failed, ("odd", 1): failed}
    (tmp_path / "mended").touch()
    assert computed(todo.cells[2:3]) == {**healthy, ("odd", 0): None, ("odd", 1): failed}
    assert computed(todo.cells) == {**healthy, ("odd", 0): None, ("odd", 1): None}


def test_only_one_cell(request_: Request) -> None:
    todo = planned(request_)
    assert only(todo, "ewc:1") == (todo.cells[3],)
    for text in ("ewc:2", "ewc", "si:0", "ewc:01", ""):
        with pytest.raises(UsageError, match=r"write STRATEGY:SEED .*\(naive, ewc\).* 0 to 1"):
            only(todo, text)


@pytest.mark.parametrize("workers", [1, 2, 3])
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
        dataclasses.replace(todo, cells=tuple(shuffled)), other, lambda: LocalExecutor(workers)
    )
    assert progress.failed == []
    assert {path.name: path.read_bytes() for path in other.finished().values()} == {
        path.name: path.read_bytes() for path in reference.finished().values()
    }


def test_captions_name_what_is_not_tuned(request_: Request, tmp_path: Path) -> None:
    tuned = tmp_path / "tuned.toml"
    tuned.write_text('benchmark = "split-digits"\n[strategies.naive]\nlr = 0.002\n')
    both = planned(dataclasses.replace(request_, tuned=tuned))
    assert both.regime == "tuned by equal-budget search; EWC untuned"
    settings = {cell.strategy: cell.strategy_settings["lr"] for cell in both.cells}
    assert settings == {"naive": 0.002, "ewc": 0.01}
    matched = planned(
        dataclasses.replace(request_, strategies=("naive", "frozen"), matched=("lr=0.03",))
    )
    assert matched.regime == "matched at lr=0.03"
    # The frozen base searches nothing and stays frozen.
    settings = {cell.strategy: cell.strategy_settings["lr"] for cell in matched.cells}
    assert settings == {"naive": 0.03, "frozen": 0.0}
    tuned.write_text(
        'benchmark = "split-digits"\n[benchmark_settings]\nper_class = 20\nsplit = "tune"\n'
        "[strategies.naive]\nlr = 0.002\n"
    )
    alone = dataclasses.replace(request_, strategies=("naive",), tuned=tuned)
    elsewhere = planned(dataclasses.replace(alone, settings=("benchmark.per_class=2",)))
    assert elsewhere.regime == "tuned by equal-budget search on other benchmark settings"
    there = planned(dataclasses.replace(alone, settings=()))
    assert there.regime == "tuned by equal-budget search"
    assert (elsewhere.each_tuned, there.each_tuned) == (False, True)
    tuned.write_text('benchmark = "split-digits"\n[strategies.ewc]\newc_lambda = 5.0\n')
    three = dataclasses.replace(
        request_, strategies=("naive", "ewc", "si"), matched=("lr=0.03",), tuned=tuned
    )
    mixed = "matched at lr=0.03; all else tuned by equal-budget search; SI untuned"
    assert planned(three).regime == mixed
    assert not planned(three).each_tuned
    assert planned(dataclasses.replace(three, untuned=True)).regime == "matched at lr=0.03"
    own = planned(dataclasses.replace(request_, untuned=True, settings=(*SMALL, "naive.lr=0.5")))
    assert own.regime == "untuned defaults; with naive.lr=0.5"
