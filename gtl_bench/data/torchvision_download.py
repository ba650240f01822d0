"""A script, run by `download.py` in a process of its own: one download through torchvision.

    python torchvision_download.py mnist|omniglot FOLDER TIMEOUT

Everything it changes is global (the timeout of sockets, the opener of URLs, torchvision's list of
mirrors), hence the process. On failure it prints the reason and ends with status 1.
"""

from __future__ import annotations

import http.client
import socket
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit


def confidential(url: str) -> bool:
    """Whether nobody on the way can read or change what `url` brings."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in {"localhost", "127.0.0.1", "::1"}


class NoPlainHTTP(urllib.request.HTTPHandler):
    """Refuses plain HTTP from elsewhere, redirections to it included."""

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        if confidential(req.full_url):
            return super().http_open(req)
        # torchvision tries over HTTP what failed over HTTPS: then the first failure is the reason.
        raise sys.exception() or urllib.error.URLError(f"{req.full_url} is plain HTTP")


def download(name: str, folder: str) -> None:
    """Download one data set into `folder`; raises what torchvision raises."""
    if name == "mnist":
        from torchvision.datasets import MNIST

        MNIST.mirrors = [mirror for mirror in MNIST.mirrors if confidential(mirror)]
        MNIST(folder, download=True)
    elif name == "omniglot":
        from torchvision.datasets import Omniglot
        from torchvision.datasets.utils import download_url

        # Not Omniglot(download=True), which would unpack 19,280 files that nobody reads.
        archive = "images_background"
        url = f"{Omniglot.download_url_prefix}/{archive}.zip"
        download_url(url, f"{folder}/omniglot", md5=Omniglot.zips_md5[archive])
    else:
        raise ValueError(f"no data set {name}")


if __name__ == "__main__":
    socket.setdefaulttimeout(float(sys.argv[3]))
    urllib.request.install_opener(urllib.request.build_opener(NoPlainHTTP))
    try:
        download(sys.argv[1], sys.argv[2])
    except Exception as error:
        print(f"{error}" or type(error).__name__)
        sys.exit(1)
