"""Omniglot from its official archives, none of which is unpacked to disk."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gtl_bench.data import DataFolder, Omniglot, drawings_like_mnist, folder
from gtl_bench.data.files import DataSet, KnownFile
from gtl_bench.data.omniglot import load
from gtl_bench.errors import DataError

Tree = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Omniglot:
    return DataFolder(shared_data, download=False).omniglot()


def test_the_two_small_sets_merged(real: Omniglot) -> None:
    assert real.images.shape == (242, 20, 105, 105)
    assert real.images.dtype == torch.uint8
    assert real.images.unique().tolist() == [0, 255]
    assert list(real.names) == sorted(set(real.names))
    alphabets = {name.split("/")[0] for name in real.names}
    assert len(alphabets) == 8
    assert sum(name.startswith("Greek/") for name in real.names) == 24
    assert sum(name.startswith("Latin/") for name in real.names) == 26


def test_ink_is_high(real: Omniglot) -> None:
    ink = (real.images == 255).double().mean((2, 3))
    assert ink.min() > 0.005
    assert ink.max() < 0.3


def test_a_drawing_is_where_its_name_says(real: Omniglot, shared_data: Path) -> None:
    with zipfile.ZipFile(shared_data / "omniglot/images_background_small2.zip") as archive:
        png = archive.read("images_background_small2/Tagalog/character17/0909_20.png")
    paper = np.asarray(Image.open(io.BytesIO(png)))  # booleans: True is white
    found = real.images[real.names.index("Tagalog/character17"), 19]
    assert np.array_equal(found.numpy() == 0, paper)


def test_characters_of_both_sets_are_the_same_drawings(shared_data: Path) -> None:
    one, two = (
        load([(shared_data / f"omniglot/images_background_small{n}.zip").read_bytes()])
        for n in (1, 2)
    )
    assert [len(one.names), len(two.names)] == [136, 156]
    both = sorted(set(one.names) & set(two.names))
    assert len(both) == 50
    for name in both:
        assert one.images[one.names.index(name)].equal(two.images[two.names.index(name)])


def test_half_of_the_small_sets_is_not_enough(shared_data: Path, tmp_path: Path) -> None:
    name = "omniglot/images_background_small1.zip"
    (tmp_path / "omniglot").mkdir()
    (tmp_path / name).write_bytes((shared_data / name).read_bytes())
    with pytest.raises(DataError, match=r"or omniglot/images_background_small2\.zip\)"):
        DataFolder(tmp_path, download=False).omniglot()


def png(ink: list[tuple[int, int]]) -> bytes:
    image = Image.new("1", (105, 105), 1)
    for place in ink:
        image.putpixel(place, 0)
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def archive_of(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def background(alphabet: str) -> dict[str, bytes]:
    """One character in the background set's layout; drawer d has one dot, in column d."""
    return {
        f"images_background/{alphabet}/character01/0001_{drawer:02}.png": png([(drawer, 50)])
        for drawer in range(1, 21)
    }


@pytest.mark.parametrize("place", ["omniglot", "omniglot-py"])
def test_background_set_goes_before_the_small_ones(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    content = archive_of(background("Made_up"))
    digest = hashlib.sha256(content).hexdigest()
    ours = folder._ON_DISK["omniglot"]
    variants = tuple(
        (KnownFile(variant[0].path, len(content), digest),) for variant in ours.variants[:2]
    )
    data_set = DataSet("omniglot", "Omniglot", (*variants, *ours.variants[2:]), len(content))
    monkeypatch.setitem(folder._ON_DISK, "omniglot", data_set)

    (tmp_path / "omniglot").mkdir()
    for number in (1, 2):
        name = f"omniglot/images_background_small{number}.zip"
        (tmp_path / name).write_bytes((shared_data / name).read_bytes())
    small = DataFolder(tmp_path, download=False).checksum("omniglot")
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "images_background.zip").write_bytes(content)

    data = DataFolder(tmp_path, download=False)
    found = data.omniglot()
    assert found.names == ("Made_up/character01",)
    assert found.images[0].nonzero().tolist() == [[d - 1, 50, d] for d in range(1, 21)]
    assert data.checksum("omniglot") != small


def test_altered_archive_is_refused_before_it_is_opened(tmp_path: Path, tree: Tree) -> None:
    """A zip with `../` in its names, or a zip bomb: not the official file, whatever is in it."""
    path = tmp_path / "data/omniglot/images_background.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(archive_of({**background("Made_up"), "../../escaped.png": png([])}))
    with pytest.raises(DataError, match=r"images_background\.zip is truncated: .* remove it, then"):
        DataFolder(tmp_path / "data", download=False).omniglot()
    assert tree(tmp_path) == ["data/omniglot/images_background.zip"]


def test_reading_writes_nothing_and_takes_drawings_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: Tree
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    others = ("../escaped.png", f"{tmp_path}/absolute.png", "images_background/Made_up/readme")
    found = load([archive_of({**background("Made_up"), **dict.fromkeys(others, png([]))})])
    assert found.names == ("Made_up/character01",)
    assert tree(tmp_path) == []


def test_drawings_like_mnist_have_its_size_its_place_and_its_ink(
    real: Omniglot, shared_data: Path
) -> None:
    drawn = drawings_like_mnist(real.images[::10, ::5].flatten(0, 1)).double()
    assert drawn.shape[1:] == (28, 28)
    place = torch.arange(28.0, dtype=torch.double)
    for along in (1, 2):
        centre = drawn.sum(3 - along) @ place / drawn.sum((1, 2))
        # Where the ink is far from the middle of its box, the field ends before it is centred.
        assert ((centre - 14).abs() <= 0.5 + 1e-9).double().mean() > 0.9
        assert (centre - 14).abs().max() < 3
    longest = torch.maximum((drawn > 0).any(1).sum(1), (drawn > 0).any(2).sum(1))
    assert 19 <= longest.min() <= longest.max() == 20  # a tip may be too faint
    digits = DataFolder(shared_data, download=False).mnist().train.images[:2000]
    assert abs(float(drawn.mean()) - float(digits.double().mean())) < 0.1 * 255 * 0.13
    assert float(drawn.amax((1, 2)).mean()) > 250


def test_a_drawing_like_mnist_by_hand() -> None:
    """A bar of 1 × 21 pixels becomes 3 × 23, then 20 × 3: upright, its aspect kept."""
    bar = torch.zeros(1, 105, 105, dtype=torch.uint8)
    bar[0, 10:31, 50] = 255
    (drawn,) = drawings_like_mnist(bar)
    assert (drawn > 127).any(1).sum() == 20
    assert (drawn > 127).any(0).sum() == 3
    assert torch.equal((drawn > 0).any(1).nonzero()[[0, -1]].flatten(), torch.tensor([4, 23]))
