"""The command line as a user meets it: what it prints, what it leaves, how it ends."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import pandas as pd
import pytest

from gtl_bench import load_results
from gtl_bench.cell import lost
from gtl_bench.cli import _Bar, main
from gtl_bench.runner import Progress

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


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, inline: type[Executor]) -> None:
    """Cells are computed in this process, for tests that are not about workers."""
    monkeypatch.setattr("gtl_bench.executors.LocalExecutor", lambda width: inline())


def recipe(path: Path, body: str, options: str = "") -> str:
    """Write a strategy's file, named as the strategy; returns its path."""
    name = path.stem
    path.write_text(
        "from gtl_bench import strategy\nfrom avalanche.core import SupervisedPlugin\n"
        f"@strategy({name!r}{options})\ndef {name}(source):\n    {body}\n"
    )
    return str(path)


def plugin(hook: str, body: str) -> str:
    """The body of a strategy with a plugin that does something at one hook."""
    return (
        "class Plugin(SupervisedPlugin):\n"
        f"        def {hook}(self, strategy, **kwargs):\n            {body}\n"
        "    return [Plugin()]"
    )


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
        (["run", "split-digits", "--seeds", "10001"], "it must lie between 1 and 10000"),
        (["run", "split-digits", "--workers", "0"], "'--workers'"),
        (["run", "split-digits", "--device", "tpu"], "'--device'"),
        (["run", "split-digits", "--fast"], "No such option"),
        (["run", "split-digits", "--set", "naive.lr=fast"], "naive.lr=fast: expected a number"),
        (["run", "split-digits", "--set", "naive.lr=-1"], "0 or more"),
        (["run", "split-digits", "--set", "naive.lr"], "write STRATEGY.KEY=VALUE"),
        (["run", "split-digits", "--set", "naive.momentun=1"], "did you mean 'momentum'"),
        (["run", "split-digits", "--set", "benchmark.perclass=1"], "did you mean 'per_class'"),
        (["run", "split-digits", "--set", "joint.lr=1"], "'joint' takes no part in this run"),
        (["run", "split-digits", "--only", "naive"], "--only naive: write STRATEGY:SEED"),
        (["run", "split-digits", "--only", "naive:9"], "a seed from 0 to 4"),
        (["run", "split-digits", "--dask", "local:many"], "--dask local:many: write a scheduler's"),
        (["run", "split-digits", "--dask", "nowhere"], "--dask nowhere: write a scheduler's"),
        (["run", "split-digits", "--dask", "a:1", "--workers", "2"], "leave it out with --dask"),
        (["run", "split-digits", "--strategies", "nowhere.py"], "no recipe file"),
        (["run", "split-digits", "--strategies", "file"], "unknown strategy 'file'"),
        (
            ["run", "split-digits", "--strategies", "broken.py"],
            "broken.py can't be imported: ZeroDivisionError: division by zero (line 1 of",
        ),
        (["check", "broken.py"], "broken.py can't be imported: ZeroDivisionError"),
        (["run", "split-digits", "--matched", "speed=1"], "--matched speed=1"),
        (["run", "split-digits", "--tuned", "nowhere.toml"], "nowhere.toml can't be read"),
        (["run", "split-digits", "--out", "file/run"], "can't write to file/run"),
        # Where not even the superuser may write.
        (["run", "split-digits", "--out", "/sys/run"], "can't write to /sys/run: "),
        (["tune", "split-digits", "--out", "/sys/run"], "can't write to /sys/run: "),
        (["sweep", "split-digits", "--out", "/sys/run"], "can't write to /sys/run: "),
        (["new", "strategy", "fine", "--out=/sys/x"], "can't write to /sys/x/fine.py: "),
        (["report", "nowhere"], "nowhere is no run folder"),
        (["report", "nowhere", "--format=jpg"], "--format jpg: choose from pdf, svg, png, pgf"),
        (["report", "nowhere", "--column=triple"], "'--column'"),
        (["new"], "Missing command"),
        (["new", "strategy", "naive"], "there is a strategy 'naive' already"),
        (["new", "strategy", "My Method"], "'My Method' can't name a strategy"),
        (["new", "strategy", "lambda"], "'lambda' can't name a strategy"),
        (["new", "strategy", "fine", "--out=file/x"], "can't write to file/x/fine.py"),
        (["check", "nowhere.py"], "no recipe file"),
        (["check", "naiv"], "did you mean 'naive'"),
        (["sweep", "split-digits", "--over=speed"], "--over speed: none of these strategies"),
        (["sweep", "split-digits", "--values=fast"], "naive.lr=fast: expected a number"),
        (["verdict", "nowhere"], "nowhere is no run folder"),
        (["verdict"], "Missing argument"),
        (["data", "mnits"], "did you mean 'mnist'"),
        (["tune", "split-digits", "--trials", "0"], "'--trials'"),
        (["tune", "split-digit"], "did you mean 'split-digits'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    call: Call, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "broken.py").write_text("1 / 0")
    status, out, err = call(*arguments)
    assert status == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert message in err
    assert {path.name for path in tmp_path.iterdir()} <= {"file", "broken.py", "data"}


def complaints(err: str) -> list[str]:
    """The lines that are not the progress bar's."""
    return [line for line in err.splitlines() if line.startswith("gtl-bench: ")]


@pytest.mark.parametrize(
    ("strategies", "setting", "message"),
    [
        (
            "naive,frozen",
            "benchmark.per_class=0",
            "ValueError: per_class is 0; it must be 1 or more",
        ),
        ("naive", "benchmark.split=tset", "ValueError: "),
        ("gtl", "gtl.n_scouts=0", "ValueError: n_scouts is 0; it must be 1 or more"),
        ("ewc", "ewc.ewc_lambda=-1", "ValueError: the penalty's strength is -1.0; it must be"),
    ],
)
def test_values_that_only_the_recipe_can_judge(
    call: Call, tmp_path: Path, in_process: None, strategies: str, setting: str, message: str
) -> None:
    command = ["run", "split-digits", f"--strategies={strategies}", *SMALL, f"--set={setting}"]
    status, out, err = call(*command)
    assert (status, out) == (2, "")
    # Where it is the same for all cells, it is said once.
    [complaint] = complaints(err)
    assert complaint.startswith("gtl-bench: all cells alike: ")
    assert f"can't be built: {message}" in complaint
    cells = 2 * len(strategies.split(","))
    assert f"0 of {cells} cells are finished, {cells} failed; resume: python -m" in complaint
    assert complaint.endswith(setting)
    assert records_of(tmp_path / "results" / "split-digits") == {}


def test_a_folder_for_data_that_cannot_be_written(call: Call) -> None:
    for command in (["data", "mnist"], ["run", "split-mnist", "--require-data"]):
        status, out, err = call(*command, "--data-dir=/sys/data")
        assert (status, out) == (3, "")
        assert len(err.strip().splitlines()) == 1
        assert "MNIST is not in /sys/data" in err
        assert "could not be downloaded ([Errno " in err
        assert "run `python -m gtl_bench data mnist --data-dir /sys/data`" in err


def test_a_cache_that_cannot_be_written(
    call: Call, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GTL_BENCH_CACHE", "/sys/cache")
    status, out, err = call("run", "split-digits", "--strategies=naive", *SMALL)
    assert (status, out) == (2, "")
    [complaint] = complaints(err)
    assert "can't write to /sys/cache: " in complaint
    assert "choose a folder that can be written" in complaint


def test_parameters_that_are_not_finite_are_told_as_divergence(
    call: Call, tmp_path: Path, in_process: None
) -> None:
    nan = "next(strategy.model.parameters()).data.fill_(float('nan'))"
    recipe(tmp_path / "hollow.py", plugin("after_training_exp", nan))
    status, out, err = call("run", "split-digits", "--strategies=naive,hollow.py", *SMALL)
    assert (status, complaints(err)) == (0, [])
    told = "hollow diverged in 2 of 2 runs (seed 0 after step 1, seed 1 after step 1)"
    assert told in out
    folder = tmp_path / "results" / "split-digits"
    for report in ("tables/summary.md", "report/index.html"):
        assert told in (folder / report).read_text(encoding="utf-8")
    table = pd.read_csv(folder / "tables" / "summary.csv", index_col="strategy")
    assert table.loc["hollow", "final_accuracy_mean"] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = [", "can't be read"),
        ("x = " + "[" * 5000, "can't be read"),
        ("benchmark = 'split-digits'", "no [strategies.NAME] tables"),
        ("benchmark = 'stream-digits'\n[strategies.naive]", "was tuned on 'stream-digits'"),
        ("[strategies.naive]\nlr = 0.1", "was tuned on None"),
        ("benchmark = 'split-digits'\n[strategies.naive]\nlr = 'fast'", "expected a number"),
        ("benchmark = 'split-digits'\n[strategies.naive]\nlr = nan", "expected a number"),
        ("benchmark = 'split-digits'\n[strategies.naive]\nlr = -1", "it must be 0 or more"),
        ("benchmark = 'split-digits'\n[strategies.naive]\nrl = 1", "has no setting 'rl'"),
        ("benchmark = 'split-digits'\n[strategies.naive]\nlr = [1]", "expected a number"),
    ],
)
def test_tuned_values_that_are_wrong_are_one_line(
    call: Call, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "tuned.toml").write_text(text)
    status, out, err = call("run", "split-digits", "--tuned", "tuned.toml")
    assert (status, out) == (2, "")
    assert len(err.strip().splitlines()) == 1
    assert message in err
    assert "tuned.toml" in err
    assert [path.name for path in tmp_path.iterdir()] == ["tuned.toml"]


def link_out(path: Path) -> None:
    outside = path.parents[3] / "outside"
    outside.write_bytes(b"x")
    path.symlink_to(outside)


def sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def gzip_bomb(path: Path) -> None:
    """50 MB in 50 kB."""
    with gzip.open(path.with_name(f"{path.name}.gz"), "wb", compresslevel=1) as file:
        file.write(bytes(50_000_000))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"x"), "is truncated: 1 bytes of 47,040,016"),
        (lambda path: sparse(path, 47_040_017), "is damaged: more than its 47,040,016 bytes"),
        (lambda path: sparse(path, 47_040_016), "is damaged: SHA-256"),
        (gzip_bomb, "is damaged: more than its 47,040,016 bytes"),
        (link_out, "leads out of"),
        (lambda path: path.mkdir(), "is not a file"),
    ],
)
@pytest.mark.parametrize("command", [["data", "mnist"], ["run", "split-mnist"]])
def test_damaged_data_is_one_line_and_no_reason_for_a_stand_in(
    call: Call,
    tmp_path: Path,
    command: list[str],
    damage: Callable[[Path], object],
    message: str,
) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"x")
    damage(raw / "train-images-idx3-ubyte")
    status, out, err = call(*command)
    assert (status, out) == (3, "")
    assert len(err.strip().splitlines()) == 1
    assert message in err
    assert "train-images-idx3-ubyte" in err
    assert "python -m gtl_bench data mnist" in err
    assert not (tmp_path / "results").exists()


