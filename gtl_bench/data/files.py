"""Files whose content is known beforehand: looked for in one folder, and read only when right."""

from __future__ import annotations

import gzip
import hashlib
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast


class BadFileError(Exception):
    """A file is there, but is not what it should be; one line that names it and says why."""


@dataclass(frozen=True)
class KnownFile:
    """A published file. Its gzip-compressed form, `path` with `.gz` added, stands for it too."""

    path: str  # relative to the data folder
    size: int  # bytes, uncompressed
    sha256: str  # of the uncompressed content

    def find(self, folder: Path) -> Path | None:
        """The file's place in `folder`, or None where it is not there.

        Raises BadFileError if something else has its name, or if a symbolic link leads out of
        `folder`, and OSError where the place can't be looked at.
        """
        for candidate in (folder / self.path, folder / f"{self.path}.gz"):
            try:
                inside = candidate.resolve().is_relative_to(folder.resolve())
            except RuntimeError as error:  # what a loop of links raises before Python 3.13
                raise BadFileError(f"{candidate} is a loop of symbolic links") from error
            if not inside:
                raise BadFileError(f"{candidate} leads out of {folder} through a symbolic link")
            try:
                mode = candidate.stat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not stat.S_ISREG(mode):
                raise BadFileError(f"{candidate} is not a file")
            return candidate
        return None

    def read(self, path: Path) -> bytearray:
        """The content of the file found at `path`, uncompressed and verified.

        Never more than `size` + 1 bytes are read or uncompressed, whatever the file claims.
        Raises BadFileError if the content is not the published one, OSError if it can't be read.
        """
        content = bytearray(self.size + 1)
        try:
            with _open(path) as stream:
                length = stream.readinto(content)  # type: ignore[attr-defined]
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise BadFileError(f"{path} is damaged: {error}") from error
        if length < self.size:
            raise BadFileError(f"{path} is truncated: {length:,} bytes of {self.size:,}")
        if length > self.size:
            raise BadFileError(f"{path} is damaged: more than its {self.size:,} bytes")
        del content[length:]
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise BadFileError(f"{path} is damaged: SHA-256 {found}, not {self.sha256}")
        return content


@dataclass(frozen=True)
class DataSet:
    """A data set as files: which of them make it up, and what its download weighs."""

    name: str  # on the command line
    title: str  # in sentences
    variants: tuple[tuple[KnownFile, ...], ...]  # the first that is complete is used
    download_bytes: int  # of `variants[0]` as it is sent, which is the one downloaded

    def find(self, folder: Path) -> list[tuple[KnownFile, Path]] | None:
        """The files of the first complete variant with their places, or None.

        Raises as `KnownFile.find` does.
        """
        for variant in self.variants:
            found = [(file, path) for file in variant if (path := file.find(folder))]
            if len(found) == len(variant):
                return found
        return None


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")
