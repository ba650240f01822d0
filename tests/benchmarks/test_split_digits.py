"""Split digits and stream digits are what their descriptions say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from gtl_bench.data import DataFolder, like_mnist, writers_halves
from gtl_bench.recipes import discover
from gtl_bench.rng import Rng
from gtl_bench.scenario import Scenario, rotated
from gtl_bench.source import Source

RECIPES = discover().benchmarks
DATA = DataFolder(Path("/nonexistent"), download=False)


def build(name: str, seed: int = 0) -> Scenario:
    scenario = RECIPES[name].build(DATA, Rng(seed))
    assert isinstance(scenario, Scenario)
    return scenario


def accuracy(model: torch.nn.Module, scenario: Scenario) -> float:
    with torch.no_grad():
        return float((model(scenario.test.x).argmax(1) == scenario.test.y).float().mean())


def test_counts() -> None:
    split, stream = build("split-digits"), build("stream-digits")
    assert split.names == ("0/1", "2/3", "4/5", "6/7", "8/9")
    assert split.boundaries == (40, 80, 120, 160, 200)
    assert stream.boundaries == (200,)
    assert stream.stream[0].y.bincount().tolist() == [20] * 10
    assert split.test.y.bincount().tolist() == [30] * 10


def test_source_is_the_first_half_and_target_the_other_turned() -> None:
    scenario = build("split-digits")
    first, second = writers_halves(DATA.digits())
    assert torch.equal(scenario.source.x[:, 0], like_mnist(first.images).float() / 255)
    turned = {image.numpy().tobytes() for image in rotated(like_mnist(second.images), 24.0)}
    target = torch.cat([scenario.test.x, *(x for x, _ in scenario.stream)])[:, 0]
    assert all(
        (image * 255).round().to(torch.uint8).numpy().tobytes() in turned for image in target
    )


def test_a_quarter_turn_is_exact() -> None:
    image = torch.arange(25, dtype=torch.uint8).reshape(1, 5, 5)
    assert torch.equal(rotated(image, 90.0)[0], torch.rot90(image[0], 1))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_base_starts_midway_and_joint_training_ends_well_above(seed: int) -> None:
    scenario = build("split-digits", seed)
    model = Source(scenario, Rng(seed)).model
    before = accuracy(model, scenario)
    assert 0.40 < before < 0.70
    x, y = (torch.cat(columns) for columns in zip(*scenario.stream, strict=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(40):
        for index in torch.randperm(len(y), generator=generator).split(10):
            optimizer.zero_grad()
            functional.cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()
    assert accuracy(model, scenario) > before + 0.15
