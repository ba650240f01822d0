"""The digits inside scikit-learn: 1,797 real handwritten digits of 8×8, no file needed.

They are the test part of the UCI "Optical Recognition of Handwritten Digits" (Alpaydin, Kaynak,
1998), by 13 writers. NIST's programs scaled each digit to a 32×32 bitmap, as high as the field;
a value counts the ink in a 4×4 block of it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from gtl_bench.data.images import Images, centred

if TYPE_CHECKING:
    from torch import Tensor

# Everybody copied the same form of 130 digits, so the labels tell where one begins. There are 14
# of them (up to 8 digits are missing from a form), at 0, 130, 256, 385, 516, 646, 776, 906, 1029,
# 1157, 1287, 1415, 1545 and 1667; this is the eighth.
_EIGHTH_FORM = 906


def load() -> Images:
    """All digits in the order of the UCI file: images (1797, 8, 8), values 0 (paper) to 16."""
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Images(
        torch.from_numpy(digits.images).to(torch.uint8), torch.from_numpy(digits.target).long()
    )


@lru_cache
def checksum() -> str:
    """SHA-256 (hexadecimal) of the file inside scikit-learn, found without importing it."""
    sklearn = find_spec("sklearn")
    assert sklearn is not None
    assert sklearn.submodule_search_locations is not None
    package = Path(sklearn.submodule_search_locations[0])
    return hashlib.sha256((package / "datasets/data/digits.csv.gz").read_bytes()).hexdigest()


def writers_halves(digits: Images) -> tuple[Images, Images]:
    """`load()`'s digits in two parts of 906 and 891, each of seven whole forms of the file.

    What is known: the file's labels run 14 times through one form of 130 digits, and its authors
    count 13 writers. So a cut between forms cuts no form in two, and the halves share one writer
    at most (whoever filled in two forms, which the file does not tell).
    """
    images, labels = digits
    return (
        Images(images[:_EIGHTH_FORM], labels[:_EIGHTH_FORM]),
        Images(images[_EIGHTH_FORM:], labels[_EIGHTH_FORM:]),
    )


def like_mnist(images: Tensor) -> Tensor:
    """Digits of 8×8 brought to 28×28 the way MNIST was made.

    LeCun et al. (1998, section III.A) fit each digit into a 20×20 box, its aspect kept, and move
    it to the centre of a 28×28 field (`centred`). Every digit of scikit-learn's is 8 high, so the
    box is the whole image, magnified 2.5 times (bicubic: nearer to MNIST's crisp strokes than
    bilinear).

    Args:
        images: (n, 8, 8), values 0 (paper) to 16 (ink)

    Returns:
        (n, 28, 28) uint8, values 0 (paper) to 255 (ink)
    """
    from torch.nn import functional

    box = functional.interpolate(
        images[:, None].double(), size=(20, 20), mode="bicubic", align_corners=False
    )[:, 0]
    return centred((box.clamp(0, 16) * (255 / 16)).round())
