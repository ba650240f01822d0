"""Labelled images, as every data set with labels hands them over."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Images(NamedTuple):
    """Grey images with their labels, in the order of the data set's file."""

    images: Tensor  # (n, height, width) uint8; high values are ink
    labels: Tensor  # (n,) int64


def centred(boxes: Tensor) -> Tensor:
    """Boxes of 20×20 put into fields of 28×28, as MNIST was made.

    LeCun et al. (1998, section III.A) move each digit so that its centre of mass is the centre of
    the field. The move is by whole pixels, to row and column 14 counted from 0: that is where
    MNIST's own centres of mass are, to half a pixel. The whole box stays within the field.

    Args:
        boxes: (n, 20, 20), whole numbers from 0 (paper) to 255 (ink).

    Returns:
        (n, 28, 28) uint8
    """
    import torch

    place = torch.arange(20, dtype=boxes.dtype)
    ink = boxes.sum((1, 2)).clamp(min=1)
    field = torch.arange(28)

    def source(centre: Tensor) -> Tensor:
        """For each place in the field, (n, 28), the place in the box that goes there."""
        shift = (14 - centre).round().long().clamp(0, 8)
        return field - shift[:, None]

    rows = source(boxes.sum(2) @ place / ink)
    columns = source(boxes.sum(1) @ place / ink)
    inside = ((rows >= 0) & (rows < 20))[:, :, None] & ((columns >= 0) & (columns < 20))[:, None]
    image = torch.arange(len(boxes))[:, None, None]
    moved = boxes[image, rows.clamp(0, 19)[:, :, None], columns.clamp(0, 19)[:, None]]
    return (moved * inside).to(torch.uint8)
