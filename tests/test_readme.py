"""The README's code runs as printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gtl_bench.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def block(marker: str) -> str:
    """The one Python block that holds `marker`."""
    [found] = [text for text in PYTHON if marker in text]
    return found


def test_opens_with_a_sentence_a_figure_and_two_commands() -> None:
    head = README.partition("\n## ")[0]
    assert len(re.findall(r"```sh\n(.*?)```", head, flags=re.DOTALL)) == 2
    [figure] = re.findall(r"!\[[^]]*\]\(([^)]+)\)", head)
    assert (Path(__file__).parents[1] / figure).is_file()


def test_gtl_script_is_short_and_runs_on_stock_avalanche(tmp_path: Path) -> None:
    script = block("GTLPlugin(")
    assert len(script.splitlines()) < 40
    assert "from avalanche.training.supervised import Naive" in script
    path = tmp_path / "script.py"
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name, called in (("naive", "naive"), ("gtl", "GTL"), ("control", "its control")):
        [printed] = re.findall(rf"^{name}: .* ([\d.]+)%$", done.stdout, flags=re.MULTILINE)
        printing = README.partition("It prints ")[2]
        claimed = re.findall(rf"([\d.]+) % for {called}", printing)[0]
        # The last digits are the machine's.
        assert abs(float(printed) - float(claimed)) < 2


def test_strategy_file_runs_beside_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_method.py").write_text(block('@strategy("my-lwf"'))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTL_BENCH_CACHE", str(tmp_path / "cache"))
    small = ["--seeds=1", "--workers=1", "--set=benchmark.per_class=1", "--set=benchmark.hidden=8"]
    command = ["gtl-bench", "run", "split-digits", "--strategies", "naive,./my_method.py", *small]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert "LwF" in capsys.readouterr().out


def test_every_command_in_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = set(re.findall(r"python -m gtl_bench (\w+)", README))
    assert {"run", "list", "report", "tune"} <= commands
    for command in commands:
        monkeypatch.setattr(sys, "argv", ["gtl-bench", command, "--help"])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, command
