"""The stream: what is evaluated when, against plain PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import SupervisedPlugin
from torch import nn
from torch.nn import functional

from gtl_bench.rng import Rng
from gtl_bench.scenario import Examples, Scenario
from gtl_bench.source import Source
from gtl_bench.stream import learn

SETTINGS = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.0, "weight_decay": 0.0}


def right(model: nn.Module, examples: Examples) -> list[bool]:
    with torch.no_grad():
        return (model(examples.x).argmax(1) == examples.y).tolist()


def test_course_is_that_of_a_plain_loop(scenario: Scenario) -> None:
    source = Source(scenario, Rng(3))
    course = learn(scenario, source.model, [], SETTINGS, Rng(3))
    model = source.model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    x, y = (torch.cat(columns) for columns in zip(*scenario.stream, strict=True))
    assert course.test.shape == (13, 20)
    assert course.stream.shape == (13, 12)
    for step in range(13):
        assert course.test[step].tolist() == right(model, scenario.test)
        assert course.stream[step, :step].tolist() == right(model, Examples(x, y))[:step]
        assert not course.stream[step, step:].any()
        if step < 12:
            for _ in range(scenario.epochs):
                optimizer.zero_grad()
                functional.cross_entropy(model(x[step : step + 1]), y[step : step + 1]).backward()
                optimizer.step()
    assert course.diverged is None
    assert course.source[0].mean() == np.mean(right(source.model, scenario.source))


def test_nothing_is_learned_at_rate_zero(scenario: Scenario) -> None:
    model = Source(scenario, Rng(3)).model
    course = learn(scenario, model, [], {**SETTINGS, "lr": 0.0}, Rng(3))
    assert (course.test == course.test[0]).all()


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_other_optimizers_learn(scenario: Scenario, optimizer: str) -> None:
    model = Source(scenario, Rng(3)).model
    settings = {**SETTINGS, "optimizer": optimizer, "lr": 0.003}
    course = learn(scenario, model, [], settings, Rng(3))
    assert (course.test[-1] != course.test[0]).any()


def test_divergence_is_recorded_and_counts_as_wrong(scenario: Scenario) -> None:
    class Explode(SupervisedPlugin):  # type: ignore[type-arg]
        def after_update(self, strategy: Any, **kwargs: Any) -> None:
            if strategy.clock.train_exp_counter == 5:
                nn.init.constant_(strategy.model[1].weight, float("nan"))

    model = Source(scenario, Rng(3)).model
    course = learn(scenario, model, [Explode()], SETTINGS, Rng(3))
    # The source phase is experience 0, so the counter is 5 while the fifth example is learned.
    assert course.diverged == 5
    assert course.test[4].any()
    assert not course.test[5:].any()


def test_a_plugin_sees_single_examples_in_order(scenario: Scenario) -> None:
    seen: list[torch.Tensor] = []

    class Spy(SupervisedPlugin):  # type: ignore[type-arg]
        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            assert len(strategy.experience.dataset) == 1
            seen.append(strategy.experience.dataset[0][0])

    learn(scenario, Source(scenario, Rng(3)).model, [Spy()], SETTINGS, Rng(3))
    assert torch.equal(
        torch.stack(seen), torch.cat([experience.x for experience in scenario.stream])
    )


def test_evaluation_leaves_training_mode_and_weights_alone(scenario: Scenario) -> None:
    modes: list[bool] = []

    class Spy(SupervisedPlugin):  # type: ignore[type-arg]
        def before_forward(self, strategy: Any, **kwargs: Any) -> None:
            modes.append(strategy.model.training)

    learn(scenario, Source(scenario, Rng(3)).model, [Spy()], SETTINGS, Rng(3))
    assert modes == [True] * 24
