"""Stream Omniglot is what its description says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gtl_bench.data import DataFolder
from gtl_bench.experiment import Measured, Trial
from gtl_bench.experiments.accumulation import Accumulation
from gtl_bench.recipes import LEARNER_DEFAULTS, discover, resolve
from gtl_bench.rng import Rng
from gtl_bench.source import Cache, Source

REGISTRY = discover()


@pytest.fixture(scope="module")
def data(shared_data: Path) -> Any:
    """A data folder that reads each data set once."""
    folder = DataFolder(shared_data, download=False)
    mnist, omniglot = folder.mnist(), folder.omniglot()
    return SimpleNamespace(mnist=lambda: mnist, omniglot=lambda: omniglot)


def build(data: Any, seed: int = 0, **settings: object) -> Accumulation:
    built = REGISTRY.benchmark("stream-omniglot").build(data, Rng(seed), **settings)
    assert isinstance(built, Accumulation)
    return built


def rows(x: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in x}


def test_ten_characters_once_then_nine_more_of_each_one_by_one(data: Any) -> None:
    built = build(data)
    assert len(built.draws) == 2
    assert built.rates == (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    assert built.task.source.y.bincount().tolist() == [100] * 10
    for draw in built.draws:
        assert draw.first.learned.y.tolist() == list(range(10))
        assert draw.stream.y.bincount().tolist() == [9] * 10
        assert draw.first.tested.y.bincount().tolist() == [10] * 10
        # In random order, not character by character or round by round.
        assert int((draw.stream.y[1:] != draw.stream.y[:-1]).sum()) > 60
        assert any(len(part.unique()) < 10 for part in draw.stream.y.split(10))


@pytest.mark.parametrize(
    ("settings", "shapes"),
    [
        ({}, [(256, 784), (256, 256), (10, 256)]),
        ({"network": "cnn"}, [(16, 1, 3, 3), (32, 16, 3, 3), (128, 32 * 7 * 7), (10, 128)]),
    ],
)
def test_networks_are_those_described(
    data: Any, settings: dict[str, Any], shapes: list[tuple[int, ...]]
) -> None:
    model = build(data, draws=1, **settings).task.model
    assert [tuple(v.shape) for n, v in model.named_parameters() if "weight" in n] == shapes


def test_a_hundred_and_twenty_scouts_of_three_classes() -> None:
    recipe = REGISTRY.benchmark("stream-omniglot").adapted(REGISTRY.strategy("gtl"))
    assert (recipe.defaults["n_scouts"], recipe.defaults["n_classes"]) == (120, 3)


def test_source_first_drawings_further_ones_and_tests_are_disjoint(data: Any) -> None:
    built = build(data)
    for draw in built.draws:
        parts = [
            rows(part.x)
            for part in (built.task.source, draw.first.learned, draw.stream, draw.first.tested)
        ]
        assert len(set().union(*parts)) == sum(map(len, parts)) == 1000 + 10 + 90 + 100
    trained = set().union(*(rows(part.x) for part in built.trained()))
    assert trained.isdisjoint(set().union(*(rows(part.x) for part in built.tested())))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"further": 10}, "learned is 11; it must lie between 1 and 10"),
        ({"further": 0}, "further is 0"),
        ({"rates": "0.1,0.01"}, "rise from above 0"),
        ({"rates": "0,0.01"}, "rise from above 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"draws": 0}, "draws is 0"),
    ],
)
def test_wrong_values_are_refused(data: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(data, **settings)


@pytest.fixture(scope="module")
def taken(data: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measured]:
    """Strategies taken through a short one; `naive, ends` is evaluated at its ends alone."""
    built = build(data, draws=1, further=2, oneshot_epochs=20, epochs=2, rates="0.001,0.3")
    cache, rng = Cache(tmp_path_factory.mktemp("cache")), Rng(0)

    def take(name: str, every_step: bool = True, **settings: str) -> Measured:
        recipe = REGISTRY.strategy(name)
        values = resolve(recipe, settings)
        own = {key: value for key, value in values.items() if key not in LEARNER_DEFAULTS}
        return built.take(
            Trial(
                name,
                values,
                lambda source: recipe.build(source, **own),
                lambda task, name="": Source(task, rng, key="quick", cache=cache),
                rng,
                torch.device("cpu"),
                every_step,
            )
        )

    return {
        "naive": take("naive", lr="0.3"),
        "naive, ends": take("naive", every_step=False, lr="0.3"),
        "frozen": take("frozen"),
        "gtl": take("gtl", lr="0.3", n_scouts="2", scout_examples="30"),
        "broken": take("naive", lr="1e18"),
    }


def courses(measured: Measured) -> dict[int, list[float]]:
    return {e: v.tolist() for name, e, _, v in measured.series if name == "accuracy"}


def test_one_shot_learning_is_at_the_own_rate_and_the_stream_at_the_rungs(
    taken: dict[str, Measured],
) -> None:
    naive = taken["naive"]
    assert naive.experiences == ("0.001", "0.3")
    assert naive.boundaries == (30, 30)
    assert naive.chance == 0.1
    steps = {tuple(steps.tolist()) for _, _, steps, _ in naive.series}
    assert steps == {(0, 10, 20, 30)}
    own, low, high = (courses(naive)[k] for k in (-1, 0, 1))
    assert own[:2] == low[:2] == high[:2]
    assert own == high  # its own rate is that rung
    assert own != low
    assert own[1] > own[0] + 0.15
    assert abs(low[3] - low[1]) < 0.1  # so small a rate hardly changes anything


def test_evaluated_at_the_ends_alone_it_ends_the_same(taken: dict[str, Measured]) -> None:
    ((experience, values),) = courses(taken["naive, ends"]).items()
    full = courses(taken["naive"])[-1]
    assert (experience, values) == (-1, [full[0], full[-1]])


def test_frozen_learns_at_no_rung(taken: dict[str, Measured]) -> None:
    base = courses(taken["naive"])[-1][0]
    for values in courses(taken["frozen"]).values():
        assert values == [base] * 4


def test_guides_hold_what_they_hold_in_both_phases(taken: dict[str, Measured]) -> None:
    assert courses(taken["gtl"])[-1][0] == courses(taken["naive"])[-1][0]
    assert courses(taken["gtl"]) != courses(taken["naive"])


def test_divergence_counts_as_wrong(taken: dict[str, Measured]) -> None:
    (step,) = (steps for name, _, steps, _ in taken["broken"].series if name == "diverged")
    assert step.tolist() == [10]
    assert courses(taken["broken"])[-1][1:] == [0, 0, 0]
    assert np.isfinite(courses(taken["broken"])[-1]).all()
