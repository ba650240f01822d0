"""Whatever is typed or read, the answer is right or one line: hypothesis looks for another one.

200 cases by default, 50 for each way in; 2,400 with `-m nightly`.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inline import Inline

from gtl_bench.cli import main
from gtl_bench.data import DataFolder
from gtl_bench.data.mnist import read_idx
from gtl_bench.errors import GTLBenchError, UsageError
from gtl_bench.plan import Plan, Request, plan
from gtl_bench.recipes import Registry, discover, resolve
from gtl_bench.runner import Progress, manifest, run
from gtl_bench.store import RunFolder
from gtl_bench.tuned import Tuned

both = pytest.mark.parametrize("cases", [50, pytest.param(600, marks=pytest.mark.nightly)])


def fuzz(cases: int) -> Any:
    return settings(
        max_examples=cases,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def attempt(call: Callable[[], Any], expected: type[Exception]) -> tuple[Any, str | None]:
    """What a call returns, or the one line that it tells."""
    try:
        return call(), None
    except expected as error:
        told = str(error)
    assert len(told.splitlines()) == 1
    return None, told


# The command line.

noise = st.text(max_size=12).filter(lambda text: "/" not in text and not text.startswith("-"))


def mostly(*likely: str) -> st.SearchStrategy[str]:
    """One of these as a rule: what is wrong with the rest is found behind what is right."""
    return st.integers(0, 9).flatmap(lambda n: st.sampled_from(likely) if n else noise)


names = st.lists(
    mostly("naive", "ewc", "gtl", "gtl+ewc", "all", "frozen", "broken.py", "mine.py", "folder.py"),
    max_size=3,
)
values = mostly("1", "0.1", "5", "1", "0", "-1", "1e400", "nan", "true", "sgd", "", "9" * 40)
keys = mostly("naive.lr", "benchmark.per_class", "benchmark.split", "gtl.n_scouts", "mine.x", "lr")
setting = st.one_of(st.builds("{}={}".format, keys, values), noise)
number = mostly("1", "2", "3", "0", "-1", "nan", "10001")
OPTIONS = {
    "--strategies": names.map(",".join),
    "--seeds": number,
    "--workers": number,
    "--set": setting,
    "--matched": setting,
    "--only": mostly("naive:0", "ewc:0", "ewc:99", ":"),
    "--dask": mostly("local:", "local:0", "local:x", ""),
    "--tuned": mostly("tuned.toml", "broken.py", "folder.py"),
    "--out": mostly("run", "other", "broken.py", "newer", "damaged"),
    "--device": mostly("cpu", "auto", "tpu"),
}
option = st.one_of(
    *(st.tuples(st.just(name), value) for name, value in OPTIONS.items()),
    st.tuples(mostly("--untuned", "--fresh", "--require-data", "--nonsense")),
)
command = st.integers(0, 9).flatmap(
    lambda n: st.sampled_from([["report"], ["verdict"], ["list"], ["data"], []] if n < 2 else RUN)
)
RUN = [["run"]]
arguments = st.builds(
    lambda command, benchmark, options: [*command, benchmark, *(x for o in options for x in o)],
    command,
    mostly("split-digits", "stream-digits", "split-mnist", "split-digit"),
    st.lists(option, max_size=4, unique_by=lambda chosen: chosen[0]),
)


def prepare(folder: Path) -> None:
    """Files that a command line may name, good ones and bad ones."""
    (folder / "mine.py").write_text(
        "from gtl_bench import strategy\n@strategy('mine')\ndef mine(source):\n    return []\n"
    )
    (folder / "broken.py").write_text("1 / 0")
    (folder / "folder.py").mkdir()
    (folder / "tuned.toml").write_text("benchmark = 'split-digits'\n[strategies.naive]\nlr = 0.5\n")
    (folder / "newer").mkdir()
    (folder / "newer" / "manifest.json").write_text('{"format": 99}')
    (folder / "damaged").mkdir()
    (folder / "damaged" / "manifest.json").write_text('{"format": 1}')
    (folder / "data").write_text("a file where a folder should be: nothing can be downloaded")


@both
def test_command_lines(cases: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan_only(plan: Plan, *rest: Any) -> Progress:
        return Progress(total=len(plan.cells))

    monkeypatch.setattr("gtl_bench.runner.run", plan_only)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTL_BENCH_DATA", str(tmp_path / "data"))

    @fuzz(cases)
    @given(arguments)
    def check(arguments: Sequence[str]) -> None:
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        prepare(tmp_path)
        monkeypatch.setattr(sys, "argv", ["gtl-bench", *arguments])
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.raises(SystemExit) as end,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main()
        status = end.value.code or 0
        assert status in (0, 1, 2, 3)
        if status and not (tmp_path / "results").exists() and not (tmp_path / "run").exists():
            complaints = err.getvalue().strip().splitlines()
            assert len(complaints) == 1, complaints
            assert complaints[0].startswith("gtl-bench: ")

    check()


# Tuned values.


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover()


toml_value = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=8),
        st.dates(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
toml_key = mostly("lr", "momentum", "optimizer", "ewc_lambda", "decay")
toml_settings = st.dictionaries(toml_key, st.one_of(st.floats(0, 1), toml_value), max_size=3)
toml_file = st.fixed_dictionaries(
    {
        "benchmark": mostly("split-digits"),
        "strategies": st.one_of(
            *[st.fixed_dictionaries({"naive": toml_settings, "ewc": toml_settings})] * 4,
            toml_value,
        ),
    }
).map(tomli_w.dumps)
toml_bytes = st.one_of(
    *[toml_file.map(str.encode)] * 4,
    st.builds(
        lambda text, at, noise: text[:at].encode() + noise,
        toml_file,
        st.integers(0, 99),
        st.binary(max_size=20),
    ),
)


@both
def test_tuned_values(cases: int, tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "tuned.toml"
    benchmark = registry.benchmarks["split-digits"]

    @fuzz(cases)
    @given(toml_bytes)
    def check(content: bytes) -> None:
        path.write_bytes(content)
        for name in ("naive", "ewc"):
            recipe = registry.strategies[name]
            values, told = attempt(lambda: Tuned.of(benchmark, path).values(recipe), UsageError)  # noqa: B023
            if told:
                assert "tuned.toml" in told
            else:
                whole = resolve(recipe, {}, values)
                for key, value in whole.items():
                    assert type(value) is type(recipe.defaults[key])
                assert whole["lr"] >= 0

    check()


# The records and the manifest of a run.


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A small run, computed here."""
    place = tmp_path_factory.mktemp("records")
    request = Request(
        "split-digits",
        ("naive", "frozen"),
        seeds=1,
        settings=("benchmark.per_class=1", "benchmark.hidden=8", "benchmark.epochs=1"),
        cache_folder=place / "cache",
    )
    planned = plan(request, discover(), DataFolder(Path("/nonexistent"), download=False))
    folder = RunFolder(place / "run")
    folder.prepare()
    assert run(planned, folder, Inline).finished == 2
    folder.write_manifest(manifest(planned, folder, request, {}))
    return folder


