"""The contract: what every strategy has to keep to, whoever wrote it.

Each check takes a recipe, tries it on a toy benchmark that is learned in no time, and raises
`Violation` with a line that says what is wrong. `python -m gtl_bench check FILE` and the project's
own tests run all of them (`CHECKS`).
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from avalanche.core import BasePlugin, SupervisedPlugin
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gtl_bench.cell import _pinned as pinned
from gtl_bench.errors import UsageError
from gtl_bench.models import mlp
from gtl_bench.recipes import (
    LEARNER_DEFAULTS,
    Choice,
    Linear,
    Log,
    StrategyRecipe,
    check_learner,
    one_line,
)
from gtl_bench.rng import Rng
from gtl_bench.scenario import Examples, Pretraining, Scenario, assemble
from gtl_bench.source import Plugins, Source
from gtl_bench.stream import Course, learn

#: Settings of recipes under which a check takes no time; they make nothing easier.
QUICK: dict[str, Any] = {"n_scouts": 3, "n_classes": 2}

SEED = 3


class Violation(UsageError):
    """A strategy doesn't keep to the contract; says in a line what is wrong."""


Check = Callable[[StrategyRecipe], None]


def returns_plugins(recipe: StrategyRecipe) -> None:
    """Its function returns a list of Avalanche plugins: the learner calls nothing else."""
    plugins = _build(recipe, Source(toy(), Rng(SEED)))
    if not isinstance(plugins, list):
        raise Violation(f"it returns {type(plugins).__name__}, not a list of Avalanche plugins.")
    for plugin in plugins:
        if not isinstance(plugin, BasePlugin):
            raise Violation(f"it returns a {type(plugin).__name__}, which is no Avalanche plugin.")


def is_described(recipe: StrategyRecipe) -> None:
    """Name, label and docstring fit into `list`, legends and tables."""
    if not re.fullmatch(r"[a-z0-9-]+(\+[a-z0-9-]+)*", recipe.name):
        raise Violation(f"its name {recipe.name!r} has other signs than a-z, 0-9 and -.")
    if not recipe.summary.endswith("."):
        raise Violation("the first line of its docstring is no sentence with a full stop.")
    if len(recipe.summary) > 76:
        raise Violation(
            f"the first line of its docstring has {len(recipe.summary)} signs, over 76."
        )
    if len(recipe.label) > 24:
        raise Violation(f"its label {recipe.label!r} is longer than 24 signs: legends are narrow.")


def can_be_searched(recipe: StrategyRecipe) -> None:
    """Its hyperparameters can be tuned: defaults are valid, and lie in the ranges searched."""
    check_learner(recipe.name, recipe.defaults)
    for key, space in recipe.search.items():
        if key not in recipe.defaults:
            raise Violation(f"it searches {key}, which it doesn't have.")
        default = recipe.defaults[key]
        if isinstance(space, Choice):
            if default not in space.values:
                raise Violation(f"its default {key}={default} is none of {space}.")
        elif not isinstance(space, Log | Linear):
            raise Violation(f"it searches {key} over {space!r}: use Log, Linear or Choice.")
        elif isinstance(space, Log) and space.low <= 0:
            raise Violation(f"it searches {key} over {space}: a logarithmic range is above 0.")
        elif not space.low <= default <= space.high or space.low == space.high:
            raise Violation(f"its default {key}={default} does not lie in {space}.")


def starts_from_the_base(recipe: StrategyRecipe) -> None:
    """It starts with the base's weights: all strategies start level, whatever they prepare.

    One that takes no step may compute its weights before its first example; its answers until then
    are the base's.
    """
    scenario = toy()
    taken = _take(recipe, scenario)
    base = Source(scenario, Rng(SEED)).model
    with torch.no_grad():
        answers = base(scenario.test.x).argmax(1)
    if taken.course.test[0].tolist() != (answers == scenario.test.y).tolist():
        raise Violation("its answers before the first example are not those of the base.")
    start = taken.before_first_update
    if recipe.defaults["lr"] > 0 and start is not None and not torch.equal(start, _flat(base)):
        raise Violation("its weights before the first update are not those of the base.")


