"""What can change a number beside configuration and data: code, versions of libraries, machine."""

from __future__ import annotations

import functools
import hashlib
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gtl_bench.recipes import Recipe

#: Libraries whose version can change a number.
NUMERIC_LIBRARIES = ("torch", "avalanche-lib", "torchvision", "numpy", "scikit-learn")

#: Modules and packages of gtl-bench whose code can change a number.
NUMERIC_MODULES = (
    "cell",
    "compose",
    "data",
    "experiment",
    "experiments",
    "finetuning",
    "gtl",
    "heads",
    "learner",
    "models",
    "records",
    "regularizers",
    "rehearsal",
    "rng",
    "scenario",
    "source",
    "stream",
)


def environment(*recipes: Recipe) -> dict[str, str]:
    """What this process computes with, by name: code, libraries, machine, the recipes given.

    It goes into a cell's key, and a worker whose own differs refuses the cell.
    """
    return {
        "gtl-bench": _code_checksum(),
        "machine": platform.machine(),
        **versions(),
        **{f"{recipe.name} ({recipe.file.name})": recipe.checksum for recipe in recipes},
    }


@functools.cache
def versions() -> dict[str, str]:
    """Versions of the libraries that can change a number."""
    return {name: version(name) for name in NUMERIC_LIBRARIES}


@functools.cache
def _code_checksum() -> str:
    """SHA-256 of the modules that numbers come from."""
    package = Path(__file__).parent
    files: list[Path] = []
    for name in NUMERIC_MODULES:
        folder = package / name
        files += sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
