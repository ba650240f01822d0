"""Split MNIST and stream MNIST are what their descriptions say, on the real data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gtl_bench.data import DataFolder, like_mnist
from gtl_bench.recipes import discover
from gtl_bench.rng import Rng
from gtl_bench.scenario import Scenario
from gtl_bench.source import Source

RECIPES = discover().benchmarks


@pytest.fixture
def data(shared_data: Path) -> DataFolder:
    return DataFolder(shared_data, download=False)


def build(name: str, data: DataFolder, seed: int = 0) -> Scenario:
    scenario = RECIPES[name].build(data, Rng(seed))
    assert isinstance(scenario, Scenario)
    return scenario


def test_five_pairs_of_classes_twenty_examples_each(data: DataFolder) -> None:
    scenario = build("split-mnist", data)
    assert scenario.names == ("0/1", "2/3", "4/5", "6/7", "8/9")
    assert scenario.boundaries == (40, 80, 120, 160, 200)
    for index, (x, y) in enumerate(scenario.stream):
        assert y.bincount(minlength=10).tolist() == [
            20 if label in (2 * index, 2 * index + 1) else 0 for label in range(10)
        ]
        assert x.shape == (40, 1, 28, 28)
        # In random order, not class by class.
        assert 5 < int((y[1:] != y[:-1]).sum()) < 35


def test_interleaved_holds_the_same_counts_in_one_experience(data: DataFolder) -> None:
    scenario = build("stream-mnist", data)
    assert scenario.boundaries == (200,)
    assert scenario.stream[0].y.bincount().tolist() == [20] * 10
    # Every fifth of the stream shows most classes.
    assert all(len(part.unique()) >= 8 for part in scenario.stream[0].y.split(40))


def test_images_are_where_they_are_said_to_come_from(data: DataFolder) -> None:
    scenario = build("split-mnist", data)
    train, test = data.mnist()
    first = {image.numpy().tobytes() for image in train.images[:50_000]}
    streamed = torch.cat([x for x, _ in scenario.stream])
    assert all((x * 255).round().to(torch.uint8).numpy().tobytes() in first for x in streamed)
    held_out = {image.numpy().tobytes() for image in test.images}
    tested = (scenario.test.x * 255).round().to(torch.uint8)
    assert len(tested) == 2000
    assert all(image.numpy().tobytes() in held_out for image in tested)
    assert scenario.test.y.bincount().tolist() == [200] * 10
    digits = data.digits()
    assert torch.equal(scenario.source.x[:, 0], like_mnist(digits.images).float() / 255)
    assert torch.equal(scenario.source.y, digits.labels)


def test_model_is_the_mlp(data: DataFolder) -> None:
    shapes = [tuple(p.shape) for p in build("split-mnist", data).model.parameters()]
    assert shapes == [(256, 784), (256,), (256, 256), (256,), (10, 256), (10,)]


@pytest.mark.parametrize("seed", [0, 1])
def test_base_knows_about_half(data: DataFolder, seed: int) -> None:
    scenario = build("split-mnist", data, seed)
    model = Source(scenario, Rng(seed)).model
    with torch.no_grad():
        accuracy = (model(scenario.test.x).argmax(1) == scenario.test.y).float().mean()
    assert 0.4 < float(accuracy) < 0.6
