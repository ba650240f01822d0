"""What every benchmark that discovery finds has to keep to.

Those that need no file are checked everywhere; the others where their data is.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gtl_bench.data import DataFolder
from gtl_bench.experiment import Experiment, SingleExamples
from gtl_bench.recipes import BenchmarkRecipe, discover
from gtl_bench.rng import Rng
from gtl_bench.scenario import Scenario

BENCHMARKS = discover().benchmarks


@pytest.fixture(params=BENCHMARKS.values(), ids=BENCHMARKS)
def recipe(request: pytest.FixtureRequest) -> BenchmarkRecipe:
    recipe = request.param
    assert isinstance(recipe, BenchmarkRecipe)
    return recipe


@pytest.fixture
def data(recipe: BenchmarkRecipe, request: pytest.FixtureRequest) -> DataFolder:
    if set(recipe.data) <= {"digits"}:
        return DataFolder(Path("/nonexistent"), download=False)
    return DataFolder(request.getfixturevalue("shared_data"), download=False)


def build(recipe: BenchmarkRecipe, data: DataFolder, seed: int = 0, **settings: object) -> Scenario:
    scenario = recipe.build(data, Rng(seed), **settings)
    if isinstance(scenario, Experiment):
        pytest.skip("it is no stream of single examples")
    assert isinstance(scenario, Scenario)
    return scenario


def experiment(
    recipe: BenchmarkRecipe, data: DataFolder, seed: int = 0, **settings: object
) -> Experiment:
    built = recipe.build(data, Rng(seed), **settings)
    experiment = SingleExamples(built) if isinstance(built, Scenario) else built
    assert isinstance(experiment, Experiment)
    return experiment


def rows(x: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in x}


def test_shapes_and_types(recipe: BenchmarkRecipe, data: DataFolder) -> None:
    built = experiment(recipe, data)
    for x, y in (*built.trained(), *built.tested()):
        assert x.dtype == torch.float32
        assert y.dtype == torch.int64
        assert len(x) == len(y) > 0
        assert 0 <= float(x.min()) <= float(x.max()) <= 1
    scenario = build(recipe, data)
    with torch.no_grad():
        assert scenario.model(scenario.test.x[:2]).shape == (2, scenario.n_classes)
    assert len(scenario.names) == len(scenario.stream) == len(scenario.boundaries)
    assert scenario.boundaries[-1] == sum(len(y) for _, y in scenario.stream)


def test_no_test_image_is_ever_trained_on(recipe: BenchmarkRecipe, data: DataFolder) -> None:
    built = experiment(recipe, data)
    trained = set().union(*(rows(x) for x, _ in built.trained()))
    assert trained.isdisjoint(set().union(*(rows(x) for x, _ in built.tested())))


def test_no_example_comes_twice(recipe: BenchmarkRecipe, data: DataFolder) -> None:
    scenario = build(recipe, data)
    stream = torch.cat([x for x, _ in scenario.stream])
    assert len(rows(stream)) == len(stream)
    assert rows(stream).isdisjoint(rows(scenario.source.x))


def test_test_images_belong_to_the_experience_that_shows_their_class(
    recipe: BenchmarkRecipe, data: DataFolder
) -> None:
    scenario = build(recipe, data)
    for index, (_, y) in enumerate(scenario.stream):
        tested = scenario.test.y[scenario.test_experience == index]
        assert set(tested.tolist()) == set(y.tolist())


def test_seeds_change_stream_and_model_but_not_the_test_images(
    recipe: BenchmarkRecipe, data: DataFolder
) -> None:
    first, again, other = (build(recipe, data, seed) for seed in (0, 0, 1))
    assert torch.equal(first.stream[0].x, again.stream[0].x)
    assert not torch.equal(first.stream[0].x, other.stream[0].x)
    assert torch.equal(first.test.x, other.test.x)
    weights = [next(scenario.model.parameters()) for scenario in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_tuning_shares_no_target_image_with_reported_runs(
    recipe: BenchmarkRecipe, data: DataFolder
) -> None:
    """Over several seeds: what is drawn from differs, not just what was drawn."""
    if "split" not in recipe.defaults:
        pytest.skip("it has no images for tuning")
    build(recipe, data)
    images: dict[str, set[bytes]] = {}
    for split in ("report", "tune"):
        scenarios = [build(recipe, data, seed, split=split) for seed in range(8)]
        images[split] = rows(scenarios[0].test.x).union(
            *(rows(x) for scenario in scenarios for x, _ in scenario.stream)
        )
    assert images["report"].isdisjoint(images["tune"])


def test_tuning_sees_no_test_image_of_reported_runs(
    recipe: BenchmarkRecipe, data: DataFolder
) -> None:
    if "split" not in recipe.defaults:
        pytest.skip("it has no images for tuning")
    tuned = experiment(recipe, data, split="tune")
    seen = set().union(*(rows(x) for x, _ in (*tuned.trained(), *tuned.tested())))
    assert all(seen.isdisjoint(rows(x)) for x, _ in experiment(recipe, data).tested())


def test_wrong_values_are_refused(recipe: BenchmarkRecipe, data: DataFolder) -> None:
    for key, value in (("per_class", 0), ("epochs", 0), ("per_class", 10**6), ("split", "both")):
        if key in recipe.defaults:
            with pytest.raises(ValueError, match=r"must|asked for"):
                build(recipe, data, **{key: value})


def test_its_line_in_the_list(recipe: BenchmarkRecipe) -> None:
    assert 10 < len(recipe.summary) <= 76
    assert recipe.summary[-1] in ".?"
    assert recipe.stand_in is None or recipe.stand_in in BENCHMARKS
