"""What every strategy that discovery finds has to keep to, whoever wrote it.

A file dropped into `strategies/` is checked here without another line.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from avalanche.core import BasePlugin
from torch import Tensor

from gtl_bench.recipes import (
    LEARNER_DEFAULTS,
    Choice,
    Linear,
    Log,
    StrategyRecipe,
    check_learner,
    discover,
)
from gtl_bench.rng import Rng
from gtl_bench.scenario import Scenario
from gtl_bench.source import Source
from gtl_bench.stream import Course, learn

REGISTRY = discover()
#: Compositions stand for all others: a penalty, a path integral and a buffer beside a guide.
COMPOSED = ("gtl+ewc", "gtl+si", "gtl+replay")
STRATEGIES = REGISTRY.strategies | {name: REGISTRY.strategy(name) for name in COMPOSED}

#: Settings under which a check takes no time; they make nothing easier.
QUICK: dict[str, Any] = {"n_scouts": 3, "n_classes": 2}

every_strategy = pytest.mark.parametrize("recipe", STRATEGIES.values(), ids=STRATEGIES)


@pytest.fixture
def source(scenario: Scenario) -> Source:
    return Source(scenario, Rng(3))


def settings_of(recipe: StrategyRecipe) -> tuple[dict[str, Any], dict[str, Any]]:
    """The optimizer's settings and the recipe's own, quick."""
    values = {**recipe.defaults, **{k: v for k, v in QUICK.items() if k in recipe.defaults}}
    own = {key: value for key, value in values.items() if key not in LEARNER_DEFAULTS}
    return {key: values[key] for key in LEARNER_DEFAULTS}, own


def take(recipe: StrategyRecipe, source: Source, scenario: Scenario) -> tuple[Course, Tensor]:
    """The strategy's course and final weights."""
    optimizer, own = settings_of(recipe)
    model = source.model
    plugins = recipe.build(source, **own)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        course = learn(scenario, model, plugins, optimizer, Rng(3))
    return course, torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@every_strategy
def test_returns_a_list_of_plugins(recipe: StrategyRecipe, source: Source) -> None:
    plugins = recipe.build(source, **settings_of(recipe)[1])
    assert isinstance(plugins, list)
    assert all(isinstance(plugin, BasePlugin) for plugin in plugins)


@every_strategy
def test_starts_from_the_base(recipe: StrategyRecipe, source: Source, scenario: Scenario) -> None:
    """Whatever it prepares, its first answers are the base's."""
    course, _ = take(recipe, source, scenario)
    with torch.no_grad():
        answers = source.model(scenario.test.x).argmax(1)
    assert course.test[0].tolist() == (answers == scenario.test.y).tolist()


@every_strategy
def test_is_deterministic(recipe: StrategyRecipe, source: Source, scenario: Scenario) -> None:
    """The same seed, the same weights bit for bit."""
    assert torch.equal(take(recipe, source, scenario)[1], take(recipe, source, scenario)[1])


@every_strategy
def test_leaves_the_global_random_state_alone(recipe: StrategyRecipe, source: Source) -> None:
    """Preparing draws from named generators only: another strategy's numbers don't hang on it."""
    before = torch.get_rng_state()
    recipe.build(source, **settings_of(recipe)[1])
    assert torch.equal(before, torch.get_rng_state())


@every_strategy
def test_ends_finite(recipe: StrategyRecipe, source: Source, scenario: Scenario) -> None:
    """With its default settings it does not diverge."""
    course, weights = take(recipe, source, scenario)
    assert course.diverged is None
    assert weights.isfinite().all()


@every_strategy
def test_learns_unless_it_is_frozen(
    recipe: StrategyRecipe, source: Source, scenario: Scenario
) -> None:
    """Its weights move; a rate of 0 leaves them where they are."""
    _, weights = take(recipe, source, scenario)
    base = torch.cat([parameter.detach().flatten() for parameter in source.model.parameters()])
    assert torch.equal(weights, base) == (recipe.defaults["lr"] == 0)


@every_strategy
def test_is_no_naive_in_disguise(
    recipe: StrategyRecipe, source: Source, scenario: Scenario
) -> None:
    """A method that silently does nothing is the commonest bug in this field."""
    if recipe.name == "naive":
        pytest.skip("it is naive")
    _, weights = take(recipe, source, scenario)
    _, naive = take(STRATEGIES["naive"], source, scenario)
    assert not torch.equal(weights, naive)


@every_strategy
def test_its_settings_are_documented_searchable_and_in_range(recipe: StrategyRecipe) -> None:
    assert recipe.summary.endswith(".")
    assert len(recipe.summary) <= 76, "`list` gives it a line"
    assert len(recipe.label) <= 24, "legends have little room"
    assert re.fullmatch(r"[a-z0-9-]+(\+[a-z0-9-]+)*", recipe.name)
    check_learner(recipe.name, recipe.defaults)
    assert set(recipe.search) <= set(recipe.defaults)
    for key, space in recipe.search.items():
        assert isinstance(space, Log | Linear | Choice), key
        if isinstance(space, Choice):
            assert recipe.defaults[key] in space.values
        else:
            assert space.low < space.high
            assert space.low <= recipe.defaults[key] <= space.high, key
        assert not isinstance(space, Log) or space.low > 0
