"""A run's folder on disk: records, one file a cell, and a manifest that says which belong together.

    manifest.json    the command, the configuration, the cells and their files
    records/         STRATEGY-seedN-KEY.CHECKSUM.parquet
    figures/ tables/ made from them by the report

A record's file name carries the key of everything that shaped its numbers and the checksum of its
content: a cell whose configuration changes is another file, and a damaged file is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtl_bench.errors import RunError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from gtl_bench.cell import Cell

#: Raised when a change makes older folders unreadable, or this version's unreadable to older ones.
FORMAT = 1

_RECORD = re.compile(r".+-([0-9a-f]{16})\.([0-9a-f]{12})\.parquet")


class RunFolder:
    """The folder of a run.

    Args:
        path: the folder; made by `prepare`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = path / "records"
        self.manifest_path = path / "manifest.json"

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            UsageError: if it can't be made or written to, or a newer version's run is in it.
        """
        try:
            self.records.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.records):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(
                f"can't write to {self.path}: {reason}; choose another folder with --out."
            ) from error
        if self.manifest_path.exists():
            self.manifest()

    def finished(self) -> dict[str, Path]:
        """Key -> file of every record that is there and whole; a damaged one is set aside."""
        found = {}
        for path in sorted(self.records.glob("*.parquet")):
            match = _RECORD.fullmatch(path.name)
            if match is None:
                continue
            if _checksum(path.read_bytes()) == match[2]:
                found[match[1]] = path
            else:
                path.replace(path.with_suffix(".damaged"))
        return found

    def damaged(self) -> list[Path]:
        """The records that were set aside because their content is not what was written."""
        return sorted(self.records.glob("*.damaged"))

    def write_records(self, cell: Cell, content: bytes) -> Path:
        """Write a cell's records whole or not at all."""
        name = f"{cell.strategy}-seed{cell.seed}-{cell.key}.{_checksum(content)}.parquet"
        path = self.records / name
        older = [file for file in self.records.glob(f"*-{cell.key}.*.parquet") if file != path]
        write_atomically(path, content)
        for file in older:
            file.unlink(missing_ok=True)
        return path

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest whole or not at all."""
        text = json.dumps({"format": FORMAT, **manifest}, indent=2, ensure_ascii=False)
        write_atomically(self.manifest_path, (text + "\n").encode())

    def manifest(self) -> dict[str, Any]:
        """The manifest.

        Raises:
            UsageError: if there is none, or it was written by a newer version.
            RunError: if it can't be read.
        """
        try:
            manifest = json.loads(self.manifest_path.read_text())
        except FileNotFoundError:
            raise UsageError(
                f"{self.path} is no run folder: there is no manifest.json in it."
            ) from None
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.manifest_path} can't be read ({error}); "
                "repeat the run's command: it uses what is finished and writes a new manifest."
            ) from error
        if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
            raise RunError(
                f"{self.manifest_path} is not a manifest of gtl-bench; repeat the run's command."
            )
        if manifest["format"] > FORMAT:
            raise UsageError(
                f"{self.path} was written by a newer gtl-bench (format {manifest['format']}, "
                f"this one reads {FORMAT}): upgrade with `pip install -U gtl-bench`."
            )
        return manifest

    def seconds(self) -> dict[str, float]:
        """Key -> wall time of the cells that the manifest knows; nothing where there is none."""
        if not self.manifest_path.exists():
            return {}
        cells = self.manifest()["cells"]
        return {cell["key"]: cell["seconds"] for cell in cells if cell["seconds"] is not None}

    def load(self) -> pd.DataFrame:
        """The records of the run's cells as one tidy DataFrame.

        Raises:
            RunError: if none of its cells is finished.
        """
        finished = self.finished()
        files = [
            finished[cell["key"]] for cell in self.manifest()["cells"] if cell["key"] in finished
        ]
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
    return RunFolder(Path(run_folder)).load()


def read_records(files: Iterable[Path]) -> pd.DataFrame:
    """The rows of some record files, in the order of the files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(file).replace_schema_metadata() for file in files]
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


def record_metadata(file: Path) -> dict[str, Any]:
    """What a record file says of its cell: configuration, experiences, boundaries, chance."""
    import pyarrow.parquet as pq

    metadata = json.loads(pq.read_schema(file).metadata[b"gtl_bench"])
    assert isinstance(metadata, dict)
    return metadata


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole, on the disk, or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
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


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
