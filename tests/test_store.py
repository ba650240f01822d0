"""The run's folder: whole or not at all, and damage noticed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gtl_bench.cell import Cell
from gtl_bench.errors import RunError, UsageError
from gtl_bench.records import to_parquet
from gtl_bench.rng import Rng
from gtl_bench.scenario import Scenario
from gtl_bench.source import Source
from gtl_bench.store import RunFolder, load_results, write_atomically
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
        recipe_files=(),
        data_folder=Path(),
        cache_folder=Path(),
    )


@pytest.fixture
def content(scenario: Scenario) -> bytes:
    settings = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.0, "weight_decay": 0.0}
    course = learn(scenario, Source(scenario, Rng(3)).model, [], settings, Rng(3))
    return to_parquet("toy", "naive", 0, course, scenario, {})


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
    [aside] = folder.damaged()
    assert not path.exists()
    assert aside.stem == path.stem
    assert folder.write_records(make_cell(), content) == path
    assert folder.finished() == {make_cell().key: path}


def test_a_failing_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(UsageError, match=r"can.t write to .*file/run: .*--out") as error:
        RunFolder(blocker / "run").prepare()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", RunError, "can't be read"),
        ("{", RunError, "can't be read"),
        ("[]", RunError, "not a manifest"),
        ('{"format": "1"}', RunError, "not a manifest"),
        ('{"format": 99}', UsageError, "newer gtl-bench"),
    ],
)
def test_bad_manifests(folder: RunFolder, text: str, error: type[Exception], message: str) -> None:
    folder.manifest_path.write_text(text)
    with pytest.raises(error, match=message):
        folder.load()


def test_no_run_and_no_finished_cell(folder: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no run folder"):
        load_results(tmp_path / "elsewhere")
    folder.write_manifest({"cells": []})
    with pytest.raises(RunError, match="no finished cell"):
        load_results(folder.path)
    assert json.loads(folder.manifest_path.read_text())["format"] == 1
