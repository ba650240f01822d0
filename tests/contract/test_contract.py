"""The contract's checks find what they are there to find."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EWCPlugin, LwFPlugin

from gtl_bench import Choice, Linear, Log, strategy
from gtl_bench.contract import CHECKS, Violation, toy, violation
from gtl_bench.recipes import StrategyRecipe


class Plugin(SupervisedPlugin):  # type: ignore[type-arg]
    """Does one thing after each update, before each example or before the stream."""

    def __init__(
        self,
        after_update: Callable[[Any], object] = lambda learner: None,
        before_training_exp: Callable[[Any], object] = lambda learner: None,
        before_training: Callable[[Any], object] = lambda learner: None,
    ) -> None:
        super().__init__()
        self.hooks = after_update, before_training_exp, before_training

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        self.hooks[0](strategy)

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        self.hooks[1](strategy)

    def before_training(self, strategy: Any, **kwargs: Any) -> None:
        self.hooks[2](strategy)


def nudge(learner: Any, by: Any = 1e-3) -> None:
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter += by


def recipe(build: Callable[..., Any], **settings: Any) -> StrategyRecipe:
    strategy("mine", **settings)(build)
    made = build.__recipe__  # type: ignore[attr-defined]
    assert isinstance(made, StrategyRecipe)
    return made


def fine(source: Any, strength: float = 0.1) -> list[Any]:
    """Keeps to everything."""
    return [Plugin(nudge)]


def no_list(source: Any) -> Any:
    """Returns a plugin rather than a list of it."""
    return Plugin(nudge)


def no_plugin(source: Any) -> list[Any]:
    """Returns something that is no plugin."""
    return [nudge]


def long_winded(source: Any) -> list[Any]:
    """Has a first line that goes on and on and on and on and on, beyond what fits into `list`."""
    return [Plugin(nudge)]


def moves_the_base(source: Any) -> list[Any]:
    """Puts other weights in the base's place."""

    source._weights = {name: torch.randn_like(value) for name, value in source._weights.items()}
    return [Plugin(nudge)]


def starts_a_little_off(source: Any) -> list[Any]:
    """Changes the weights by too little for any answer to change."""
    return [Plugin(before_training=lambda learner: nudge(learner, 1e-6))]


def starts_its_first_example_off(source: Any) -> list[Any]:
    """Changes the weights when the first example is there."""
    return [Plugin(before_training_exp=nudge)]


def draws_from_elsewhere(source: Any) -> list[Any]:
    """Draws from a generator that no seed reaches."""
    own = random.SystemRandom()
    return [Plugin(lambda learner: nudge(learner, own.random()))]


def prepares_with_the_global_state(source: Any) -> list[Any]:
    """Draws from the global random state while preparing."""
    by = torch.rand(()).item()
    return [Plugin(lambda learner: nudge(learner, by / 100))]


def explodes(source: Any) -> list[Any]:
    """Multiplies the weights."""
    return [Plugin(lambda learner: nudge(learner, float("inf")))]


def holds_still(source: Any) -> list[Any]:
    """Undoes every update."""
    base = copy.deepcopy(source.model)
    return [Plugin(lambda learner: learner.model.load_state_dict(base.state_dict()))]


def takes_no_step(source: Any) -> list[Any]:
    """Nudges the weights in place of any training."""

    def in_place_of_training(learner: Any) -> None:
        nudge(learner)
        learner.dataloader = ()

    return [Plugin(before_training_exp=in_place_of_training)]


def does_nothing(source: Any) -> list[Any]:
    """A penalty of strength 0."""
    return [LwFPlugin(alpha=0.0)]


def peeks_at_the_test(source: Any) -> list[Any]:
    """Finds the test images in the evaluation."""

    def peek(learner: Any) -> None:
        probe = next(plugin for plugin in learner.plugins if hasattr(plugin, "always"))
        nudge(learner, float(probe.x[:20].mean()) / 100)

    return [Plugin(peek)]


def peeks_ahead(source: Any) -> list[Any]:
    """Finds the rest of the stream in the source task."""
    last = source._task.stream[-1]
    return [Plugin(lambda learner: nudge(learner, float(last.x.mean()) / 100))]


def hoards(source: Any) -> list[Any]:
    """Keeps every example and goes through all of them at each."""
    kept: list[Any] = []

    def keep(learner: Any) -> None:
        kept.append(learner.experience.dataset[0][0])
        nudge(learner, float(torch.stack(kept).mean()) / 100)

    return [Plugin(before_training_exp=keep)]


def ewc_separate(source: Any) -> list[Any]:
    """Avalanche's EWC, which keeps a copy of the parameters for each example."""
    return [EWCPlugin(ewc_lambda=1.0, mode="separate")]


