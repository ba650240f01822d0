"""Labelled images, as every data set with labels hands them over."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Images(NamedTuple):
    """Grey images with their labels, in the order of the data set's file."""

    images: Tensor  # (n, height, width) uint8; high values are ink
    labels: Tensor  # (n,) int64
