"""Downloads: torchvision's own code against a server on this machine that behaves and misbehaves.

The server answers by the first part of the path: "good", "absent" (404), "short" (half of what
it announces), "other" (another file), "stalled" (nothing after the headers), "away" (a redirection
to plain HTTP).
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import socket
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gtl_bench.data import DataFolder, MissingDataError, download, folder, torchvision_download
from gtl_bench.data.download import DownloadError
from gtl_bench.data.files import DataSet
from gtl_bench.data.torchvision_download import NoPlainHTTP, confidential

Tree = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def served(tiny_contents: dict[str, bytes]) -> dict[str, bytes]:
    """What the server has, by file name."""
    files = {f"{name}.gz": gzip.compress(content) for name, content in tiny_contents.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("images_background/readme", "no drawings")
    return {**files, "images_background.zip": buffer.getvalue()}


@pytest.fixture(scope="module")
def resources(served: dict[str, bytes]) -> list[tuple[str, str]]:
    """The same as torchvision's `MNIST.resources`."""
    archives = [name for name in served if name.endswith(".gz")]
    return [(name, hashlib.md5(served[name]).hexdigest()) for name in archives]


@pytest.fixture(scope="module")
def server(served: dict[str, bytes]) -> Iterator[str]:
    """The server's address; it stops when the module's tests are done."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, behaviour, *_, name = self.path.split("/")
            if behaviour == "away":
                self.send_response(302)
                self.send_header("Location", "http://192.0.2.1/elsewhere")
                self.end_headers()
                return
            if behaviour == "absent":
                self.send_error(404)
                return
            content = served[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if behaviour == "short":
                content = content[: len(content) // 2]
            elif behaviour == "other":
                content = bytes(len(content))
            elif behaviour == "stalled":
                over.wait(30)
                content = b""
            # torchvision looks for redirections first, and hangs up.
            with contextlib.suppress(ConnectionError):
                self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            over.set()
            running.shutdown()
            thread.join()


@dataclass
class Outcome:
    """What came of asking for MNIST, twice at once."""

    folder: Path
    errors: list[Exception | None]
    seconds: float
    downloads: int


@pytest.fixture(scope="module")
def outcomes(
    server: str,
    resources: list[tuple[str, str]],
    tiny_set: DataSet,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Outcome]:
    """One data folder for each behaviour of the server, named like it; both at the same time.

    torchvision runs as it does for a user, in its own process, but for its lists of addresses
    and checksums.
    """
    top = tmp_path_factory.mktemp("downloads")
    script = top / "script.py"
    script.write_text(f"""
import pathlib, runpy, sys
from torchvision.datasets import MNIST
data = pathlib.Path(sys.argv[2]).parent
with open(data / "downloads", "a") as log:
    print("one", file=log)