def raises(source: Any) -> list[Any]:
    """Fails."""
    raise RuntimeError("not today")


LR = {"lr": Log(1e-5, 1e0)}

#: What is built, how it is declared, the check that finds it, and what that says of it.
WRONG = [
    (no_list, {}, "returns_plugins", "it returns Plugin, not a list"),
    (no_plugin, {}, "returns_plugins", "it returns a function, which is no Avalanche plugin"),
    (long_winded, {}, "is_described", "signs, over 76"),
    (fine, {"label": "x" * 25}, "is_described", "longer than 24"),
    (fine, {"search": {"speed": Log(1, 2)}}, "can_be_searched", "searches speed"),
    (fine, {"search": {"lr": Log(0.1, 1.0)}}, "can_be_searched", "lr=0.01 does not lie in"),
    (fine, {"search": {"lr": Log(0.0, 1.0)}}, "can_be_searched", "is above 0"),
    (fine, {"search": {"lr": (0.1, 1.0)}}, "can_be_searched", "use Log, Linear or Choice"),
    (fine, {"search": {"optimizer": Choice(("adam",))}}, "can_be_searched", "is none of"),
    (fine, {"optimizer": "lion"}, "can_be_searched", "optimizer=lion"),
    (moves_the_base, {}, "starts_from_the_base", "its answers before the first example are not"),
    (starts_a_little_off, {}, "starts_from_the_base", "its weights before the first update are"),
    (starts_its_first_example_off, {}, "starts_from_the_base", "its weights before the first"),
    (draws_from_elsewhere, {}, "is_deterministic", "ends in other weights"),
    (
        prepares_with_the_global_state,
        {},
        "leaves_the_global_random_state_alone",
        "use source.rng",
    ),
    (explodes, {}, "ends_finite", "diverges at step 1"),
    (holds_still, {}, "learns", "its weights don't move"),
    (fine, {"lr": 0.0}, "learns", "though its learning rate is 0"),
    (takes_no_step, {}, "learns", "lr=0.0"),
    (does_nothing, {}, "does_something", "its plugins do nothing"),
    (peeks_at_the_test, {}, "sees_no_test_image", "depend on the test images"),
    (peeks_ahead, {}, "sees_no_future_example", "depend on the examples after these"),
    (hoards, {}, "costs_no_more_with_time", "keep what it stores from growing"),
    (ewc_separate, {}, "costs_no_more_with_time", "times what one before its middle does"),
    (raises, {}, "ends_finite", "it fails: RuntimeError: not today"),
]


@pytest.mark.parametrize(
    ("build", "declared", "check", "message"),
    WRONG,
    ids=[f"{build.__name__}-{check}-{number}" for number, (build, _, check, _) in enumerate(WRONG)],
)
def test_each_check_finds_what_it_is_for(
    build: Callable[..., Any], declared: dict[str, Any], check: str, message: str
) -> None:
    made = recipe(build, **declared)
    (wanted,) = [one for one in CHECKS if one.__name__ == check]
    wrong = violation(wanted, made)
    assert wrong is not None
    assert message in wrong
    assert "\n" not in wrong


def test_every_check_is_known_to_find_something() -> None:
    assert {check for _, _, check, _ in WRONG} == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_is_fine_passes(check: Callable[[StrategyRecipe], None]) -> None:
    search = LR | {"strength": Linear(0.0, 1.0), "optimizer": Choice(("sgd", "adam"))}
    assert violation(check, recipe(fine, search=search)) is None
    assert check.__doc__, "it says why it is there"


def test_who_takes_no_step_declares_no_learning_rate() -> None:
    (learns,) = [one for one in CHECKS if one.__name__ == "learns"]
    assert violation(learns, recipe(takes_no_step, lr=0.0)) is None


def test_a_violation_is_wrong_usage() -> None:
    assert Violation.exit_status == 2


def test_longer_streams_begin_like_short_ones_and_share_the_base() -> None:
    short, long = toy(), toy(per_class=30)
    assert len(short.stream[0].y) == 6
    assert len(long.stream[0].y) == 60
    assert torch.equal(short.source.x, long.source.x)
    for one, other in zip(short.model.parameters(), long.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_new_strategy_passes_its_own_test(tmp_path: Path) -> None:
    from gtl_bench.new import new_strategy
    from gtl_bench.recipes import RecipeFile, Registry

    path, test = new_strategy("my-method", tmp_path, Registry())
    (made,) = RecipeFile.read(path).recipes()
    assert isinstance(made, StrategyRecipe)
    assert (made.name, made.label) == ("my-method", "My method")
    assert [violation(check, made) for check in CHECKS] == [None] * len(CHECKS)
    compile(test.read_text(encoding="utf-8"), test, "exec")
    assert "my_method.py" in test.read_text(encoding="utf-8")
