"""MNIST (LeCun, Bottou, Bengio, Haffner, Proc. IEEE 86, 1998), in torchvision's layout."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gtl_bench.data.files import DataSet, KnownFile
from gtl_bench.data.images import Images

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DATA_SET = DataSet(
    name="mnist",
    title="MNIST",
    variants=(
        (
            KnownFile(
                "MNIST/raw/train-images-idx3-ubyte",
                47_040_016,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            KnownFile(
                "MNIST/raw/train-labels-idx1-ubyte",
                60_008,
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            KnownFile(
                "MNIST/raw/t10k-images-idx3-ubyte",
                7_840_016,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            KnownFile(
                "MNIST/raw/t10k-labels-idx1-ubyte",
                10_008,
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
    ),
    download_bytes=9_912_422 + 28_881 + 1_648_877 + 4_542,
)


class MNIST(NamedTuple):
    """Handwritten digits, 28×28; bytes 0 (paper) to 255 (ink)."""

    train: Images  # 60,000
    test: Images  # 10,000


def load(contents: Sequence[bytearray]) -> MNIST:
    """MNIST from the contents of its four files, in the order of `DATA_SET`; no bytes are copied.

    Raises ValueError if one is not an idx file.
    """
    import torch

    train_images, train_labels, test_images, test_labels = (
        torch.from_numpy(read_idx(content)) for content in contents
    )
    return MNIST(
        train=Images(train_images, train_labels.long()),
        test=Images(test_images, test_labels.long()),
    )


def read_idx(content: bytearray) -> NDArray[np.uint8]:
    """The array of an idx file of unsigned bytes; it shares its memory with `content`.

    The format, as MNIST's authors describe it: two zero bytes, a byte for the type of the values
    (8: unsigned byte), a byte for the number of dimensions, the size of each as a big-endian
    32-bit integer, then the values, the last index changing fastest. torchvision's reader says
    the same with assertions, reads the file a second time, and costs torchvision's import.

    Raises ValueError, in one line, for everything else: other types, no dimensions, missing or
    left-over bytes.
    """
    import numpy as np

    if len(content) < 4 or content[:3] != b"\0\0\x08" or content[3] == 0:
        raise ValueError(
            f"not an idx file of unsigned bytes: it begins with {bytes(content[:4])!r}"
        )
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError(f"an idx file cut off in its header: {len(content)} bytes of {start}")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != math.prod(shape):
        sizes = "×".join(map(str, shape))
        raise ValueError(
            f"an idx file of {len(content) - start} values where {sizes} are announced"
        )
    return np.frombuffer(content, dtype=np.uint8)[start:].reshape(shape)
