"""What a manifest says of code and machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gtl_bench import machine


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=x", "-c", "user.email=x@y")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not there")
def test_commit_is_that_of_the_code_and_tells_of_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "gtl_bench"
    for folder in (package, tmp_path / "strategies"):
        folder.mkdir()
    file = package / "machine.py"
    file.write_text("")
    monkeypatch.setattr(machine, "__file__", str(file))
    assert machine.commit() is None  # no repository
    git(tmp_path, "init", "-q")
    assert machine.commit() is None  # not of this repository
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert machine.commit() == head
    (tmp_path / "notes.txt").write_text("")
    assert machine.commit() == head
    file.write_text("changed")
    assert machine.commit() == f"{head}+"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.commit() is None  # no git


def test_processor_has_a_name() -> None:
    assert re.search(r"\w", machine.processor("cpu"))
