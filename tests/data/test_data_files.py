"""Files that are not what they should be: noticed, named, never half-read."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path

import pytest

from gtl_bench.data import DataFolder, MissingDataError
from gtl_bench.data.files import DataSet, KnownFile
from gtl_bench.errors import DataError

IMAGES = "MNIST/raw/train-images-idx3-ubyte"


def one_line(folder: Path) -> str:
    """The message of the error that reading the set ends in, the same however it is read."""
    messages = set()
    data = DataFolder(folder, download=False)
    for read in (data.mnist, lambda: data.ensure("mnist"), lambda: data.checksum("mnist")):
        with pytest.raises(DataError) as caught:
            read()
        assert not isinstance(caught.value, MissingDataError), "a stand-in would hide the damage"
        messages.add(str(caught.value))
    (message,) = messages
    assert "\n" not in message
    return message


def test_truncated(tiny_folder: Path) -> None:
    path = tiny_folder / IMAGES
    path.write_bytes(path.read_bytes()[:100_000])
    assert one_line(tiny_folder) == (
        f"{path} is truncated: 100,000 bytes of 235,216; "
        f"remove it, then run `python -m gtl_bench data mnist --data-dir {tiny_folder}`"
    )


def test_empty(tiny_folder: Path) -> None:
    (tiny_folder / IMAGES).write_bytes(b"")
    assert "is truncated: 0 bytes of 235,216" in one_line(tiny_folder)


def test_too_long(tiny_folder: Path) -> None:
    path = tiny_folder / IMAGES
    path.write_bytes(path.read_bytes() + b"\0")
    assert f"{path} is damaged: more than its 235,216 bytes" in one_line(tiny_folder)


@pytest.mark.parametrize("position", [2, 3, 7, 16, -1])  # type, dimensions, count, first, last
def test_one_bit_flipped(tiny_folder: Path, position: int) -> None:
    path = tiny_folder / IMAGES
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    assert f"{path} is damaged: SHA-256" in one_line(tiny_folder)


def test_damage_after_the_first_verification_is_noticed(tiny_folder: Path) -> None:
    DataFolder(tiny_folder).checksum("mnist")
    path = tiny_folder / IMAGES
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes((content[-1] ^ 1,)))
    os.utime(path, ns=(0, 0))  # whatever the clock's grain
    assert "is damaged" in one_line(tiny_folder)


def compress(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return packed


def test_compressed_files_are_accepted(tiny_folder: Path) -> None:
    plain = DataFolder(tiny_folder)
    expected, checksum = plain.mnist(), plain.checksum("mnist")
    compress(tiny_folder / IMAGES)
    found = plain.mnist()
    assert found.train.images.equal(expected.train.images)
    assert plain.checksum("mnist") == checksum
    assert [path.suffix for path in plain.ensure("mnist")] == [".gz", "", "", ""]


def test_truncated_compressed(tiny_folder: Path) -> None:
    packed = compress(tiny_folder / IMAGES)
    packed.write_bytes(packed.read_bytes()[:-2000])
    assert f"{packed} is damaged" in one_line(tiny_folder)


def test_not_compressed_at_all(tiny_folder: Path) -> None:
    packed = compress(tiny_folder / IMAGES)
    packed.write_bytes(b"<html>not here</html>")
    assert f"{packed} is damaged: Not a gzipped file" in one_line(tiny_folder)


def test_gzip_bomb_is_not_unpacked(tiny_folder: Path) -> None:
    packed = compress(tiny_folder / IMAGES)
    packed.write_bytes(gzip.compress(bytes(200_000_000), compresslevel=1))
    tracemalloc.start()
    try:
        message = one_line(tiny_folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert f"{packed} is damaged: more than its 235,216 bytes" in message
    assert peak < 5_000_000


def test_link_to_a_file_outside(tiny_folder: Path, tmp_path: Path) -> None:
    path = tiny_folder / IMAGES
    outside = path.rename(tmp_path / "elsewhere")
    path.symlink_to(outside)
    assert f"{path} leads out of {tiny_folder} through a symbolic link" in one_line(tiny_folder)


def test_link_to_a_folder_outside(tiny_folder: Path, tmp_path: Path) -> None:
    outside = (tiny_folder / "MNIST").rename(tmp_path / "elsewhere")
    (tiny_folder / "MNIST").symlink_to(outside)
    assert "leads out of" in one_line(tiny_folder)


def test_dangling_link_outside(tiny_folder: Path, tmp_path: Path) -> None:
    path = tiny_folder / IMAGES
    path.unlink()
    path.symlink_to(tmp_path / "nothing")
    assert "leads out of" in one_line(tiny_folder)


def test_loop_of_links(tiny_folder: Path) -> None:
    path = tiny_folder / IMAGES
    path.unlink()
    path.symlink_to(path)
    assert str(path) in one_line(tiny_folder)


def test_link_inside_and_linked_folder_are_fine(tiny_folder: Path, tmp_path: Path) -> None:
    path = tiny_folder / IMAGES
    path.symlink_to(path.rename(tiny_folder / "real"))
    (tmp_path / "link").symlink_to(tiny_folder)
    assert len(DataFolder(tmp_path / "link").mnist().train.images) == 300


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_not_a_file(tiny_folder: Path, make: object) -> None:
    path = tiny_folder / IMAGES
    path.unlink()
    make(path)  # type: ignore[operator]
    assert f"{path} is not a file" in one_line(tiny_folder)


def test_unreadable(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: KnownFile, path: Path) -> bytearray:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(KnownFile, "read", refuse)
    message = one_line(tiny_folder)
    assert message.startswith("MNIST can't be read:")
    assert f"Permission denied: '{tiny_folder / IMAGES}'" in message


def test_first_complete_variant_is_used(tmp_path: Path) -> None:
    big, small, other = (KnownFile(name, 1, "") for name in ("big", "small", "other"))
    data_set = DataSet("x", "X", ((big,), (small, other)), download_bytes=1)
    (tmp_path / "small").touch()
    assert data_set.find(tmp_path) is None
    (tmp_path / "other").touch()
    assert data_set.find(tmp_path) == [(small, tmp_path / "small"), (other, tmp_path / "other")]
    (tmp_path / "big").touch()
    assert data_set.find(tmp_path) == [(big, tmp_path / "big")]