MNIST.mirrors = ["http://192.0.2.1/never-asked/", f"{server}/{{data.name}}/"]
MNIST.resources = {resources}
runpy.run_path({str(download.SCRIPT)!r}, run_name="__main__")
""")

    def ask(data: Path) -> Exception | None:
        try:
            DataFolder(data, progress=False).ensure("mnist")
        except Exception as error:
            return error
        return None

    def outcome(behaviour: str, times: int) -> Outcome:
        data = top / behaviour
        left_by_a_killed_process = data / ".mnist-download-killed"
        left_by_a_killed_process.mkdir(parents=True)
        (left_by_a_killed_process / "rest").touch()
        start = time.monotonic()
        with ThreadPoolExecutor(times) as pool:
            errors = list(pool.map(ask, [data] * times))
        seconds = time.monotonic() - start
        log = data / "downloads"
        downloads = len(log.read_text().split())
        log.unlink()
        return Outcome(data, errors, seconds, downloads)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(download, "SCRIPT", script)
        patch.setitem(folder._ON_DISK, "mnist", tiny_set)
        good, absent = pool.map(outcome, ["good", "absent"], [2, 1])
    return {"good": good, "absent": absent}


def test_two_that_want_the_same_download_it_once(
    outcomes: dict[str, Outcome], tiny: DataSet, tiny_contents: dict[str, bytes], tree: Tree
) -> None:
    good = outcomes["good"]
    assert good.errors == [None, None]
    assert good.downloads == 1
    expected = [".mnist.lock", *sorted(f"MNIST/raw/{name}" for name in tiny_contents)]
    assert tree(good.folder) == expected, "four verified files, and no rest of the download"
    data = DataFolder(good.folder, download=False)
    assert len(data.mnist().train.images) == 300


def test_failure_is_one_line_and_leaves_nothing(outcomes: dict[str, Outcome], tree: Tree) -> None:
    absent = outcomes["absent"]
    (error,) = absent.errors
    assert isinstance(error, MissingDataError)
    message = str(error)
    assert "\n" not in message
    assert message.startswith(
        f"MNIST is not in {absent.folder} (no MNIST/raw/train-images-idx3-ubyte) and could not be "
        "downloaded (Error downloading train-images-idx3-ubyte.gz: Tried http://127.0.0.1:"
    )
    assert message.endswith(
        "/absent/, got: HTTP Error 404: Not Found); with a network, run "
        f"`python -m gtl_bench data mnist --data-dir {absent.folder}`"
    )
    assert "192.0.2.1" not in message, "a mirror over plain HTTP is not asked"
    assert tree(absent.folder) == [".mnist.lock"]
    assert absent.seconds < 300


@pytest.fixture
def ask_torchvision(
    server: str,
    served: dict[str, bytes],
    resources: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[[str, str], Path]:
    """The script's work in this process: a data set from a server of some behaviour."""
    from torchvision.datasets import MNIST, Omniglot

    zip_md5 = hashlib.md5(served["images_background.zip"]).hexdigest()

    def ask(name: str, behaviour: str) -> Path:
        monkeypatch.setattr(MNIST, "mirrors", [f"{server}/{behaviour}/"])
        monkeypatch.setattr(MNIST, "resources", resources)
        monkeypatch.setattr(Omniglot, "download_url_prefix", f"{server}/{behaviour}")
        monkeypatch.setattr(Omniglot, "zips_md5", {"images_background": zip_md5})
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(0.5 if behaviour == "stalled" else 60)
        try:
            torchvision_download.download(name, str(tmp_path))
        finally:
            socket.setdefaulttimeout(before)
        return tmp_path

    return ask


Ask = Callable[[str, str], Path]


def test_omniglot_arrives_packed(
    ask_torchvision: Ask, served: dict[str, bytes], tree: Tree
) -> None:
    into = ask_torchvision("omniglot", "good")
    assert tree(into) == ["omniglot/images_background.zip"]
    (content,) = (path.read_bytes() for path in into.rglob("*.zip"))
    assert content == served["images_background.zip"]


@pytest.mark.parametrize("name", ["mnist", "omniglot"])
@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("absent", "HTTP Error 404: Not Found"),
        ("short", "File not found or corrupted"),
        ("other", "File not found or corrupted"),
        ("stalled", "timed out"),
        ("away", r"http://192\.0\.2\.1/elsewhere is plain HTTP"),
    ],
)
def test_reasons(
    ask_torchvision: Ask, monkeypatch: pytest.MonkeyPatch, name: str, behaviour: str, reason: str
) -> None:
    opener = urllib.request.build_opener(NoPlainHTTP)
    monkeypatch.setattr(urllib.request, "_opener", opener)
    with pytest.raises((RuntimeError, OSError), match=reason):
        ask_torchvision(name, behaviour)


def test_what_arrives_is_verified_again(
    tiny: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: Tree
) -> None:
    """Whatever torchvision says: no file is moved into place that is not the known one."""

    def careless(name: str, into: Path, size: int, progress: bool) -> None:
        for file in tiny.variants[0]:
            (into / file.path).parent.mkdir(parents=True, exist_ok=True)
            (into / file.path).write_bytes(bytes(file.size))

    monkeypatch.setattr(download, "download", careless)
    with pytest.raises(MissingDataError, match=r"could not be downloaded \(.* is damaged: SHA-256"):
        DataFolder(tmp_path).mnist()
    assert tree(tmp_path) == [".mnist.lock"]


