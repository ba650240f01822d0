"""The study: what it is made of, and the command that makes it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import pytest

from gtl_bench import reference
from gtl_bench.cli import main
from gtl_bench.errors import UsageError
from gtl_bench.recipes import discover
from gtl_bench.reference import (
    LADDERS,
    MATCHED,
    MATCHED_STRATEGIES,
    STRATEGIES,
    STUDY,
    Ladder,
    Row,
    choose,
    together,
)

SMALL = ("benchmark.per_class=1", "benchmark.hidden=8", "benchmark.epochs=1")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    inline: type[Executor],
) -> Call:
    """Call the command line in an empty folder, on a small study: (exit status, output, errors)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTL_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GTL_BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("gtl_bench.executors.LocalExecutor", lambda width: inline())
    # Figures take far longer than such cells.
    monkeypatch.setattr("gtl_bench.cli._report", lambda folder: None)
    rows = [
        Row(
            f"{benchmark}{'-matched' if matched else ''}",
            benchmark,
            ("naive", "frozen"),
            SMALL,
            matched,
            seeds=2,
        )
        for benchmark in ("split-digits", "stream-digits")
        for matched in ((), MATCHED)
    ]
    monkeypatch.setattr(reference, "STUDY", tuple(rows))
    monkeypatch.setattr(reference, "LADDERS", ())

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gtl-bench", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return call