damage = st.one_of(
    st.tuples(st.just("flip"), st.floats(0, 1, exclude_max=True), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.floats(0, 1, exclude_max=True), st.just(0)),
    st.tuples(st.just("drop"), st.floats(0, 1, exclude_max=True), st.integers(1, 40)),
    st.tuples(st.just("repeat"), st.floats(0, 1, exclude_max=True), st.integers(1, 40)),
)


def damaged(content: bytes, how: str, where: float, much: int) -> bytes:
    at = int(where * len(content))
    if how == "flip":
        return content[:at] + bytes([content[at] ^ much]) + content[at + 1 :]
    if how == "cut":
        return content[:at]
    if how == "drop":
        return content[:at] + content[at + much :]
    return content[: at + much] + content[at:]


@both
def test_records_and_manifests(cases: int, run_folder: RunFolder, tmp_path: Path) -> None:
    expected = run_folder.load()
    files = [*sorted(run_folder.records.glob("*.parquet")), run_folder.manifest_path]
    contents = {path: path.read_bytes() for path in files}

    @fuzz(cases)
    @given(st.sampled_from(files), damage)
    def check(path: Path, how: tuple[str, float, int]) -> None:
        content = damaged(contents[path], *how)
        folder = RunFolder(tmp_path / "copy")
        shutil.rmtree(folder.path, ignore_errors=True)
        shutil.copytree(run_folder.path, folder.path)
        (folder.path / path.relative_to(run_folder.path)).write_bytes(content)
        found, told = attempt(folder.load, GTLBenchError)
        if told:
            assert path == run_folder.manifest_path
        else:
            # What is damaged is left out; what is there is as it was.
            kept = expected[expected["strategy"].isin(found["strategy"].unique())]
            pd.testing.assert_frame_equal(found, kept.reset_index(drop=True))
            if content != contents[path] and path != run_folder.manifest_path:
                assert len(found) < len(expected)
                assert [aside.stem for aside in folder.damaged] == [path.stem]

    check()


# The idx reader.


@both
def test_idx_files(cases: int) -> None:
    header = st.builds(
        lambda magic, sizes: magic + b"".join(size.to_bytes(4, "big") for size in sizes),
        st.sampled_from([b"\0\0\x08\x01", b"\0\0\x08\x03", b"\0\0\x08\xff", b"\0\0\x08\0", b"\0"]),
        st.lists(st.sampled_from([0, 1, 2, 3, 2**16, 2**31, 2**32 - 1]), max_size=4),
    )

    @fuzz(cases)
    @given(st.builds(bytes.__add__, header, st.binary(max_size=30)))
    def check(content: bytes) -> None:
        array, told = attempt(lambda: read_idx(bytearray(content)), ValueError)
        if not told:
            assert array.ndim == content[3]
            assert array.tobytes() == content[4 + 4 * array.ndim :]

    check()
