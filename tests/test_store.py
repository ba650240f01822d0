"""The run's folder: whole or not at all, and damage noticed."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from gtl_bench.cell import Cell
from gtl_bench.errors import RunError, UsageError
from gtl_bench.files import write_atomically
from gtl_bench.records import series, to_parquet
from gtl_bench.rng import Rng
from gtl_bench.scenario import Scenario
from gtl_bench.source import Source
from gtl_bench.store import RunFolder, load_results
from gtl_bench.stream import learn


def make_cell(seed: int = 0) -> Cell:
    return Cell(
        title="toy",
        benchmark="toy",
        benchmark_settings={},
        strategy="naive",
        strategy_settings={},
        seed=seed,
        device="cpu",
        every_step=True,
        scenario_key="s",
        key=f"{seed:016x}",
        environment={},
        recipe_files=(),
        data_folder=Path(),
        cache_folder=Path(),
    )


@pytest.fixture
def content(scenario: Scenario) -> bytes:
    settings = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.0, "weight_decay": 0.0}
    course = learn(scenario, Source(scenario, Rng(3)).model, [], settings, Rng(3))
    return to_parquet("toy", "naive", 0, list(series(course, scenario)), {})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.prepare()
    return folder


def test_written_records_are_found_and_loaded(folder: RunFolder, content: bytes) -> None:
    path = folder.write_records(make_cell(), content)
    assert folder.finished() == {make_cell().key: path}
    folder.write_manifest({"cells": [{"key": make_cell().key}, {"key": "f" * 16}]})
    frame = load_results(folder.path)
    assert list(frame.columns) == [
        "benchmark",
        "strategy",
        "seed",
        "step",
        "metric",
        "experience",
        "value",
    ]
    assert frame.loc[frame["metric"] == "accuracy", "step"].max() == 12


def test_records_of_other_configurations_are_not_mixed_in(
    folder: RunFolder, content: bytes
) -> None:
    folder.write_records(make_cell(0), content)
    folder.write_records(make_cell(1), content)
    folder.write_manifest({"cells": [{"key": make_cell(1).key}]})
    frame = folder.load()
    folder.write_manifest({"cells": [{"key": make_cell(0).key}, {"key": make_cell(1).key}]})
    assert len(folder.load()) == 2 * len(frame)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_damaged_records_are_set_aside(folder: RunFolder, content: bytes, damage: str) -> None:
    path = folder.write_records(make_cell(), content)
    broken = {"flip": content[:50] + bytes([content[50] ^ 1]) + content[51:], "empty": b""}
    path.write_bytes(broken.get(damage, content[:-10]))
    assert folder.finished() == {}
    [aside] = folder.damaged
    assert not path.exists()
    assert aside.stem == path.stem
    assert folder.write_records(make_cell(), content) == path
    assert folder.finished() == {make_cell().key: path}


def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"can't write to .*/x: No space left on device; make room"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(UsageError, match=r"can't write to .*file/run: Not a directory") as error:
        RunFolder(blocker / "run").prepare()
    assert "\n" not in str(error.value)


ODD_MANIFESTS = [
    b"",
    b"{",
    b"[]",
    b"5",
    b'"text"',
    b"null",
    b"\xff",
    b"[" * 100_000,
    b'{"format": "1"}',
    b'{"format": 1}',
    b'{"format": 1, "cells": []}',
    b'{"format": 1, "checksum": "", "cells": []}',
]


@pytest.mark.parametrize("content", ODD_MANIFESTS)
def test_a_damaged_manifest_is_one_line_and_made_again(folder: RunFolder, content: bytes) -> None:
    folder.manifest_path.write_bytes(content)
    with pytest.raises(RunError, match=r"manifest.json is damaged: repeat the run's command"):
        folder.load()
    with folder.reserved():
        assert folder.damaged == [folder.path / "manifest.damaged"]
        assert folder.told("seconds") == {}
        folder.write_manifest({"cells": []})
    assert folder.manifest() == {"cells": []}
    assert folder.damaged[0].read_bytes() == content


def test_a_manifest_with_one_digit_changed_is_damaged(folder: RunFolder) -> None:
    folder.write_manifest({"seeds": 5, "title": "é \udcff", "cells": []})
    assert folder.manifest()["seeds"] == 5
    text = folder.manifest_path.read_text()
    folder.manifest_path.write_text(text.replace('"seeds": 5', '"seeds": 7'))
    with pytest.raises(RunError, match="is damaged"):
        folder.manifest()


def test_a_newer_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": 99, "cells": {"of": "another form"}}')
    folder = RunFolder(tmp_path)
    with pytest.raises(UsageError, match=r"written by a newer gtl-bench \(format 99.*pip install"):
        folder.prepare()
    with pytest.raises(UsageError, match="newer gtl-bench"):
        folder.load()
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_one_run_at_a_time(folder: RunFolder) -> None:
    second, waiting, order = RunFolder(folder.path), threading.Event(), []

    def wait_then_write() -> None:
        with second.reserved(waiting.set):
            order.append("second")

    thread = threading.Thread(target=wait_then_write)
    with folder.reserved(lambda: pytest.fail("nobody else is there")):
        thread.start()
        assert waiting.wait(20)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert [path.name for path in folder.path.iterdir()] == ["records"]


def test_leftovers_of_a_killed_run_are_removed(folder: RunFolder, content: bytes) -> None:
    path = folder.write_records(make_cell(), content)
    (folder.records / f".{path.name}.abc.tmp").write_bytes(content[:10])
    (folder.path / ".manifest.json.xyz.tmp").write_text("{")
    for age in ("old", "new"):
        figure = folder.path / "figures" / f".accuracy.pdf.{age}.tmp"
        figure.mkdir(parents=True)
        (figure / "accuracy.pdf").touch()
    os.utime(folder.path / "figures" / ".accuracy.pdf.old.tmp", (0, 0))
    with folder.reserved():
        assert {file.name for file in folder.path.iterdir()} == {"records", "figures", ".lock"}
        assert list(folder.records.iterdir()) == [path]
        # A report that is being written now is left alone.
        assert list((folder.path / "figures").iterdir()) == [figure]


def test_what_cannot_be_read_is_damaged(folder: RunFolder, content: bytes) -> None:
    path = folder.write_records(make_cell(), content)
    path.unlink()
    path.mkdir()
    assert folder.finished() == {}
    assert [aside.name for aside in folder.damaged] == [path.with_suffix(".damaged").name]


def test_load_results_warns_of_damage(folder: RunFolder, content: bytes) -> None:
    folder.write_records(make_cell(0), content)
    damaged = folder.write_records(make_cell(1), content)
    damaged.write_bytes(content[1:])
    folder.write_manifest({"cells": [{"key": make_cell(seed).key} for seed in (0, 1)]})
    with pytest.warns(UserWarning, match=r"damaged and set aside, .*0001.*\.damaged"):
        assert load_results(folder.path)["seed"].nunique() == 1


@pytest.fixture
def unwritable(tmp_path: Path) -> Path:
    """A folder without write permission, for the superuser as well."""
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    return Path("/sys") if os.access(folder, os.W_OK) else folder


def test_a_folder_without_write_permission_is_one_line(unwritable: Path) -> None:
    with pytest.raises(UsageError, match=r"can't write to .*run: .*; choose a folder") as error:
        RunFolder(unwritable / "run").prepare()
    assert "\n" not in str(error.value)
    assert not (unwritable / "run").exists()


def test_no_run_and_no_finished_cell(folder: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no run folder"):
        load_results(tmp_path / "elsewhere")
    folder.write_manifest({"cells": []})
    with pytest.raises(RunError, match="no finished cell"):
        load_results(folder.path)
    assert json.loads(folder.manifest_path.read_text())["format"] == 1
