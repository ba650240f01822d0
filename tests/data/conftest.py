"""A data set like MNIST, small enough to be damaged, compressed and downloaded at will."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gtl_bench.data import folder
from gtl_bench.data.files import DataSet, KnownFile

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(array: np.ndarray) -> bytes:
    """`array` of uint8 as an idx file, by the format's description."""
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


@pytest.fixture(scope="session")
def tiny_contents() -> dict[str, bytes]:
    """Four idx files by name: 300 training images, 50 test images."""
    rng = np.random.default_rng(0)
    contents = {}
    for name, count in zip(NAMES, (300, 300, 50, 50), strict=True):
        shape = (count, 28, 28) if "images" in name else (count,)
        top = 256 if "images" in name else 10
        contents[name] = idx(rng.integers(0, top, shape, dtype=np.uint8))
    return contents


@pytest.fixture(scope="session")
def tiny_set(tiny_contents: dict[str, bytes]) -> DataSet:
    """The tiny set as a data set that is called MNIST."""
    files = tuple(
        KnownFile(f"MNIST/raw/{name}", len(content), hashlib.sha256(content).hexdigest())
        for name, content in tiny_contents.items()
    )
    return DataSet("mnist", "MNIST", (files,), download_bytes=300_000)


@pytest.fixture
def tiny(tiny_set: DataSet, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    """The tiny set takes MNIST's place for one test."""
    monkeypatch.setitem(folder._ON_DISK, "mnist", tiny_set)
    return tiny_set


@pytest.fixture
def tiny_folder(tiny: DataSet, tiny_contents: dict[str, bytes], tmp_path: Path) -> Path:
    """A data folder with the tiny set in it."""
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in tiny_contents.items():
        (raw / name).write_bytes(content)
    return tmp_path / "data"


@pytest.fixture
def tree() -> Callable[[Path], list[str]]:
    """Lists the files below a folder."""

    def files(root: Path) -> list[str]:
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    return files