def is_deterministic(recipe: StrategyRecipe) -> None:
    """The same seed gives the same weights bit for bit: its numbers can be had again."""
    if not torch.equal(_take(recipe, toy()).weights, _take(recipe, toy()).weights):
        raise Violation(
            "the same seed ends in other weights: draw from source.rng('a name of your own')."
        )


def leaves_the_global_random_state_alone(recipe: StrategyRecipe) -> None:
    """Preparing draws from named generators only: what another strategy draws stays the same."""
    source = Source(toy(), Rng(SEED))
    with pinned(SEED):
        before = torch.get_rng_state()
        _build(recipe, source)
        if not torch.equal(before, torch.get_rng_state()):
            raise Violation(
                "preparing draws from the global random state: use source.rng('a name') instead."
            )


def ends_finite(recipe: StrategyRecipe) -> None:
    """With its default settings it doesn't diverge."""
    taken = _take(recipe, toy())
    if taken.course.diverged is not None:
        raise Violation(f"with its default settings it diverges at step {taken.course.diverged}.")
    if not taken.weights.isfinite().all():
        raise Violation("with its default settings it ends in weights that are not finite.")


def learns(recipe: StrategyRecipe) -> None:
    """Its weights move, and its learning rate is 0 where it takes no step with it, and only there.

    A learning rate that does nothing would stand in every table beside those that do.
    """
    scenario, lr = toy(), recipe.defaults["lr"]
    taken = _take(recipe, scenario)
    unmoved = torch.equal(taken.weights, _flat(Source(scenario, Rng(SEED)).model))
    if unmoved and lr > 0:
        raise Violation("its weights don't move.")
    if not unmoved and taken.updates and lr == 0:
        raise Violation("its weights move though its learning rate is 0.")
    if not taken.updates and lr > 0:
        raise Violation(f"its learning rate is {lr}, but it takes no step with it: declare lr=0.0.")


def does_something(recipe: StrategyRecipe) -> None:
    """Its plugins change the result: one that silently does nothing is this field's commonest bug.

    A strategy without plugins claims to do nothing.
    """
    scenario = toy()
    taken = _take(recipe, scenario)
    without = dataclasses.replace(recipe, build=lambda source, **own: [])
    if taken.plugins and torch.equal(taken.weights, _take(without, scenario).weights):
        raise Violation(
            "it ends where plain fine-tuning with its optimizer ends: its plugins do nothing."
        )


def sees_no_test_image(recipe: StrategyRecipe) -> None:
    """Other test images change nothing in its weights."""
    scenario = toy()
    x, y = scenario.test
    other = dataclasses.replace(scenario, test=Examples(1 - x, (y + 1) % scenario.n_classes))
    if not torch.equal(_take(recipe, scenario).weights, _take(recipe, other).weights):
        raise Violation("its weights depend on the test images.")


def sees_no_future_example(recipe: StrategyRecipe) -> None:
    """What comes later in the stream changes nothing in its weights of now."""
    scenario = toy()
    first, second = scenario.stream
    later = Examples(1 - second.x, second.y.flip(0))
    other = dataclasses.replace(scenario, stream=(first, later))
    met = len(first.y)
    now, then = (_take(recipe, stream).states[met] for stream in (scenario, other))
    if not torch.equal(now, then):
        raise Violation(f"its weights after {met} examples depend on the examples after these.")


def costs_no_more_with_time(recipe: StrategyRecipe) -> None:
    """An example costs as much late in the stream as halfway, or a long stream never ends.

    Cost is the number of values that tensor operations write, which is the same on every machine.
    """
    costs = _take(recipe, toy(per_class=30), every_step=False).costs
    quarter = len(costs) // 4
    halfway, late = sum(costs[quarter : 2 * quarter]), sum(costs[-quarter:])
    if late > 1.1 * halfway:
        raise Violation(
            f"an example late in a stream of {len(costs)} costs {late / halfway:.1f} times what "
            "one before its middle does: keep what it stores from growing."
        )


#: All checks, in the order in which they are run.
CHECKS: Sequence[Check] = (
    returns_plugins,
    is_described,
    can_be_searched,
    starts_from_the_base,
    is_deterministic,
    leaves_the_global_random_state_alone,
    ends_finite,
    learns,
    does_something,
    sees_no_test_image,
    sees_no_future_example,
    costs_no_more_with_time,
)