def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, stall: float = 60) -> Path:
    """A script in torchvision's place, and the folder that it is to fill.

    `stall` is the seconds after which a download without progress is given up.
    """
    script = tmp_path / "script.py"
    script.write_text(f"import pathlib, sys, time\ninto = pathlib.Path(sys.argv[2])\n{code}")
    monkeypatch.setattr(download, "SCRIPT", script)
    monkeypatch.setattr(download, "STALL_TIMEOUT", stall)
    into = tmp_path / "into"
    into.mkdir()
    return into


GROW = """
file = open(into / "a.gz", "wb", buffering=0)
while True:
    file.write({})
    time.sleep(0.02)
"""


@pytest.mark.parametrize(
    ("code", "stall", "reason"),
    [
        ("(into / 'MNIST').mkdir(); time.sleep(600)", 0.4, "no data for 0.4 seconds"),
        (GROW.format("b'x'"), 0.4, "no data for 0.4 seconds"),
        (GROW.format("bytes(200_000)"), 60, "more than the 1,000,000 bytes expected"),
        ("print('a\\nb.'); sys.exit(1)", 60, "a b"),
        ("import os; os.abort()", 60, "exit status -6"),
        ("raise ImportError('unseen')", 60, "exit status 1"),
    ],
    ids=["silent", "trickle", "endless", "failing", "crashing", "broken"],
)
def test_watched_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, stall: float, reason: str
) -> None:
    into = fake(monkeypatch, tmp_path, code, stall)
    start = time.monotonic()
    with pytest.raises(DownloadError) as caught:
        download.download("mnist", into, 1_000_000, progress=False)
    assert str(caught.value) == reason
    assert time.monotonic() - start < 60


def test_a_slow_import_is_no_stall(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    into = fake(monkeypatch, tmp_path, "time.sleep(1)", stall=0.4)
    download.download("mnist", into, 1_000_000, progress=False)


def test_progress_is_what_has_arrived(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = """
for name, shown in (("a.gz", 400), ("b.gz", 800)):
    (into / "a").write_bytes(bytes(5000))  # decompressed: does not count
    (into / name).write_bytes(bytes(400))
    while not (into.parent / f"shown {shown}").exists():
        time.sleep(0.01)
"""
    into = fake(monkeypatch, tmp_path, code)
    shown = []
    update = download.Progress.update

    def record(self: download.Progress, task: object, completed: float) -> None:
        shown.append(completed)
        (tmp_path / f"shown {completed}").touch()
        update(self, task, completed=completed)  # type: ignore[arg-type]

    monkeypatch.setattr(download.Progress, "update", record)
    download.download("mnist", into, 800, progress=True)
    assert set(shown) - {0} == {400, 800}
    assert shown == sorted(shown)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/a", True),
        ("http://example.org/a", False),
        ("http://127.0.0.1:80/a", True),
        ("http://localhost/a", True),
        ("http://localhost.example.org/a", False),
        ("http://127.0.0.1@example.org/a", False),
        ("ftp://example.org/a", False),
    ],
)
def test_confidential(url: str, expected: bool) -> None:
    assert confidential(url) is expected


def test_plain_http_is_refused(server: str) -> None:
    opener = urllib.request.build_opener(NoPlainHTTP)
    for url in ("http://192.0.2.1/a", f"{server}/away/a"):
        start = time.monotonic()
        with pytest.raises(urllib.error.URLError, match=r"http://192\.0\.2\.1/\w+ is plain HTTP"):
            opener.open(url, timeout=5)
        assert time.monotonic() - start < 4, "nothing was sent"


def test_a_retry_over_plain_http_gives_the_first_reason() -> None:
    """torchvision: `except ...: url = url.replace("https:", "http:")`, and once more."""
    opener = urllib.request.build_opener(NoPlainHTTP)
    try:
        raise TimeoutError("timed out over HTTPS")
    except TimeoutError:
        with pytest.raises(TimeoutError, match="over HTTPS"):
            opener.open("http://192.0.2.1/a")
