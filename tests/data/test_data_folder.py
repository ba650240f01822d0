"""Where the folder is, what is said when a set is missing, and that checks are not repeated."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gtl_bench.data import DATA_SETS, DataFolder, MissingDataError
from gtl_bench.data.files import DataSet, KnownFile
from gtl_bench.errors import UsageError

Tree = Callable[[Path], list[str]]


def test_path_is_the_argument_then_the_environment_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GTL_BENCH_DATA", "~/from-environment")
    assert DataFolder(tmp_path / "given").path == tmp_path / "given"
    assert DataFolder(Path("~/given")).path == tmp_path / "given"
    assert DataFolder().path == tmp_path / "from-environment"
    monkeypatch.setenv("GTL_BENCH_DATA", "")
    assert DataFolder().path.name == "data"
    assert DataFolder().path.is_relative_to(tmp_path)


def test_relative_path_survives_a_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = DataFolder(Path("data"))
    monkeypatch.chdir("/")
    assert data.path == tmp_path / "data"


def test_missing_and_not_to_be_downloaded(tmp_path: Path, tree: Tree) -> None:
    folder = tmp_path / "my data"
    with pytest.raises(MissingDataError) as caught:
        DataFolder(folder, download=False).mnist()
    assert str(caught.value) == (
        f"MNIST is not in {folder} (no MNIST/raw/train-images-idx3-ubyte) and was not to be "
        f"downloaded; with a network, run `python -m gtl_bench data mnist --data-dir '{folder}'`"
    )
    assert caught.value.exit_status == 3
    assert not folder.exists()


def test_what_is_missing_of_an_incomplete_set_is_named(tiny_folder: Path) -> None:
    (tiny_folder / "MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(MissingDataError, match=r"no MNIST/raw/t10k-labels-idx1-ubyte\)"):
        DataFolder(tiny_folder, download=False).ensure("mnist")


def test_default_folder_needs_no_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GTL_BENCH_DATA", str(tmp_path))
    with pytest.raises(MissingDataError, match=r"run `python -m gtl_bench data mnist`$"):
        DataFolder(download=False).mnist()


def test_folder_that_cannot_be_made(tiny: DataSet, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MissingDataError, match=r"could not be downloaded .*Not a directory"):
        DataFolder(tmp_path / "file" / "data").mnist()


def test_unknown_name() -> None:
    expected = r"unknown data set 'mnits'; did you mean 'mnist'\? \(there are digits, mnist, omn"
    for ask in (DataFolder().ensure, DataFolder().checksum):
        with pytest.raises(UsageError, match=expected):
            ask("mnits")


def test_files_are_read_once_for_any_number_of_checks(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    original = KnownFile.read

    def counted(self: KnownFile, path: Path) -> bytearray:
        reads.append(path.name)
        return original(self, path)

    monkeypatch.setattr(KnownFile, "read", counted)
    for _ in range(5):
        DataFolder(tiny_folder).checksum("mnist")
        DataFolder(tiny_folder).ensure("mnist")
    assert len(reads) == 4


def test_nothing_is_written_where_the_set_is_found(tiny_folder: Path, tree: Tree) -> None:
    before = tree(tiny_folder)
    data = DataFolder(tiny_folder)
    data.mnist()
    data.checksum("mnist")
    assert tree(tiny_folder) == before
    assert len(before) == 4


def test_checksums_differ_between_sets(tiny_folder: Path, shared_data: Path) -> None:
    tiny = DataFolder(tiny_folder)
    checksums = {tiny.checksum("mnist"), tiny.checksum("digits")}
    checksums.add(DataFolder(shared_data).checksum("omniglot"))
    assert len(checksums) == 3
    assert all(len(bytes.fromhex(checksum)) == 32 for checksum in checksums)


def test_digits_need_no_file(tmp_path: Path) -> None:
    data = DataFolder(tmp_path / "none", download=False)
    assert data.ensure("digits") == ()
    assert len(data.digits().labels) == 1797
    assert "digits" in DATA_SETS


def test_import_is_light() -> None:
    heavy = "{'torch', 'torchvision', 'sklearn', 'numpy', 'rich'}"
    code = f"import sys, gtl_bench.data; print(*({heavy} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.split() == []
