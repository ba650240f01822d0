"""The command line as a user meets it: what it prints, what it leaves, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from gtl_bench import load_results
from gtl_bench.cli import main

Call = Callable[..., tuple[int, str, str]]
SMALL = [
    "--seeds=2",
    "--workers=1",
    "--set=benchmark.per_class=2",
    "--set=benchmark.hidden=16",
    "--device=cpu",
]

LWF = """
from gtl_bench import strategy

@strategy("my-lwf", label="My LwF")
def my_lwf(source, alpha: float = 1.0):
    "Learning without forgetting."
    from avalanche.training.plugins import LwFPlugin
    plugin = LwFPlugin(alpha=alpha)
    source.replay(plugin)
    return [plugin]
"""


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Call the command line in an empty folder: (exit status, output, errors)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTL_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GTL_BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gtl-bench", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return call


def records_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "records").glob("*.parquet")}


def test_run_leaves_records_tables_and_figures(call: Call, tmp_path: Path) -> None:
    (tmp_path / "my_method.py").write_text(LWF)
    names = "naive,ewc,./my_method.py"
    status, out, err = call("run", "split-digits", "--strategies", names, *SMALL)
    assert status == 0, err
    assert "My LwF" in out
    folder = tmp_path / "results" / "split-digits"
    for name in ("accuracy", "retention", "forgetting", "accuracy_matrix"):
        assert (folder / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [entry["name"] for entry in manifest["strategies"]] == ["naive", "ewc", "my-lwf"]
    assert manifest["command"].startswith("python -m gtl_bench run split-digits")
    assert all(cell["seconds"] > 0 for cell in manifest["cells"])

    # The table can be made again by hand from the tidy records.
    frame = load_results(folder)
    whole = frame.query("metric == 'accuracy' and experience == -1")
    assert whole.groupby(["strategy", "seed"])["step"].max().eq(20).all()
    final = whole.query("step == 20").groupby("strategy")["value"].mean()
    table = pd.read_csv(folder / "tables" / "summary.csv", index_col="strategy")
    for name in ("naive", "ewc", "my-lwf"):
        assert table.loc[name, "final_accuracy_mean"] == pytest.approx(final[name])

    # The same command again computes nothing and leaves the same bytes.
    before = records_of(folder)
    figure = (folder / "figures" / "accuracy.pdf").read_bytes()
    assert call("run", "split-digits", "--strategies", names, *SMALL)[0] == 0
    assert records_of(folder) == before
    assert (folder / "figures" / "accuracy.pdf").read_bytes() == figure
    again = json.loads((folder / "manifest.json").read_text())
    assert [cell["seconds"] for cell in again["cells"]] == [
        cell["seconds"] for cell in manifest["cells"]
    ]
    status, out, _ = call("report", str(folder), "--format=svg", "--column=double", "--focus=ewc")
    assert status == 0
    assert out.startswith("Too few seeds to tell EWC from Naive: 2,")
    assert (folder / "figures" / "accuracy.svg").read_bytes().startswith(b"<?xml")
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "Too few seeds to tell EWC from Naive: 2," in page
    assert "python -m gtl_bench run split-digits" in page
    elsewhere = call("report", str(folder), "--out=elsewhere", "--style=slides", "--format=png")
    assert elsewhere[0] == 0
    assert "gtl is not in this run" in (tmp_path / "elsewhere" / "index.html").read_text()
    assert (tmp_path / "elsewhere" / "figures" / "accuracy.png").is_file()
    status, out, err = call("report", str(folder), str(folder), "--out=joint", "--format=svg")
    assert status == 0, err
    assert "the report of 2 runs is in joint" in out
    assert (tmp_path / "joint" / "figures" / "benchmarks.svg").is_file()
    status, out, _ = call("verdict", str(folder), "--focus=ewc")
    assert status == 0
    assert out.startswith("Too few seeds to tell EWC from Naive: 2, where a test of 2 comparisons")
    assert "EWC ends " in out

    # A broken file is one line and leaves the others' results whole.
    (tmp_path / "broken.py").write_text("raise ImportError('not today')")
    status, _, err = call("run", "split-digits", "--strategies", f"{names},broken.py", *SMALL)
    assert status == 2
    assert any("broken.py can't be imported: ImportError: not today" in s for s in err.splitlines())
    assert "Traceback" not in err
    assert records_of(folder) == before


def test_stand_in_is_said_loudly_and_carried_everywhere(call: Call, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the data folder should be: no download can work")
    title = "split-digits (stand-in for split-mnist)"
    status, out, err = call("run", "split-mnist", "--strategies=naive", *SMALL)
    assert status == 0, err
    assert f"STAND-IN: {title}" in err
    assert title in out
    folder = tmp_path / "results" / title
    assert set(load_results(folder)["benchmark"]) == {title}
    for table in (folder / "tables").glob("*.md"):
        assert title in table.read_text()
    status, _, err = call("run", "split-mnist", "--require-data", *SMALL)
    assert status == 3
    assert "python -m gtl_bench data mnist" in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing command"),
        (["rnu"], "No such command 'rnu'"),
        (["run"], "Missing argument"),
        (["run", "split-mnst"], "did you mean 'split-mnist'"),
        (["run", "split-digits", "--strategies", "naiv"], "did you mean 'naive'"),
        (["run", "split-digits", "--seeds", "-1"], "'--seeds'"),
        (["run", "split-digits", "--seeds", "many"], "'--seeds'"),
        (["run", "split-digits", "--workers", "0"], "'--workers'"),
        (["run", "split-digits", "--device", "tpu"], "'--device'"),
        (["run", "split-digits", "--fast"], "No such option"),
        (["run", "split-digits", "--set", "naive.lr=fast"], "naive.lr=fast: expected a number"),
        (["run", "split-digits", "--set", "naive.lr=-1"], "0 or more"),
        (["run", "split-digits", "--matched", "speed=1"], "--matched speed=1"),
        (["run", "split-digits", "--tuned", "nowhere.toml"], "nowhere.toml can't be read"),
        (["run", "split-digits", "--out", "file/run"], "can't write to file/run"),
        (["report", "nowhere"], "nowhere is no run folder"),
        (["report", "nowhere", "--format=jpg"], "--format jpg: choose from pdf, svg, png, pgf"),
        (["report", "nowhere", "--column=triple"], "'--column'"),
        (["verdict", "nowhere"], "nowhere is no run folder"),
        (["verdict"], "Missing argument"),
        (["data", "mnits"], "did you mean 'mnist'"),
        (["tune", "split-digits", "--trials", "0"], "'--trials'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    call: Call, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "file").write_text("")
    status, out, err = call(*arguments)
    assert status == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert message in err
    assert {path.name for path in tmp_path.iterdir()} <= {"file", "data"}


def test_values_that_only_the_benchmark_can_judge(call: Call) -> None:
    status, _, err = call(
        "run", "split-digits", "--strategies=naive", *SMALL, "--set=benchmark.per_class=0"
    )
    assert status == 2
    assert "per_class is 0; it must be 1 or more" in err


def test_truncated_mnist_is_no_reason_for_a_stand_in(
    call: Call, tmp_path: Path, shared_data: Path
) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (shared_data / "MNIST" / "raw").iterdir():
        content = path.read_bytes()
        (raw / path.name).write_bytes(content[:-1] if path.name.startswith("t10k") else content)
    status, _, err = call("run", "split-mnist", *SMALL)
    assert status == 3
    assert "t10k" in err
    assert len(err.strip().splitlines()) == 1


def test_list_has_a_line_for_each(call: Call) -> None:
    status, out, _ = call("list")
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "Strategies"
    for name in ("naive", "ewc", "si", "gtl", "frozen", "split-mnist", "stream-digits"):
        assert sum(line.split()[:1] == [name] for line in lines) == 1
    assert max(map(len, lines)) <= 100


def test_data_verifies_what_is_there(call: Call, shared_data: Path) -> None:
    status, out, _ = call("data", "mnist", "--data-dir", str(shared_data))
    assert status == 0
    assert "complete and verified" in out


def test_tune_then_run_with_what_it_found(call: Call, tmp_path: Path) -> None:
    command = ["tune", "split-digits", "--strategies=naive,frozen", "--trials=2", "--seeds=1"]
    assert call(*command, "--workers=1")[0] == 0
    path = tmp_path / "results" / "tuning" / "split-digits" / "tuned.toml"
    first = path.read_text()
    assert call(*command, "--workers=1")[0] == 0
    assert path.read_text() == first
    status, out, err = call(
        "run", "split-digits", "--strategies=naive", "--tuned", str(path), *SMALL
    )
    assert status == 0, err
    assert "tuned by equal-budget search" in out
    status, _, err = call("run", "stream-digits", "--tuned", str(path), *SMALL)
    assert status == 2
    assert "was tuned on 'split-digits'" in err


def test_ctrl_c_keeps_finished_cells_and_says_how_to_resume(tmp_path: Path) -> None:
    arguments = ["run", "split-digits", "--strategies=naive", "--workers=1", "--out=run"]
    command = [sys.executable, "-m", "gtl_bench", *arguments, "--seeds=40"]
    environment = os.environ | {"GTL_BENCH_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not records_of(tmp_path / "run") and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "gtl-bench: interrupted: " in err
    assert "resume: python -m gtl_bench run split-digits" in err
    assert "Traceback" not in err
    kept = records_of(tmp_path / "run")
    assert 0 < len(kept) < 40
    # What was finished is used, and a manifest and report of it are there.
    assert load_results(tmp_path / "run")["seed"].nunique() == len(kept)
