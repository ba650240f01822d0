"""Nothing that lies on a disk is run, but a recipe file that the user names."""

from __future__ import annotations

import ast
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from gtl_bench.data import DataFolder
from gtl_bench.errors import GTLBenchError, UsageError
from gtl_bench.gtl import Guide
from gtl_bench.recipes import discover
from gtl_bench.source import Cache
from gtl_bench.store import RunFolder
from gtl_bench.tuned import Tuned

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for top in ("gtl_bench", "strategies", "benchmarks")
    for path in ROOT.glob(f"{top}/**/*.py")
]

#: What reads pickles, or runs texts.
MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS = ("torch.load", "hub.load", "load_state_dict_from_url", "read_pickle")
FUNCTIONS = {"eval", "exec"}


def unsafe(text: str) -> Iterator[str]:
    """What a module imports or calls that could run what it reads."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from MODULES & {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            yield from MODULES & {str(node.module).partition(".")[0]}
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            # PyTorch's own reader of published weights, which makes tensors and runs nothing.
            if called == "torch.load" and "weights_only=True" in map(ast.unparse, node.keywords):
                continue
            yield from FUNCTIONS & {called}
            yield from (call for call in CALLS if f".{called}".endswith(f".{call}"))
            yield from (word.arg for word in node.keywords if word.arg == "allow_pickle")


def test_no_module_reads_a_pickle_or_runs_a_text() -> None:
    assert len(SOURCES) > 60
    assert {str(path): found for path in SOURCES if (found := [*unsafe(path.read_text())])} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "def f():\n    import torch\n    return torch.load('x')",
        "np.load('x', allow_pickle=True)",
        "x = eval('1')",
        "torch.hub.load_state_dict_from_url('x')",
    ],
)
def test_the_check_above_finds_what_it_is_for(text: str) -> None:
    assert [*unsafe(text)]
    assert [*unsafe("torch.load(x, weights_only=False)")]
    assert not [*unsafe("model.eval()\nself.exec_module(module)\nmodel.load_state_dict(x)")]
    assert not [*unsafe("torch.load(x, weights_only=True)")]


class Bait:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def read_record(path: Path) -> None:
    folder = RunFolder(path)
    folder.prepare()
    (folder.records / f"naive-seed0-{'0' * 16}.{'0' * 12}.parquet").write_bytes(
        (path.parent / "bait.pickle").read_bytes()
    )
    assert folder.finished() == {}
    assert len(folder.damaged) == 1


def read_manifest(path: Path) -> None:
    folder = RunFolder(path)
    folder.prepare()
    (path.parent / "bait.pickle").rename(folder.manifest_path)
    with pytest.raises(GTLBenchError, match="is damaged"):
        folder.manifest()


def read_cache(path: Path) -> None:
    (path.parent / "bait.pickle").rename(path.with_suffix(".safetensors"))
    cache = Cache(path.parent)
    assert cache.get(path.name, lambda: {"x": torch.ones(2)})["x"].tolist() == [1, 1]
    assert len(cache.damaged) == 1


def read_guide(path: Path) -> None:
    with pytest.raises(ValueError, match=r"bait\.pickle"):
        Guide.load(path.parent / "bait.pickle")


def read_tuned(path: Path) -> None:
    with pytest.raises(UsageError, match=r"bait\.pickle can't be read"):
        Tuned.of(discover().benchmark("split-digits"), path.parent / "bait.pickle")


def read_data(path: Path) -> None:
    raw = path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes((path.parent / "bait.pickle").read_bytes())
    with pytest.raises(GTLBenchError, match="train-images-idx3-ubyte is truncated"):
        DataFolder(path, download=False).ensure("mnist")


@pytest.mark.parametrize(
    "read", [read_record, read_manifest, read_cache, read_guide, read_tuned, read_data]
)
def test_a_pickle_in_the_place_of_a_file_is_not_loaded(
    read: Callable[[Path], None], tmp_path: Path
) -> None:
    sprung = tmp_path / "sprung"
    (tmp_path / "bait.pickle").write_bytes(pickle.dumps(Bait(sprung)))
    read(tmp_path / "place")
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Bait(sprung)))
    assert sprung.exists(), "it would have been seen"
