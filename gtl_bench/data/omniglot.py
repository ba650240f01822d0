"""Omniglot (Lake, Salakhutdinov, Tenenbaum, Science 350, 2015): its background characters.

Two forms are known, both from github.com/brendenlake/omniglot. The background set has 964
characters of 30 alphabets: `images_background.zip`, which is what torchvision downloads. The two
small background sets have five alphabets each, 136 and 156 characters; Greek and Latin are in
both, so that together they hold 242 characters. Where the background set is there it is used.
Archives are verified, then read from memory: nothing is unpacked to disk.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from gtl_bench.data.files import DataSet, KnownFile

if TYPE_CHECKING:
    from torch import Tensor

# Size and SHA-256 of the background set as TensorFlow Datasets publishes them.
_BACKGROUND = (9_464_212, "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640")

DATA_SET = DataSet(
    name="omniglot",
    title="Omniglot",
    variants=(
        (KnownFile("omniglot/images_background.zip", *_BACKGROUND),),
        # torchvision's own folder. Ours is another, since an archive that lies there without the
        # images beside it makes torchvision fail.
        (KnownFile("omniglot-py/images_background.zip", *_BACKGROUND),),
        (
            KnownFile(
                "omniglot/images_background_small1.zip",
                1_319_022,
                "f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4",
            ),
            KnownFile(
                "omniglot/images_background_small2.zip",
                1_580_917,
                "3ccaa407515a8778e5d0861875af38b17e418f301ad5bb3b5a6b65d901a41c7f",
            ),
        ),
    ),
    download_bytes=_BACKGROUND[0],
)

DRAWERS = 20
SIDE = 105

_DRAWING = re.compile(
    r"[^/]+/(?P<character>[^/]+/character\d\d)/\d{4}_(?P<drawer>\d\d)\.png", re.ASCII
)


class Omniglot(NamedTuple):
    """Handwritten characters, each drawn once by each of twenty people.

    Within an alphabet, drawer d is one person; across alphabets the number means nothing.
    """

    images: Tensor  # (characters, 20 drawers, 105, 105) uint8; 255 is ink, 0 is paper
    names: tuple[str, ...]  # "alphabet/characterNN", sorted; the same in both forms


def load(archives: Iterable[bytes | bytearray]) -> Omniglot:
    """The characters of all `archives` (zip files' contents); one that is in several counts once.

    The files are black on white; here ink is high, as in MNIST.
    """
    import numpy as np
    import torch
    from PIL import Image

    drawings: dict[str, dict[int, bytes]] = {}
    for content in archives:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for entry in archive.namelist():
                if found := _DRAWING.fullmatch(entry):
                    drawers = drawings.setdefault(found["character"], {})
                    drawers[int(found["drawer"])] = archive.read(entry)
    names = tuple(sorted(drawings))
    images = np.empty((len(names), DRAWERS, SIDE, SIDE), dtype=np.uint8)
    for character, name in enumerate(names):
        for drawer in range(DRAWERS):
            with Image.open(io.BytesIO(drawings[name][drawer + 1])) as drawing:
                images[character, drawer] = 255 - np.asarray(drawing.convert("L"))
    return Omniglot(torch.from_numpy(images), names)


def drawings_like_mnist(drawings: Tensor) -> Tensor:
    """Drawings brought to 28×28 the way MNIST was made.

    LeCun et al. (1998, section III.A) fit each digit into a 20×20 box, its aspect kept, and move
    it to the centre of a 28×28 field (`gtl_bench.data.images.centred`). Omniglot's pen is finer
    than MNIST's: as they are, its drawings come out with three quarters of the ink. Thickened by a
    pixel all round before they are shrunk they have 13.5 % of the field inked, MNIST 13.0 %.

    Args:
        drawings: (n, 105, 105) uint8, values 0 (paper) to 255 (ink), none empty.

    Returns:
        (n, 28, 28) uint8, values 0 (paper) to 255 (ink)
    """
    import torch
    from torch.nn import functional

    from gtl_bench.data.images import centred

    thick = functional.max_pool2d(drawings[:, None].float(), 3, stride=1, padding=1)
    boxes = torch.zeros(len(drawings), 20, 20, dtype=torch.double)
    for box, drawing in zip(boxes, thick):
        _, rows, columns = drawing.nonzero(as_tuple=True)
        inked = drawing[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        longest = max(inked.shape[1:])
        height, width = (max(1, round(20 * side / longest)) for side in inked.shape[1:])
        shrunk = functional.interpolate(
            inked[None], size=(height, width), mode="bilinear", antialias=True
        )
        top, left = (20 - height) // 2, (20 - width) // 2
        box[top : top + height, left : left + width] = shrunk[0, 0].round()
    return centred(boxes)
