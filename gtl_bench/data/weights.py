"""Published weights of networks pretrained on ImageNet, as torchvision offers them.

A file that is there is used once its checksum is right; else it is downloaded over HTTPS. Nothing
but tensors is read from it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from gtl_bench.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

#: Name of a network -> torchvision's file of its weights; its name ends with the beginning of the
#: SHA-256 of its content.
FILES = {"resnet18": "resnet18-f37072fd.pth", "vgg16": "vgg16-397923af.pth"}

URL = "https://download.pytorch.org/models/"


def published_weights(folder: Path, name: str) -> dict[str, Tensor]:
    """The published weights of a network: parameter or buffer -> values.

    Args:
        folder: the data folder; the file is looked for, or kept, in its folder `torchvision`.
        name: one of `FILES`.

    Raises:
        DataError: if the file is not there and can't be downloaded, or is damaged; says what to
            download, and where to put it.
    """
    import torch

    path = folder / "torchvision" / FILES[name]
    if not path.is_file():
        _download(path)
    expected = path.stem.rpartition("-")[2]
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if not found.startswith(expected):
            raise ValueError(f"its SHA-256 begins with {found[: len(expected)]}")
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make its reader raise anything
        reason = " ".join(str(error).split())[:150]
        raise DataError(
            f"{path} is not torchvision's {path.name} ({reason}); remove it and download "
            f"{URL}{path.name} again."
        ) from error
    return weights


def _download(path: Path) -> None:
    """Bring the file to its place, whole or not at all, whoever else wants it.

    Raises:
        DataError: if it can't be had.
    """
    import torch
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.is_file():
                torch.hub.download_url_to_file(
                    f"{URL}{path.name}",
                    str(path),
                    hash_prefix=path.stem.rpartition("-")[2],
                    progress=False,
                )
    except (OSError, RuntimeError) as error:  # no network, no room, another content
        reason = " ".join(str(error).split())[:150]
        raise DataError(
            f"the weights {path.name} are not in {path.parent} and can't be downloaded "
            f"({reason}): download {URL}{path.name} elsewhere and put it there."
        ) from error
