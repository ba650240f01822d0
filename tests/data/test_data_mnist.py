"""MNIST's files: the reader against the format, and the real data set."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from gtl_bench.data import MNIST, DataFolder
from gtl_bench.data.mnist import read_idx


@pytest.fixture(scope="module")
def real(shared_data: Path) -> MNIST:
    return DataFolder(shared_data, download=False).mnist()


def test_real_shapes_types_and_classes(real: MNIST) -> None:
    assert real.train.images.shape == (60_000, 28, 28)
    assert real.test.images.shape == (10_000, 28, 28)
    assert {part.images.dtype for part in real} == {torch.uint8}
    assert {part.labels.dtype for part in real} == {torch.int64}
    # As LeCun, Cortes and Burges count them.
    per_class = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert real.train.labels.bincount().tolist() == per_class
    per_class = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert real.test.labels.bincount().tolist() == per_class


def test_real_is_what_torchvision_reads(real: MNIST, shared_data: Path) -> None:
    from torchvision import datasets

    for train, part in ((True, real.train), (False, real.test)):
        theirs = datasets.MNIST(str(shared_data), train=train, download=False)
        assert part.images.equal(theirs.data)
        assert part.labels.equal(theirs.targets)


def test_read_idx_by_hand() -> None:
    content = bytearray(b"\0\0\x08\x02" + b"\0\0\0\x02" + b"\0\0\0\x03" + bytes(range(6)))
    assert read_idx(content).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file"),
        (b"\0\0\x08", "not an idx file"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "not an idx file of unsigned bytes"),
        (b"\0\0\x08\x00", "not an idx file"),
        (b"\0\0\x08\x03\0\0\0\x01", "cut off in its header: 8 bytes of 16"),
        (b"\0\0\x08\x01\0\0\0\x03ab", "2 values where 3 are announced"),
        (b"\0\0\x08\x01\0\0\0\x03abcd", "4 values where 3 are announced"),
        (b"\0\0\x08\x02\xff\xff\xff\xff\xff\xff\xff\xffab", "2 values where 4294967295×4294967295"),
    ],
)
def test_read_idx_refuses(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_idx(bytearray(content))


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)))
def test_read_idx_gives_back_what_was_written(array: np.ndarray) -> None:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    found = read_idx(bytearray(header + array.tobytes()))
    assert found.shape == array.shape
    assert np.array_equal(found, array)


size = st.one_of(st.sampled_from([0, 1, 2, 2**31, 2**32 - 1]), st.integers(0, 2**32 - 1))


@st.composite
def almost_idx(draw: st.DrawFn) -> bytes:
    """Headers that promise anything, before any content; or any bytes at all."""
    sizes = draw(st.lists(size, max_size=5))
    kind = draw(st.sampled_from([8, 8, 8, 9, 13]))
    announced = draw(st.sampled_from([len(sizes), len(sizes), 0, 3, 255]))
    header = bytes((0, 0, kind, announced)) + struct.pack(f">{len(sizes)}I", *sizes)
    whole = header + draw(st.binary(max_size=40))
    return draw(st.sampled_from([whole, whole[: draw(st.integers(0, len(whole)))]]))


@settings(max_examples=150, deadline=None)
@given(st.one_of(almost_idx(), st.binary(max_size=64)))
def test_read_idx_fuzzed(content: bytes) -> None:
    """Either one line of ValueError, or exactly the array that the header announces."""
    refused = ""
    try:
        found = read_idx(bytearray(content))
    except ValueError as error:
        refused = str(error)
    if refused:
        assert "\n" not in refused
        return
    assert content[:3] == b"\0\0\x08"
    assert found.shape == struct.unpack(f">{content[3]}I", content[4 : 4 + 4 * content[3]])
    assert found.tobytes() == content[4 + 4 * content[3] :]
