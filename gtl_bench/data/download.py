"""Downloads through torchvision, in a process of their own, with a progress bar and a limit.

torchvision waits for ever: it sets no timeout, a name server or a list of unreachable addresses
can take minutes each, and a server may send a byte now and then. A process can be watched and
ended; a thread can't.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

SCRIPT = Path(__file__).with_name("torchvision_download.py")
SOCKET_TIMEOUT = 10.0  # seconds for a connection, or for the next bytes of one
STALL_TIMEOUT = 20.0  # seconds in which less than STALL_BYTES arrive
STALL_BYTES = 16 * 1024


class DownloadError(Exception):
    """A download failed; the reason in one line."""


def download(name: str, into: Path, size: int, progress: bool) -> None:
    """Let torchvision download the data set `name` into the empty folder `into`.

    Args:
        name: "mnist" or "omniglot"
        into: becomes a data folder with that data set in it
        size: bytes that will arrive; the download is ended when it gets clearly longer
        progress: whether to show a bar, on standard error

    Raises DownloadError. A download that stalls is ended after `STALL_TIMEOUT`.
    """
    columns = (
        TextColumn("downloading {task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    # -P: the script's neighbours are modules of this package and must not shadow others'.
    command = [sys.executable, "-P", str(SCRIPT), name, str(into), str(SOCKET_TIMEOUT)]
    with (
        Progress(
            *columns, console=Console(stderr=True), transient=True, disable=not progress
        ) as bars,
        subprocess.Popen(  # noqa: S603 (our own script)
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
        ) as process,
    ):
        bar = bars.add_task(name, total=size)
        try:
            last, since = 0, time.monotonic()
            while process.poll() is None:
                time.sleep(0.05)
                received = _received(into)
                bars.update(bar, completed=received)
                if received > 1.1 * size:
                    raise DownloadError(f"more than the {size:,} bytes expected")
                # The clock stands while torchvision is imported, and once all has arrived.
                started = any(into.iterdir())
                if not started or received >= size or received >= last + STALL_BYTES:
                    last, since = received, time.monotonic()
                elif time.monotonic() - since > STALL_TIMEOUT:
                    raise DownloadError(f"no data for {STALL_TIMEOUT:g} seconds")
        finally:
            process.kill()
        if process.returncode != 0:
            raise DownloadError(_reason(process.stdout) or f"exit status {process.returncode}")


def _received(folder: Path) -> int:
    """Bytes of the archives in `folder`, decompressed files aside."""
    return sum(path.stat().st_size for end in ("gz", "zip") for path in folder.rglob(f"*.{end}"))


def _reason(output: IO[str] | None) -> str:
    assert output is not None
    return " ".join(output.read().split()).rstrip(".")
