"""All commands in a row, as a user's first afternoon with them: minutes rather than seconds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARK = "split-digits"
STRATEGIES = "--strategies=naive,ewc,si,gtl,gtl-scalar,slda,frozen"

#: Seconds, on two cores.
LIMIT = 600

#: Commands in order, and the folder in which each leaves records, if it does.
CHAIN = (
    (["tune", BENCHMARK, STRATEGIES, "--trials=3", "--seeds=2"], "results/tuning/split-digits"),
    (
        [
            "run",
            BENCHMARK,
            STRATEGIES,
            "--seeds=6",
            "--tuned=results/tuning/split-digits/tuned.toml",
        ],
        "results/split-digits",
    ),
    (
        ["sweep", BENCHMARK, STRATEGIES, "--values=0.001,0.01,0.1", "--seeds=2"],
        "results/sweep/split-digits-lr",
    ),
    (["verdict", "results/split-digits"], None),
    (["report", "results/split-digits", "--format=pdf,svg,png", "--out=paper"], None),
)


def start(folder: Path, arguments: list[str]) -> subprocess.Popen[str]:
    environment = os.environ | {"GTL_BENCH_CACHE": str(folder / "cache"), "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-m", "gtl_bench", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def records(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder / "records").glob("*.parquet")}


@pytest.mark.nightly
def test_all_commands_in_a_row_each_interrupted_and_resumed(tmp_path: Path) -> None:
    spent, before_the_end = 0.0, 0
    for arguments, leaves in CHAIN:
        begun = time.monotonic()
        interrupted = start(tmp_path, arguments)
        deadline = begun + 120
        while interrupted.poll() is None and time.monotonic() < deadline:
            # Where cells are computed, after the first of them; else while it is loading.
            if len(records(tmp_path / leaves)) if leaves else time.monotonic() > begun + 1.5:
                break
            time.sleep(0.02)
        interrupted.send_signal(signal.SIGINT)
        out, err = interrupted.communicate(timeout=120)
        assert "Traceback" not in err, err
        before_the_end += interrupted.returncode == 130
        kept = records(tmp_path / leaves) if leaves else {}

        again = start(tmp_path, arguments)
        out, err = again.communicate(timeout=LIMIT)
        assert again.returncode == 0, err
        if leaves:
            assert kept, "it was interrupted after its first cell"
            assert kept.items() <= records(tmp_path / leaves).items(), "what was finished is used"
        else:
            assert "GTL" in out
        spent += time.monotonic() - begun
    assert before_the_end >= 3
    assert spent < LIMIT
    assert len(json.loads((tmp_path / "results/split-digits/manifest.json").read_bytes())["cells"])
    for path in (
        "results/split-digits/report/index.html",
        "results/split-digits/figures/accuracy.pdf",
        "results/split-digits/tables/summary.tex",
        "results/sweep/split-digits-lr/figures/sensitivity.pdf",
        "paper/figures/accuracy.svg",
        "paper/index.html",
    ):
        assert (tmp_path / path).stat().st_size > 100
    print(f"all commands, each interrupted and resumed: {spent:.0f} s")