def records(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/records/*.parquet")}


def test_it_leaves_runs_and_reports_and_goes_on_where_it_was(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "results" / "reference"
    status, _, err = call("reference", "--only", "stream-digits")
    assert (status, "stream-digits (1 of 1)" in err) == (0, True), err
    assert [path.name for path in folder.iterdir()] == ["stream-digits"]
    first = records(folder)
    assert len(first) == 4

    status, _, err = call("reference")
    assert status == 0, err
    assert "split-digits-matched (2 of 4)" in err
    made = records(folder)
    assert len(made) == 16
    assert first.items() <= made.items()
    for regime, words in (("tuned", "tuned by equal-budget search"), ("matched", "lr=0.01")):
        page = (folder / f"report-{regime}" / "index.html").read_text(encoding="utf-8")
        assert words in page
        assert "split-digits" in page
        assert "stream-digits" in page
    reported: list[Path] = []
    monkeypatch.setattr(
        "gtl_bench.cli._report_together", lambda folders, out, options: reported.append(out)
    )
    assert call("reference")[0] == 0
    assert records(folder) == made
    assert [path.name for path in reported] == ["report-tuned", "report-matched"]


def test_a_sweep_is_part_of_it(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ladder = Ladder("a-lr", "split-digits", "lr", ("0.1", "0.2"), ("naive",), seeds=1)
    swept: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "gtl_bench.cli._sweep",
        lambda planned, folder, executor: swept.append(
            (folder.path.name, planned.key, *(f"{point.value:g}" for point in planned.points))
        ),
    )
    monkeypatch.setattr(reference, "LADDERS", (ladder,))
    assert call("reference", "--only", "a-lr")[0] == 0
    (found,) = swept
    assert found[:2] == ("a-lr", "lr")
    assert {"0.1", "0.2"} < set(found[2:]), "and the strategies' own rates"
    assert not (tmp_path / "results").exists(), "no run is made"
    status, _, err = call("reference", "--only", "a-l")
    assert (status, "did you mean 'a-lr'" in err) == (2, True)


def test_a_manifest_tells_the_command_that_makes_the_run_again(call: Call, tmp_path: Path) -> None:
    call("reference", "--only", "split-digits-matched")
    folder = Path("results") / "reference" / "split-digits-matched"
    before = records(folder.parent)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    words = shlex.split(manifest["command"])
    assert words[:5] == ["python", "-m", "gtl_bench", "run", "split-digits"]
    assert call(*words[3:])[0] == 0
    again = json.loads((folder / "manifest.json").read_bytes())
    assert records(folder.parent) == before
    assert again["cells"] == manifest["cells"]
    assert again["command"] == manifest["command"]


def test_what_fails_is_told_and_the_rest_is_made(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.py").write_text(
        "from gtl_bench import strategy\n"
        "@strategy('bad')\ndef bad(source):\n    raise OSError('no')"
    )
    bad = Row("a", "split-digits", ("naive", "bad.py"), SMALL, seeds=1)
    good = Row("b", "stream-digits", ("naive", "frozen"), SMALL, seeds=1)
    monkeypatch.setattr(reference, "STUDY", (bad, good))
    told: list[Path] = []
    monkeypatch.setattr("gtl_bench.cli._report", lambda folder: told.append(folder.path))
    monkeypatch.setattr(
        "gtl_bench.cli._report_together", lambda folders, out, options: told.append(out)
    )
    status, _, err = call("reference", "--out", "x")
    assert status == 2
    assert "--out x/a --only bad:0" in " ".join(err.split())
    assert len(records(tmp_path / "x")) == 3
    assert told == [Path("x/a"), Path("x/b"), Path("x/report-tuned")]


def test_an_interrupt_ends_it_and_it_is_resumed(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inline: type[Executor]
) -> None:
    class Interrupting(inline):  # type: ignore[misc, valid-type]
        def submit(self, *arguments: object) -> object:
            os.kill(os.getpid(), signal.SIGINT)
            return super().submit(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("gtl_bench.executors.LocalExecutor", lambda width: Interrupting())
        status, _, err = call("reference")
    assert status == 130
    assert "resume: python -m gtl_bench reference" in err
    folder = tmp_path / "results" / "reference"
    assert [path.name for path in folder.iterdir()] == ["split-digits"]
    before = records(folder)
    assert 1 <= len(before) < 4
    monkeypatch.setattr("gtl_bench.cli._report_together", lambda folders, out, options: None)
    assert call("reference")[0] == 0
    assert before.items() <= records(folder).items()


def test_wrong_usage_and_no_stand_in(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, err = call("reference", "--only", "split-digit")
    assert (status, "did you mean 'split-digits" in err) == (2, True)
    monkeypatch.setattr(reference, "STUDY", (Row("a", "split-digits"), Row("b", "split-mnist")))
    monkeypatch.setenv("GTL_BENCH_DATA", "/dev/null/nowhere")
    status, _, err = call("reference")
    assert status == 3
    assert not Path("results").exists(), "it is known before anything is computed"


def test_what_it_is_made_of() -> None:
    registry = discover()
    assert len({row.folder for row in STUDY}) == len(STUDY)
    for row in STUDY:
        assert row.benchmark in registry.benchmarks
        assert set(row.strategies) <= set(registry.strategies)
    for benchmark in ("split-mnist", "stream-mnist", "split-digits"):
        ((tuned,), _), ((matched,), _) = choose(benchmark), choose(f"{benchmark}-matched")
        assert tuned.benchmark == matched.benchmark == benchmark
        assert tuned.seeds == matched.seeds == 20
        assert tuned.strategies == STRATEGIES
        assert (tuned.matched, matched.matched) == ((), MATCHED)
        assert matched.strategies == MATCHED_STRATEGIES
        (key,) = (text.partition("=")[0] for text in MATCHED)
        for name in matched.strategies:
            search = registry.strategy(name).search
            assert key in search or not search, f"{name} has no {key} to share"
    for ladder in LADDERS:
        assert ladder.benchmark in registry.benchmarks
        assert all(ladder.key in registry.strategy(name).search for name in ladder.strategies)
    with pytest.raises(UsageError, match="there is main-job"):
        choose("zzz")


@pytest.mark.parametrize(
    "benchmark", ["binary-patterns", "oneshot-digits", "oneshot-omniglot", "stream-omniglot"]
)
def test_where_an_experiment_is_matched_it_is_at_the_rate_given(benchmark: str) -> None:
    ((tuned,), _), ((matched,), _) = choose(benchmark), choose(f"{benchmark}-matched")
    given = discover().benchmark(benchmark).given
    assert (tuned.matched, matched.matched) == ((), (f"lr={given['lr']}",))
    assert tuned.benchmark == matched.benchmark == benchmark
    assert tuned.strategies == matched.strategies == (), "the benchmark's own"


def test_no_control_of_a_strategy_is_left_out() -> None:
    controls = {name for name, recipe in discover().strategies.items() if recipe.control}
    for control in controls:
        of = [name for name in STRATEGIES if control.startswith(f"{name}-")]
        assert control in STRATEGIES or not of, f"{control} is missing beside {of}"
    assert len(set(STRATEGIES)) == len(STRATEGIES)


def test_runs_are_reported_together_by_regime() -> None:
    reports = together(Path("x"))
    assert list(reports) == [Path("x/report-tuned"), Path("x/report-matched")]
    tuned, matched = reports.values()
    assert Path("x/split-mnist") in tuned
    assert Path("x/split-mnist-matched") in matched
    assert Path("x/main-job") not in tuned, "it is part of split-mnist"
    rows = {Path("x") / row.folder: row for row in STUDY}
    for folders, regime in ((tuned, ()), (matched, MATCHED)):
        assert {rows[folder].matched for folder in folders} == {regime}
        benchmarks = [rows[folder].benchmark for folder in folders]
        assert len(set(benchmarks)) == len(benchmarks), "ranks are over different benchmarks"