def test_a_zip_that_would_write_elsewhere_is_not_opened(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "omniglot"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "images_background.zip", "w") as archive:
        archive.writestr("../../../escaped.png", b"x")
    status, out, err = call("data", "omniglot")
    assert (status, out) == (3, "")
    assert len(err.strip().splitlines()) == 1
    assert "images_background.zip is truncated" in err
    assert not any(tmp_path.rglob("escaped.png"))


def test_recipes_that_fail_are_named_with_their_seeds_and_what_computes_just_them(
    call: Call, tmp_path: Path, in_process: None
) -> None:
    bad = {
        "builder": ("1 / 0", "can't be built: ZeroDivisionError: division by zero (line 5 of"),
        "value": ("return 'x'", "returns str: it must return a list of Avalanche plugins"),
        "training": (plugin("before_backward", "1 / 0"), "division by zero (line 7 of training.py"),
        "evaluation": (
            plugin("after_training_exp", "strategy.model.register_forward_hook(lambda *a: 1 / 0)"),
            "division by zero (line 7 of evaluation.py)",
        ),
        "seed": (
            plugin("after_training_exp", "import torch; torch.manual_seed(1)"),
            "sets the seed of the global random state",
        ),
        "outputs": (
            plugin(
                "before_training_exp",
                "import torch; strategy.model = torch.nn.Sequential("
                "strategy.model, torch.nn.Linear(10, 11))",
            ),
            "changes the model's outputs from 10 to 11",
        ),
    }
    for name, (body, _) in bad.items():
        recipe(tmp_path / f"{name}.py", body)
    names = ",".join(["naive", *(f"{name}.py" for name in bad)])
    command = ["run", "split-digits", f"--strategies={names}", *SMALL]
    status, out, err = call(*command)
    assert status == 2
    assert "Traceback" not in err
    for name, (_, message) in bad.items():
        for seed in (0, 1):
            [line] = [line for line in err.splitlines() if f"{name}, seed {seed}: " in line]
            assert message in line
            again = f"To compute just it: python -m gtl_bench {' '.join(command)}"
            assert line.endswith(f"{again} --only {name}:{seed}")
    assert "2 of 14 cells are finished, 12 failed; resume: python -m gtl_bench run" in err
    assert "builder 0 of 2" in out  # the caption
    assert load_results(tmp_path / "results" / "split-digits")["strategy"].unique() == ["naive"]

    page = tmp_path / "results" / "split-digits" / "report" / "index.html"
    for _, message in bad.values():
        assert message in page.read_text(encoding="utf-8").replace("&#39;", "'")

    # What only fails in training is no wrong usage.
    assert call(*command, "--only=training:1")[0] == 1
    # Mended, one of them is computed alone, and the report is still of the whole run.
    recipe(tmp_path / "value.py", "return []")
    status, out, err = call(*command, "--only", "value:1")
    assert status == 0, err
    assert "value 1 of 2" in out
    frame = load_results(tmp_path / "results" / "split-digits")
    assert frame.groupby("strategy")["seed"].unique().map(list).to_dict() == {
        "naive": [0, 1],
        "value": [1],
    }