def toy(per_class: int = 3) -> Scenario:
    """Two experiences of two classes each, images of 4 × 4; learned in no time.

    Args:
        per_class: examples of each class in the stream.
    """
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.rand(4, 4, 4, generator=generator) * 200

    def draw(count: int, shift: int) -> Examples:
        y = torch.arange(4).repeat(count)
        noise = torch.rand(len(y), 4, 4, generator=generator) * 55
        return Examples((prototypes[y].roll(shift, 1) + noise).to(torch.uint8), y)

    rng = Rng(SEED)
    drawn = assemble(
        mlp((16, 12, 4), rng("initial weights")),
        source=draw(20, 0),
        pool=draw(max(6, per_class), 1),
        test=draw(5, 1),
        groups=((0, 1), (2, 3)),
        per_class=per_class,
        epochs=2,
        rng=rng,
    )
    return dataclasses.replace(drawn, pretraining=Pretraining(epochs=3, lr=0.1, batch_size=8))


@dataclass(frozen=True)
class _Taken:
    """A strategy taken through a stream.

    Attributes:
        plugins: how many it has.
        updates: steps that the optimizer took.
        course: what it knew after each step.
        before_first_update: all weights then; None where there was none.
        states: all weights after each of the steps 0 … T.
        costs: values written by tensor operations for each of the T examples.
    """

    plugins: int
    updates: int
    course: Course
    before_first_update: Tensor | None
    states: Sequence[Tensor]
    costs: Sequence[int]

    @property
    def weights(self) -> Tensor:
        """All weights after the last step."""
        return self.states[-1]


class _Meter(TorchDispatchMode):
    """Counts the values that tensor operations write."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        several = result if isinstance(result, tuple | list) else (result,)
        self.written += sum(value.numel() for value in several if isinstance(value, Tensor))
        return result


class _Observer(SupervisedPlugin):
    """Counts updates, and notes weights before the first and weights and cost after each example.

    It stands last: what the strategy's plugins do at a hook is done by then.
    """

    def __init__(self, meter: _Meter) -> None:
        super().__init__()
        self.meter = meter
        self.updates = 0
        self.before_first_update: Tensor | None = None
        self.states: list[Tensor] = []
        self.written: list[int] = []

    def before_training(self, strategy: Any, **kwargs: Any) -> None:
        self._note(strategy)

    def before_update(self, strategy: Any, **kwargs: Any) -> None:
        if self.before_first_update is None:
            self.before_first_update = _flat(strategy.model)

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        self.updates += 1

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        self._note(strategy)

    def _note(self, strategy: Any) -> None:
        self.written.append(self.meter.written)
        self.states.append(_flat(strategy.model))


def _take(recipe: StrategyRecipe, scenario: Scenario, every_step: bool = True) -> _Taken:
    """Take a strategy through a stream, as a cell does."""
    source = Source(scenario, Rng(SEED))
    # Recorded, that is kept off the terminal: Avalanche warns of its own inner workings.
    with pinned(SEED), warnings.catch_warnings(record=True):
        plugins = _build(recipe, source)
        observer = _Observer(_Meter())
        optimizer = {key: recipe.defaults[key] for key in LEARNER_DEFAULTS}
        with observer.meter:
            course = learn(
                scenario,
                source.model,
                [*plugins, observer],
                optimizer,
                Rng(SEED),
                every_step=every_step,
            )
    costs = [after - before for before, after in zip(observer.written, observer.written[1:])]
    return _Taken(
        len(plugins),
        observer.updates,
        course,
        observer.before_first_update,
        observer.states,
        costs,
    )


def _build(recipe: StrategyRecipe, source: Source) -> Plugins:
    values = {**recipe.defaults, **{k: v for k, v in QUICK.items() if k in recipe.defaults}}
    own = {key: value for key, value in values.items() if key not in LEARNER_DEFAULTS}
    plugins: Plugins = recipe.build(source, **own)
    return plugins


def _flat(model: torch.nn.Module) -> Tensor:
    """All parameters of a model in one row."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def violation(check: Check, recipe: StrategyRecipe) -> str | None:
    """What is wrong, in a line, or None: an error of the strategy's own breaks the contract too."""
    try:
        check(recipe)
    except Violation as broken:
        return str(broken)
    except Exception as error:
        return f"it fails: {one_line(error)}"
    return None
