"""A run's folder on disk: records, one file a cell, and a manifest that says which belong together.

    manifest.json    the command, the configuration, the cells and their files
    records/         STRATEGY-seedN-KEY.CHECKSUM.parquet
    figures/ tables/ made from them by the report

A record's file name carries the key of everything that shaped its numbers and the checksum of its
content: a cell whose configuration changes is another file, and a damaged file is noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtl_bench.errors import RunError, UsageError
from gtl_bench.files import clear_leftovers, set_aside, unwritable, write_atomically

if TYPE_CHECKING:
    import pandas as pd

    from gtl_bench.cell import Cell

#: Raised when a change makes older folders unreadable, or this version's unreadable to older ones.
FORMAT = 1

#: Folders that a report writes.
REPORTED = ("figures", "tables", "report")

_RECORD = re.compile(r".+-([0-9a-f]{16})\.([0-9a-f]{12})\.parquet")


class RunFolder:
    """The folder of a run.

    Args:
        path: the folder; made by `prepare`.

    Attributes:
        damaged: files that were not what had been written, set aside so that they are made anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = path / "records"
        self.manifest_path = path / "manifest.json"
        self.damaged: list[Path] = []

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            UsageError: if it can't be made or written to, or a newer version's run is in it.
            RunError: if the disk is full.
        """
        try:
            self._manifest_is_damaged()
            self.records.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.records):
                pass
        except OSError as error:
            raise unwritable(self.path, error) from error

    @contextlib.contextmanager
    def reserved(self, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Keep the folder to this run: another one that writes to it waits for its end.

        What killed runs left half written is removed, and a damaged manifest is set aside.

        Args:
            on_wait: called if it is this run that has to wait.

        Raises:
            UsageError: if the folder can't be written to, or a newer version's run is in it.
            RunError: if the disk is full.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.path / ".lock")
        try:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                on_wait()
                lock.acquire()
        except OSError as error:
            raise unwritable(self.path, error) from error
        try:
            clear_leftovers(self.path)
            clear_leftovers(self.records)
            for part in REPORTED:  # `report` reserves nothing, and may be at work
                clear_leftovers(self.path / part, age=3600)
            if self._manifest_is_damaged():
                self.damaged.append(set_aside(self.manifest_path))
            yield
        finally:
            with contextlib.suppress(OSError):  # where an open file can't be removed
                Path(lock.lock_file).unlink()
            lock.release()

    def finished(self) -> dict[str, Path]:
        """Key -> file of every record that is there and whole; a damaged one is set aside."""
        found = {}
        for path in sorted(self.records.glob("*.parquet")):
            match = _RECORD.fullmatch(path.name)
            if match is None:
                continue
            try:
                whole = _checksum(path.read_bytes()) == match[2]
            except OSError:
                whole = False
            if whole:
                found[match[1]] = path
            else:
                self.damaged.append(set_aside(path))
        return found

    def write_records(self, cell: Cell, content: bytes) -> Path:
        """Write a cell's records whole or not at all.

        Raises:
            RunError: if the disk is full.
            UsageError: if the folder can't be written to.
        """
        name = f"{cell.strategy}-seed{cell.seed}-{cell.key}.{_checksum(content)}.parquet"
        write_atomically(self.records / name, content)
        return self.records / name

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest whole or not at all.

        Raises:
            RunError: if the disk is full.
            UsageError: if the folder can't be written to.
        """
        content = {"format": FORMAT, "checksum": _checksum_of(manifest), **manifest}
        text = json.dumps(content, indent=2)
        write_atomically(self.manifest_path, (text + "\n").encode())

    def manifest(self) -> dict[str, Any]:
        """The manifest.

        Raises:
            UsageError: if there is none, or it was written by a newer version.
            RunError: if it is damaged: it can't be read, or is not what was written.
        """
        try:
            manifest = json.loads(self.manifest_path.read_bytes())
            written, checksum = manifest.pop("format"), manifest.pop("checksum", None)
            newer = written > FORMAT
            whole = newer or checksum == _checksum_of(manifest)
        except FileNotFoundError:
            raise UsageError(
                f"{self.path} is no run folder: there is no manifest.json in it."
            ) from None
        # What else is raised by content that nobody wrote: no JSON, no table, no such keys.
        except (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError):
            newer = whole = False
        if newer:
            raise UsageError(
                f"{self.path} was written by a newer gtl-bench (format {written}, "
                f"this one reads {FORMAT}): upgrade with `pip install -U gtl-bench`."
            )
        if not whole:
            raise RunError(
                f"{self.manifest_path} is damaged: repeat the run's command, which uses what is "
                "finished and writes a new manifest."
            )
        assert isinstance(manifest, dict)
        return manifest

    def _manifest_is_damaged(self) -> bool:
        if not self.manifest_path.exists():
            return False
        try:
            self.manifest()
        except RunError:
            return True
        return False

    def told(self, what: str) -> dict[str, Any]:
        """Key -> what the manifest tells of each cell, such as its "seconds"; nothing without one.

        Cells of which it tells nothing are left out.
        """
        if not self.manifest_path.exists():
            return {}
        cells = self.manifest()["cells"]
        return {cell["key"]: cell[what] for cell in cells if cell.get(what) is not None}

    def load(self) -> pd.DataFrame:
        """The records of the run's cells as one tidy DataFrame.

        Raises:
            RunError: if none of its cells is finished.
        """
        cells = self.manifest()["cells"]
        finished = self.finished()
        files = [finished[cell["key"]] for cell in cells if cell["key"] in finished]
        if not files:
            raise RunError(f"no finished cell in {self.path}: repeat the run's command.")
        return read_records(files)


def load_results(run_folder: str | Path) -> pd.DataFrame:
    """The records of a run.

    Args:
        run_folder: the folder that a run left.

    Returns:
        A tidy DataFrame with the columns benchmark, strategy, seed, step, metric, experience and
        value; `gtl_bench.records` tells what the metrics mean.

    Raises:
        UsageError: if there is no run in the folder.
        RunError: if none of its cells is finished.
    """
    folder = RunFolder(Path(run_folder))
    records = folder.load()
    for path in folder.damaged:
        warnings.warn(f"damaged and set aside, to be computed again: {path}", stacklevel=2)
    return records


def read_records(files: Iterable[Path]) -> pd.DataFrame:
    """The rows of some record files, in the order of the files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for file in files:
        with pq.ParquetFile(file) as parquet:  # for small files it is twice as fast as read_table
            tables.append(parquet.read(use_threads=False).replace_schema_metadata())
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def record_metadata(file: Path) -> dict[str, Any]:
    """What a record file says of its cell: configuration, experiences, boundaries, chance."""
    import pyarrow.parquet as pq

    metadata = json.loads(pq.read_schema(file).metadata[b"gtl_bench"])
    assert isinstance(metadata, dict)
    return metadata


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _checksum_of(manifest: Mapping[str, Any]) -> str:
    return _checksum(json.dumps(manifest, sort_keys=True).encode())