def test_a_newer_run_is_left_alone(call: Call, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "manifest.json").write_text('{"format": 2}')
    for command in (["run", "split-digits", "--out", "new"], ["report", "new"]):
        status, out, err = call(*command)
        assert (status, out) == (2, "")
        assert err.startswith("gtl-bench: new was written by a newer gtl-bench (format 2")
        assert len(err.strip().splitlines()) == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["manifest.json"]


def test_what_is_damaged_is_named_set_aside_and_made_again(
    call: Call, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gtl_bench.cli._report", lambda folder, *rest: folder.load())
    command = ["run", "split-digits", "--strategies=naive,frozen", "--out=run", *SMALL]
    assert call(*command)[0] == 0
    before = records_of(tmp_path / "run")
    record = min((tmp_path / "run" / "records").glob("naive-*.parquet"))
    base = min((tmp_path / "cache").glob("base-*.safetensors"))
    manifest = tmp_path / "run" / "manifest.json"
    for path in (record, base, manifest):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    status, _, err = call("report", "run")
    assert status == 1
    assert err == (
        "gtl-bench: run/manifest.json is damaged: repeat the run's command, which uses what is "
        "finished and writes a new manifest.\n"
    )
    status, _, err = call(*command, "--fresh")
    assert status == 0, err
    named = [
        line for line in err.splitlines() if "damaged and set aside, to be computed again" in line
    ]
    for path in (record, base, manifest):
        assert sum(str(path.with_suffix(".damaged").name) in line for line in named) == 1
        assert path.with_suffix(".damaged").exists()
    assert records_of(tmp_path / "run") == before
    status, _, err = call(*command)
    assert (status, "damaged" in err) == (0, False)
    # A report leaves a damaged record out, and says so.
    record.write_bytes(b"")
    status, _, err = call("report", "run")
    assert status == 0
    assert (
        f"damaged and set aside, to be computed again: {record.relative_to(tmp_path)}"[:-8] in err
    )


def test_a_full_disk_is_one_line(
    call: Call, tmp_path: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    status, out, err = call("run", "split-digits", "--strategies=naive", *SMALL)
    assert (status, out) == (1, "")
    assert len(err.strip().splitlines()) == 1
    assert "manifest.json: No space left on device; make room, then repeat the command" in err
    assert [path.name for path in (tmp_path / "results/split-digits").iterdir()] == ["records"]


def test_one_bad_apple_of_each_kind_beside_two_healthy_strategies(
    call: Call, tmp_path: Path
) -> None:
    raises = plugin("before_training_exp", "assert strategy.clock.train_exp_counter != 100, 'late'")
    eats = plugin("before_training_exp", "import os; os.kill(os.getpid(), 9)")  # as the system does
    names = [
        "naive",
        recipe(tmp_path / "diverges.py", "return []", ", lr=1e18"),
        recipe(tmp_path / "raises.py", raises),
        recipe(tmp_path / "eats.py", eats),
        "frozen",
    ]
    small = ["--seeds=2", "--workers=2", "--device=cpu", "--set=benchmark.hidden=8"]
    small += ["--set=benchmark.per_class=11", "--set=benchmark.epochs=1", "--out=run"]
    status, out, err = call("run", "split-digits", "--strategies", ",".join(names), *small)
    assert status == 1
    assert "Traceback" not in err
    for seed in (0, 1):
        assert f"raises, seed {seed}: AssertionError: late (line 7 of raises.py)" in err
        assert f"eats, seed {seed}: its worker process died (killed, or out of memory)." in err
    assert "6 of 10 cells are finished, 4 failed" in err
    assert "raises 0 of 2, eats 0 of 2" in out
    assert "diverged in 2 of 2 runs" in out
    table = pd.read_csv(tmp_path / "run" / "tables" / "summary.csv", index_col="strategy")
    assert table["seeds"].to_dict() == {
        "naive": 2,
        "diverges": 2,
        "raises": 0,
        "eats": 0,
        "frozen": 2,
    }
    assert table.loc["diverges", "final_accuracy_mean"] == 0
    assert table.loc["naive", "final_accuracy_mean"] > 0.1
    page = (tmp_path / "run" / "report" / "index.html").read_text(encoding="utf-8")
    for told in (
        "raises 0 of 2, eats 0 of 2",
        "diverges diverged in 2 of 2 runs (seed 0 after step ",
        "<td>0, 1</td><td>AssertionError: late (line 7 of raises.py)</td>",
        "<td>0, 1</td><td>its worker process died (killed, or out of memory).</td>",
    ):
        assert told in page


def test_list_has_a_line_for_each(call: Call) -> None:
    status, out, _ = call("list")
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "Strategies"
    for name in ("naive", "ewc", "si", "gtl", "frozen", "split-mnist", "stream-digits"):
        assert sum(line.split()[:1] == [name] for line in lines) == 1
    assert max(map(len, lines)) <= 100


def test_sweep_says_what_more_scouts_make_of_the_gain(call: Call, tmp_path: Path) -> None:
    command = ["sweep", "split-digits", "--strategies=naive,gtl", "--over=n_scouts", "--values=1"]
    command += ["--seeds=1", "--workers=1", "--set=per_class=2", "--set=hidden=16"]
    status, out, err = call(*command)
    assert status == 0, err
    folder = tmp_path / "results" / "sweep" / "split-digits-n_scouts"
    text = (folder / "tables" / "verdict.md").read_text(encoding="utf-8")
    sentences = text.splitlines()[0].strip("*")
    assert sentences.startswith("With n_scouts=1 the gain of GTL over Naive is ")
    assert "with n_scouts=40 it is" in sentences
    assert sentences in out
    command[2] = "--strategies=gtl"
    assert call(*command)[0] == 0
    assert not (folder / "tables" / "verdict.md").exists()


def test_sweep_draws_and_resumes(call: Call, tmp_path: Path) -> None:
    command = ["sweep", "split-digits", "--strategies=naive,frozen", "--values=0.1,0.2"]
    command += ["--seeds=1", "--workers=1", "--set=per_class=2", "--set=hidden=16"]
    status, out, err = call(*command)
    assert status == 0, err
    folder = tmp_path / "results" / "sweep" / "split-digits-lr"
    assert str(folder.relative_to(tmp_path) / "figures" / "sensitivity.pdf") in out
    table = pd.read_csv(folder / "tables" / "sweep.csv")
    assert set(table["value"].dropna()) >= {0.1, 0.2}
    before = records_of(folder)
    assert len(before) == len(table)
    assert call(*command)[0] == 0
    assert records_of(folder) == before


def test_a_new_strategy_is_checked_and_run(call: Call, tmp_path: Path) -> None:
    status, out, _ = call("new", "strategy", "my-method", "--out=mine")
    assert status == 0
    assert "python -m gtl_bench check mine/my_method.py" in out
    status, out, err = call("check", "mine/my_method.py")
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0] == "my-method"
    assert {line.split()[0] for line in lines[1:]} == {"ok"}
    recipe = tmp_path / "mine" / "my_method.py"
    recipe.write_text(recipe.read_text().replace("strength / 2 *", "0 *"))
    status, out, _ = call("check", "mine/my_method.py")
    assert status == 1
    (failing,) = [line for line in out.splitlines() if "FAILS" in line]
    assert "does something: it ends where plain fine-tuning" in failing
    status, out, err = call("new", "strategy", "my-method", "--out=mine")
    assert status == 2
    assert "is there already" in err


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


def test_an_interrupted_sweep_says_so_once(
    call: Call, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(bar: object, progress: Progress) -> None:
        if progress.done and not progress.stopped:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("gtl_bench.cli._Bar.show", interrupt)
    small = ["--set=per_class=1", "--set=hidden=8", "--set=epochs=1"]
    status, out, err = call("sweep", "split-digits", "--strategies=naive", "--seeds=2", *small)
    assert (status, out) == (130, "")
    assert complaints(err) == ["gtl-bench: interrupted. Repeat the command to go on from here."]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (
            [(0, Progress(10, done=4, reused=4, running=2))],
            " 4/10 done, 2 running, 0 failed 0:00:00 ? left",
        ),
        (
            # What was finished before took no time: two cells in a minute, so four in two.
            [
                (0, Progress(10, done=4, reused=4, running=2)),
                (60, Progress(10, done=6, reused=4, running=2, failed=[lost(None, OSError())])),
            ],
            " 6/10 done, 2 running, 1 failed 0:01:00 0:02:00 left",
        ),
        (
            # Cells of an hour are no reason for knowing nothing.
            [(3600 * n, Progress(200, done=n, running=9)) for n in range(101)],
            " 100/200 done, 9 running, 0 failed 4 days, 4:00:00 4 days, 4:00:00 left",
        ),
        (
            [(5, Progress(10, done=10, reused=10))],
            " 10/10 done, 0 running, 0 failed 0:00:05 0:00:00 left",
        ),
    ],
    ids=["begun", "resumed", "slow cells", "all reused"],
)
@pytest.mark.parametrize("title", ["split-digits", "split-digits (stand-in for split-mnist)"])
def test_the_bar_tells_how_far_a_run_is_and_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shown: list[tuple[float, Progress]],
    expected: str,
    title: str,
) -> None:
    now = [0.0]
    monkeypatch.setattr("rich.console.monotonic", lambda: now[0])
    monkeypatch.setenv("COLUMNS", "80")
    with _Bar(title) as bar:
        for now[0], progress in shown:
            bar.show(progress)
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_finished_cells_and_says_how_to_resume(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = endless_run(tmp_path)
    os.killpg(process.pid, number)  # to all its processes, as a terminal or a cluster does
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "gtl-bench: interrupted. " in err
    assert "resume: python -m gtl_bench run split-digits" in err
    assert "Traceback" not in err
    kept = records_of(tmp_path / "run")
    assert 0 < len(kept) < 400
    # What was finished is used, and a manifest and report of it are there.
    assert load_results(tmp_path / "run")["seed"].nunique() == len(kept)


def test_ctrl_c_twice_ends_at_once(tmp_path: Path) -> None:
    recipe(
        tmp_path / "stuck.py", "while source.rng.seed: __import__('time').sleep(1)\n    return []"
    )
    process = endless_run(tmp_path, "stuck.py")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "once more to stop at once" not in (line := process.stderr.readline()):
        assert line
    process.send_signal(signal.SIGINT)
    process.wait(timeout=60)
    err = process.stderr.read()
    process.stderr.close()
    assert process.returncode == 130
    assert "gtl-bench: interrupted at once; what was finished is kept." in err
    assert "Traceback" not in err
    assert load_results(tmp_path / "run")["seed"].unique() == [0]
    assert not list((tmp_path / "run").glob("figures"))


def test_workers_end_when_their_run_is_killed(tmp_path: Path) -> None:
    process = endless_run(tmp_path)
    process.kill()
    process.communicate(timeout=300)  # until the last process that could write there has ended
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("there are processes left of a run that was killed")


def endless_run(folder: Path, strategy: str = "naive") -> subprocess.Popen[str]:
    """A run in a session of its own that has finished a cell and has many to go."""
    arguments = ["run", "split-digits", "--strategies", strategy, "--workers=1", "--out=run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gtl_bench", *arguments, "--seeds=400", "--device=cpu"],
        cwd=folder,
        env=os.environ | {"GTL_BENCH_CACHE": str(folder / "cache")},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not records_of(folder / "run"):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    return process
