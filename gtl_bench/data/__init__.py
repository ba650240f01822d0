"""Data sets: found in the data folder, or downloaded; verified; handed over as tensors of bytes.

A benchmark asks a `DataFolder` for what it needs. Importing this package is light: torch,
torchvision and scikit-learn are imported when a data set is read or downloaded.
"""

from gtl_bench.data.digits import like_mnist, writers_halves
from gtl_bench.data.folder import DATA_SETS, DataFolder, MissingDataError
from gtl_bench.data.images import Images
from gtl_bench.data.mnist import MNIST
from gtl_bench.data.omniglot import Omniglot, drawings_like_mnist

__all__ = [
    "DATA_SETS",
    "MNIST",
    "DataFolder",
    "Images",
    "MissingDataError",
    "Omniglot",
    "drawings_like_mnist",
    "like_mnist",
    "writers_halves",
]
