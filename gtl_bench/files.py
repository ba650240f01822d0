"""Files that are on the disk whole or not at all, and what to tell where they can't be written."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from pathlib import Path

from gtl_bench.errors import GTLBenchError, RunError, UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole, to outlast a power failure, or not at all.

    Raises:
        RunError: if the disk is full; what was there before is left as it was.
        UsageError: if the place can't be written to.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
        )
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(path, error) from error
    _sync_folder(path.parent)


def clear_leftovers(folder: Path, name: str = "*", age: float = 0) -> None:
    """Remove what a killed process left of files called `name` that it was writing.

    Args:
        folder: where to look.
        name: a pattern.
        age: seconds since they were last written to. Where another process may be writing now,
            more than a write takes.
    """
    for path in folder.glob(f".{name}.*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime < age:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def set_aside(path: Path) -> Path:
    """Rename a damaged file to end in `.damaged`, where its folder can be written to."""
    aside = path.with_suffix(".damaged")
    with contextlib.suppress(OSError):
        path.replace(aside)
    return aside


def unwritable(path: Path, error: OSError) -> GTLBenchError:
    """What to tell of a place that can't be written to: a full disk is no wrong usage."""
    reason = f"can't write to {path}: {error.strerror or error}"
    if error.errno in _FULL:
        return RunError(f"{reason}; make room, then repeat the command: what is finished is kept.")
    return UsageError(f"{reason}; choose a folder that can be written.")


def _sync_folder(folder: Path) -> None:
    """Bring a folder's new names to the disk, where the system can do so."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
