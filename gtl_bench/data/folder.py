"""The data folder: where data sets are looked for, and where they are downloaded to."""

from __future__ import annotations

import difflib
import hashlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from gtl_bench.data import digits, mnist, omniglot
from gtl_bench.data.files import BadFileError, DataSet, KnownFile
from gtl_bench.data.images import Images
from gtl_bench.errors import DataError, UsageError

_ON_DISK = {data_set.name: data_set for data_set in (mnist.DATA_SET, omniglot.DATA_SET)}

DATA_SETS = ("digits", *_ON_DISK)

LOCK_TIMEOUT = 900.0  # seconds to wait for another process that downloads the same


class MissingDataError(DataError):
    """A data set is not there and could not be downloaded; a stand-in may take its place.

    Data that is there and damaged is a plain DataError instead: nothing should hide that.
    """


class DataFolder:
    """Data sets in one folder, in torchvision's layout: found, else downloaded; always verified.

    A set that is there is used and nothing is written, so that the folder may be read-only.

    Args:
        path: the folder; by default the environment variable GTL_BENCH_DATA, else the user's
            cache folder. It need not exist.
        download: whether a set that is missing may be downloaded
        progress: whether a download shows a bar, on standard error
    """

    def __init__(
        self, path: Path | None = None, download: bool = True, progress: bool = True
    ) -> None:
        self.path = _default_path() if path is None else path.expanduser().absolute()
        self._option = "" if path is None else f" --data-dir {shlex.quote(str(self.path))}"
        self._may_download = download
        self._progress = progress

    def mnist(self) -> mnist.MNIST:
        """MNIST. Raises as `ensure` does."""
        return mnist.load(self._contents("mnist"))

    def omniglot(self) -> omniglot.Omniglot:
        """Omniglot: 964 characters of the background set, or 242 of the two small ones.

        Raises as `ensure` does.
        """
        return omniglot.load(self._contents("omniglot"))

    def digits(self) -> Images:
        """scikit-learn's digits, (1797, 8, 8), values 0 to 16; see also `like_mnist`."""
        return digits.load()

    def ensure(self, name: str) -> tuple[Path, ...]:
        """Find or download the data set `name` and verify it.

        Returns the files it is made of: none for digits, which are inside scikit-learn. A file
        that was verified before in this process and has not changed since is not read again.

        Raises:
            UsageError: there is no data set of this name
            MissingDataError: it is not there and could not be downloaded
            DataError: a file is damaged, can't be read, or is a link out of the folder
        """
        return tuple(path for _, path in self._verified(name))

    def checksum(self, name: str) -> str:
        """A hexadecimal string that changes with the content of the data set, for cache keys.

        It depends on the content alone: not on the folder, nor on a file being compressed. The
        data set is found or downloaded first; raises as `ensure` does.
        """
        if name == "digits":
            return digits.checksum()
        contents = " ".join(file.sha256 for file, _ in self._verified(name))
        return hashlib.sha256(contents.encode()).hexdigest()

    def _verified(self, name: str) -> list[tuple[KnownFile, Path]]:
        if name == "digits":
            return []
        if name not in _ON_DISK:
            raise UsageError(_unknown(name))
        data_set = _ON_DISK[name]
        with self._explained(data_set):
            found = self._locate(data_set)
            for file, path in found:
                status = path.stat()
                _verify(file, path, status.st_ino, status.st_size, status.st_mtime_ns)
            return found

    def _contents(self, name: str) -> list[bytearray]:
        data_set = _ON_DISK[name]
        with self._explained(data_set):
            return [file.read(path) for file, path in self._locate(data_set)]

    @contextmanager
    def _explained(self, data_set: DataSet) -> Iterator[None]:
        """Turn what goes wrong with files into one line for the user."""
        try:
            yield
        except BadFileError as error:
            remedy = f"remove it, then run `{self._command(data_set)}`"
            raise DataError(f"{error}; {remedy}") from error
        except OSError as error:
            raise DataError(f"{data_set.title} can't be read: {error}") from error

    def _locate(self, data_set: DataSet) -> list[tuple[KnownFile, Path]]:
        found = data_set.find(self.path)
        if found is None:
            self._download(data_set)
            found = data_set.find(self.path)
            assert found is not None
        return found

    def _download(self, data_set: DataSet) -> None:
        """Bring the data set into the folder, once, whoever else wants it at the same time."""
        if not self._may_download:
            raise self._missing(data_set, "was not to be downloaded")
        from filelock import FileLock

        from gtl_bench.data.download import DownloadError

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path / f".{data_set.name}.lock", timeout=LOCK_TIMEOUT):
                if data_set.find(self.path) is None:
                    self._fetch(data_set)
        # NotImplementedError: a file system without locks.
        except (DownloadError, BadFileError, OSError, NotImplementedError) as error:
            raise self._missing(data_set, f"could not be downloaded ({error})") from error

    def _fetch(self, data_set: DataSet) -> None:
        """Download into a temporary folder beside the place, verify, and move each file whole."""
        from gtl_bench.data.download import download

        prefix = f".{data_set.name}-download-"
        for leftover in self.path.glob(f"{prefix}*"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(
            prefix=prefix, dir=self.path, ignore_cleanup_errors=True
        ) as temporary:
            download(data_set.name, Path(temporary), data_set.download_bytes, self._progress)
            files = [(file, Path(temporary, file.path)) for file in data_set.variants[0]]
            for file, path in files:
                file.read(path)
            for file, path in files:
                place = self.path / file.path
                place.parent.mkdir(parents=True, exist_ok=True)
                path.replace(place)

    def _missing(self, data_set: DataSet, why: str) -> MissingDataError:
        places = [
            next((file for file in variant if file.find(self.path) is None), variant[0]).path
            for variant in data_set.variants
        ]
        return MissingDataError(
            f"{data_set.title} is not in {self.path} (no {' or '.join(places)}) and {why}; "
            f"with a network, run `{self._command(data_set)}`"
        )

    def _command(self, data_set: DataSet) -> str:
        return f"python -m gtl_bench data {data_set.name}{self._option}"


def _default_path() -> Path:
    if chosen := os.environ.get("GTL_BENCH_DATA"):
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("gtl-bench") / "data"


@lru_cache
def _verify(file: KnownFile, path: Path, inode: int, size: int, mtime_ns: int) -> None:
    """Read the file once in a process, and again when its status has changed.

    The last three arguments are that status: they are only there to tell calls apart.
    """
    file.read(path)


def _unknown(name: str) -> str:
    guesses = difflib.get_close_matches(name, DATA_SETS, n=1)
    hint = f"; did you mean {guesses[0]!r}?" if guesses else ""
    return f"unknown data set {name!r}{hint} (there are {', '.join(DATA_SETS)})"
