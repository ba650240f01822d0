"""Binary patterns are what their description says."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from gtl_bench.data import DataFolder
from gtl_bench.experiment import Measured, Trial
from gtl_bench.experiments.cousins import (
    Cousins,
    PatternTask,
    judged,
    of_categories,
    random_patterns,
    sigmoid_mlp,
    squared_error,
)
from gtl_bench.gtl import Guide
from gtl_bench.recipes import LEARNER_DEFAULTS, discover
from gtl_bench.rng import Rng
from gtl_bench.scenario import Pretraining
from gtl_bench.source import Source

REGISTRY = discover()
RECIPE = REGISTRY.benchmark("binary-patterns")
SCOUTS: dict[str, Any] = {
    "n_scouts": 2,
    "n_classes": 2,
    "examples": None,
    "epochs": 2,
    "lr": 0.03,
    "batch_size": 100,
    "measure": "squared",
    "absent": "free",
}


def build(seed: int = 0, **settings: object) -> Cousins:
    built = RECIPE.build(DataFolder(Path("/nonexistent"), download=False), Rng(seed), **settings)
    assert isinstance(built, Cousins)
    return built


def small(cousins: tuple[tuple[int, ...], ...] = ((0, 1), (0, 2))) -> PatternTask:
    """Three categories of a dozen patterns, learned in no time."""
    generator = torch.Generator().manual_seed(0)
    return PatternTask(
        model=sigmoid_mlp((8, 16, 3), 4.0, generator),
        source=random_patterns(3, 12, 8, generator),
        pretraining=Pretraining(
            epochs=300,
            lr=0.03,
            optimizer="adam",
            criterion=squared_error,
            target_accuracy=0.6,
        ),
        cousins=cousins,
    )


def take(strategy: str) -> Measured:
    recipe = RECIPE.adapted(REGISTRY.strategy(strategy))
    asked = {"n_scouts": 1, "n_classes": 2, "scout_epochs": 5}
    own = {
        key: asked.get(key, value)
        for key, value in recipe.defaults.items()
        if key not in LEARNER_DEFAULTS
    }
    trial = Trial(
        strategy=strategy,
        settings=recipe.defaults,
        plugins=lambda source: recipe.build(source, **own),
        source=lambda task: Source(task, Rng(0)),
        rng=Rng(0),
        device=torch.device("cpu"),
        every_step=True,
    )
    return Cousins(small(), epochs=40, batch_size=10).take(trial)


def values(found: Measured) -> dict[str, list[float]]:
    return {name: row.tolist() for name, _, _, row in found.series}


def test_ten_categories_of_200_distinct_patterns_of_25_bits() -> None:
    x, y = build().task.source
    assert x.shape == (2000, 25)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert len({tuple(pattern) for pattern in x.int().tolist()}) == 2000
    assert y.bincount().tolist() == [200] * 10
    assert float(x.mean()) == pytest.approx(0.5, abs=0.01)
    assert not torch.equal(x, build(1).task.source.x)
    assert build().tested() == []


def test_four_hidden_sigmoid_layers_of_80() -> None:
    layers = [*build().task.model][1:]
    assert [(m.in_features, m.out_features) for m in layers if isinstance(m, nn.Linear)] == [
        (25, 80),
        (80, 80),
        (80, 80),
        (80, 80),
        (80, 10),
    ]
    assert [type(m) for m in layers[1::2]] == [nn.Sigmoid] * 4


def test_fifteen_cousins_of_four_categories() -> None:
    cousins = build().task.cousins
    assert len(set(cousins)) == 15
    assert all(len(set(cousin)) == 4 for cousin in cousins)
    examples = of_categories(build().task.source, cousins[0])
    assert len(examples.y) == 800
    assert set(examples.y.tolist()) == set(cousins[0])


def test_base_and_learners_train_by_adam_at_3_percent() -> None:
    pretraining = build().task.pretraining
    assert (pretraining.optimizer, pretraining.lr) == ("adam", 0.03)
    assert pretraining.criterion is squared_error
    for name in ("naive", "gtl"):
        defaults = RECIPE.adapted(REGISTRY.strategy(name)).defaults
        assert (defaults["optimizer"], defaults["lr"]) == ("adam", 0.03)


def test_the_base_minimises_the_squared_error() -> None:
    task = small()
    pretraining = Pretraining(
        epochs=3, lr=0.03, batch_size=100, optimizer="adam", criterion=squared_error
    )
    learned = Source(dataclasses.replace(task, pretraining=pretraining), Rng(0)).model
    by_hand = copy.deepcopy(task.model)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.03)
    targets = functional.one_hot(task.source.y, 3).float()
    for _ in range(3):
        optimizer.zero_grad()
        functional.mse_loss(by_hand(task.source.x), targets).backward()
        optimizer.step()
    for found, expected in zip(learned.parameters(), by_hand.parameters(), strict=True):
        assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("name", "apply"), [("gtl", "update"), ("gtl-gradient", "gradient")])
def test_fifteen_scouts_of_four_categories_guide_updates_or_gradients(
    name: str, apply: str
) -> None:
    asked: list[dict[str, Any]] = []

    def sent(**settings: Any) -> Guide:
        asked.append(settings)
        return Guide({"w": torch.rand(3)})

    recipe = RECIPE.adapted(REGISTRY.strategy(name))
    own = {key: value for key, value in recipe.defaults.items() if key not in LEARNER_DEFAULTS}
    source = SimpleNamespace(examples=small().source, scouts=sent, rng=Rng(0))
    (plugin,) = recipe.build(source, **own)
    assert plugin.apply == apply
    (settings,) = asked
    assert (settings["n_scouts"], settings["n_classes"]) == (15, 4)
    assert (settings["epochs"], settings["lr"], settings["batch_size"]) == (20, 0.03, 100)


def test_the_base_stops_at_80_percent() -> None:
    task = build().task
    x, y = task.source
    accuracy, _ = judged(Source(task, Rng(0)).model, x, y)
    assert 0.8 <= accuracy < 0.9


@pytest.mark.parametrize(
    ("key", "value"),
    [("cousins", 0), ("cousins", 211), ("classes", 10), ("epochs", 0), ("base_accuracy", 1.1)],
)
def test_wrong_values_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        build(**{key: value})


def test_the_loss_is_the_mean_squared_error_of_one_hot_targets() -> None:
    outputs = torch.tensor([[0.5, 0.25, 0.0], [1.0, 1.0, 0.0]])
    by_hand = (0.25 + 0.0625 + 0 + 1.0 + 0 + 0) / 6
    assert squared_error(outputs, torch.tensor([0, 1])).item() == pytest.approx(by_hand)


def test_answers_that_are_not_finite_are_wrong() -> None:
    broken = nn.Linear(2, 3)
    with torch.no_grad():
        broken.bias.fill_(torch.nan)
    assert judged(broken, torch.ones(4, 2), torch.zeros(4, dtype=torch.int64))[0] == 0.0


def test_scouts_go_where_no_cousin_is_with_the_optimizer_and_loss_of_the_base() -> None:
    task = small()
    base = task.model
    found = task.scouts(base, torch.Generator(), **(SCOUTS | {"n_scouts": 1}))
    x, y = of_categories(task.source, (1, 2))  # the only pair that is left
    scout = copy.deepcopy(base)
    optimizer = torch.optim.Adam(scout.parameters(), lr=0.03)
    for _ in range(2):
        optimizer.zero_grad()
        functional.mse_loss(scout(x), functional.one_hot(y, 3).float()).backward()
        optimizer.step()
    for (name, moved), start in zip(scout.named_parameters(), base.parameters(), strict=True):
        assert torch.allclose(found[name], (moved - start).detach() ** 2, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize(
    "change", [{"n_scouts": 2}, {"examples": 5}, {"absent": "masked"}], ids=str
)
def test_what_scouts_can_not_do_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="scouts"):
        small().scouts(small().model, torch.Generator(), **(SCOUTS | change))


def test_cousins_are_learned_and_the_frozen_base_stays() -> None:
    naive, frozen = values(take("naive")), values(take("frozen"))
    assert naive["accuracy"][0] == frozen["accuracy"][0]
    assert naive["accuracy"][-1] > naive["accuracy"][0] + 0.1
    assert naive["loss"][-1] < naive["loss"][0]
    assert len(set(frozen["loss"])) == 1
    assert len(naive["loss"]) == 41


def test_adam_cancels_much_of_a_guide_on_gradients() -> None:
    """The smallest step is that of the guided update; the gradient's is closer to naive's."""
    first = {name: values(take(name))["loss"] for name in ("naive", "gtl", "gtl-gradient")}
    moved = {name: abs(loss[1] - loss[0]) for name, loss in first.items()}
    assert moved["gtl"] < moved["gtl-gradient"]
    assert first["gtl-gradient"] != first["naive"]
