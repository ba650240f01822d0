"""A report's files: written beside their place, and moved there when they are whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from gtl_bench.files import unwritable

#: Writes one file to the path that it is given.
Writer = Callable[[Path], object]


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """A table with its index."""
    table.to_csv(path, lineterminator="\n")


def write_text(text: str, path: Path) -> None:
    """A text in UTF-8, the same on every system."""
    path.write_text(text, encoding="utf-8", newline="\n")


def replace_file(path: Path, write: Writer) -> list[Path]:
    """Write a file; it is never there by half, and its folder is made where there is none.

    Returns:
        The file, and those that had to be written along with it (pgf keeps images apart).

    Raises:
        UsageError: the folder can't be written to.
        RunError: the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
        ) as folder:
            write(Path(folder) / path.name)
            written = sorted(Path(folder).iterdir())
            for file in written:
                os.replace(file, path.parent / file.name)
    except OSError as error:
        raise unwritable(path, error) from None
    return [path.parent / file.name for file in written]
