"""scikit-learn's digits, their writers' halves, and their way to MNIST's format."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gtl_bench.data import DataFolder, Images, like_mnist, writers_halves


@pytest.fixture(scope="module")
def digits() -> Images:
    return DataFolder(download=False).digits()


def centre_of_mass(images: Tensor) -> Tensor:
    """(n, 2): row and column, counted from 0."""
    mass = images.double()
    rows = torch.arange(images.shape[1], dtype=torch.double)
    columns = torch.arange(images.shape[2], dtype=torch.double)
    ink = mass.sum((1, 2))
    return torch.stack([mass.sum(2) @ rows / ink, mass.sum(1) @ columns / ink], 1)


def test_whole_set_in_order(digits: Images) -> None:
    from sklearn.datasets import load_digits

    theirs = load_digits()
    assert digits.images.dtype == torch.uint8
    assert digits.labels.dtype == torch.int64
    assert digits.images.numpy().tolist() == theirs.images.tolist()
    assert digits.labels.tolist() == theirs.target.tolist()


def test_halves_are_cut_between_two_forms(digits: Images) -> None:
    """A form begins with 0 to 9 three times and ends in 4 9 0 8 9 8 (the file's first 130)."""
    first, second = writers_halves(digits)
    form = digits.labels[:130].tolist()
    assert form[:30] == list(range(10)) * 3
    assert form[-6:] == [4, 9, 0, 8, 9, 8]
    assert first.labels[776:806].tolist() == form[:30]  # the last whole form before the cut
    assert first.labels[-6:].tolist() == form[-6:]
    assert second.labels[:29].tolist() == form[1:30]  # its first digit is missing in the file
    assert second.labels[-130:].tolist() == form
    assert torch.cat([first.images, second.images]).equal(digits.images)
    assert [len(first.labels), len(second.labels)] == [906, 891]
    assert first.labels.bincount().min() > 80
    assert second.labels.bincount().min() > 80


def test_like_mnist_has_mnists_format(digits: Images) -> None:
    images = like_mnist(digits.images)
    assert images.shape == (1797, 28, 28)
    assert images.dtype == torch.uint8
    assert images.amax((1, 2)).min() > 200  # every digit has full strokes
    assert ((centre_of_mass(images) - 14).abs() <= 0.5).all()
    heights = (images > 0).any(2).sum(1)
    assert heights.unique().tolist() == [20]
    assert (images > 0).any(1).sum(1).max() <= 20


def test_mnist_itself_is_centred_there(shared_data: Path) -> None:
    """What `like_mnist` imitates: centres of mass at row and column 14, by whole pixels."""
    images = DataFolder(shared_data).mnist().test.images
    assert ((centre_of_mass(images) - 14).abs() < 0.53).all()
    assert (images > 0).any(2).sum(1).max() <= 20


def test_like_mnist_of_a_full_square() -> None:
    """Centre 9.5 in the box; 14 − 9.5 = 4.5 rounds to the even 4."""
    expected = torch.zeros(28, 28, dtype=torch.uint8)
    expected[4:24, 4:24] = 255
    assert like_mnist(torch.full((1, 8, 8), 16, dtype=torch.uint8))[0].equal(expected)


def test_like_mnist_only_magnifies_and_moves(digits: Images) -> None:
    """One digit, step by step: the box of 20×20 is found whole in the field, at its shift."""
    digit = digits.images[17]
    box = functional.interpolate(digit[None, None].double() / 16, size=(20, 20), mode="bicubic")
    box = (255 * box[0, 0].clamp(0, 1)).round().to(torch.uint8)
    row, column = (14 - centre_of_mass(box[None])[0]).round().long().tolist()
    field = torch.zeros(28, 28, dtype=torch.uint8)
    field[row : row + 20, column : column + 20] = box
    assert like_mnist(digit[None])[0].equal(field)


def test_like_mnist_treats_rows_and_columns_alike(digits: Images) -> None:
    images = digits.images[:200]
    assert like_mnist(images.mT).equal(like_mnist(images).mT)


def test_like_mnist_of_one_digit_does_not_hang_on_the_others(digits: Images) -> None:
    together = like_mnist(digits.images[:50])
    alone = torch.cat([like_mnist(digit[None]) for digit in digits.images[:50]])
    assert together.equal(alone)


def test_like_mnist_of_an_empty_image() -> None:
    assert like_mnist(torch.zeros(2, 8, 8, dtype=torch.uint8)).sum() == 0
