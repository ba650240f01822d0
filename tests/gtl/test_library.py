"""`gtl_bench.gtl` as a library of its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gtl_bench.gtl

FILES = sorted(Path(gtl_bench.gtl.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_of_the_harness_is_imported(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            modules = [node.module or ""]
        else:
            continue
        for module in modules:
            if module.split(".")[0] == "gtl_bench":
                assert module.split(".")[:2] == ["gtl_bench", "gtl"]


def test_guides_and_scouts_need_neither_avalanche_nor_matplotlib() -> None:
    code = (
        "import sys; from gtl_bench.gtl import Guide, scout, DistanceGuides; "
        "assert not {'avalanche', 'matplotlib'} & set(sys.modules), 'imported too early'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there() -> None:
    for name in gtl_bench.gtl.__all__:
        assert getattr(gtl_bench.gtl, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'Guides'"):
        _ = gtl_bench.gtl.Guides
