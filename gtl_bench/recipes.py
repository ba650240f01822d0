"""Recipes: strategies and benchmarks, each a decorated function in a file of its own.

A recipe is found by importing the files of `gtl_bench.strategies` and `gtl_bench.benchmarks`, the
entry points of installed packages in the group `gtl_bench.recipes`, and the files a user names.
Recipe files import torch and avalanche inside their functions, so that listing them is quick.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import importlib
import importlib.abc
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from gtl_bench.errors import UsageError

ENTRY_POINT_GROUP = "gtl_bench.recipes"

#: What every strategy can set of its optimizer, with the values that hold where nothing else does.
LEARNER_DEFAULTS: Mapping[str, Any] = {
    "lr": 0.01,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "optimizer": "sgd",
}

OPTIMIZERS = ("sgd", "adam", "adamw")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Log:
    """A search range on a logarithmic scale, from `low` to `high`, both above 0."""

    low: float
    high: float


@dataclass(frozen=True)
class Linear:
    """A search range on a linear scale, from `low` to `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class Choice:
    """A search over the values listed."""

    values: tuple[Any, ...]


Space = Log | Linear | Choice


@dataclass(frozen=True)
class Recipe:
    """What strategies and benchmarks have in common.

    Attributes:
        name: its name on the command line.
        label: its name in figures and tables.
        build: the decorated function.
        defaults: hyperparameter -> default value; the type of the default is the type accepted.
        file: where it was read from.
        text: what the file held when it was loaded.
    """

    name: str
    label: str
    build: Callable[..., Any]
    defaults: Mapping[str, Any]
    file: Path
    text: str | None = field(default=None, kw_only=True, repr=False)

    @property
    def summary(self) -> str:
        """The first line of the function's docstring, or else of its file's."""
        text = inspect.getdoc(self.build) or inspect.getdoc(inspect.getmodule(self.build)) or ""
        return text.partition("\n")[0]

    @property
    def checksum(self) -> str:
        """SHA-256 of the file: a recipe that changes is another recipe."""
        content = self.file.read_bytes() if self.text is None else self.text.encode()
        return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class StrategyRecipe(Recipe):
    """A strategy recipe.

    Attributes:
        search: hyperparameter -> range that an equal-budget search explores.
        control: it exists to rule out an explanation, and is drawn as a reference.
        pinned: hyperparameters whose defaults make it what it is; no benchmark gives others.
    """

    search: Mapping[str, Space] = field(default_factory=dict)
    control: bool = False
    pinned: frozenset[str] = frozenset()


@dataclass(frozen=True)
class BenchmarkRecipe(Recipe):
    """A benchmark recipe.

    Attributes:
        data: names of the data sets it reads (see `gtl_bench.data`).
        stand_in: the benchmark that takes its place where that data can't be had.
        strategies: what a run that names none compares; those of every stream if empty.
        given: hyperparameter -> value that takes the place of the default of every strategy that
            has it and doesn't pin it.
    """

    data: tuple[str, ...] = ()
    stand_in: str | None = None
    strategies: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)

    def adapted(self, recipe: StrategyRecipe) -> StrategyRecipe:
        """A strategy with the defaults that hold on this benchmark."""
        given = {key: value for key, value in self.given.items() if key not in recipe.pinned}
        defaults = {key: given.get(key, value) for key, value in recipe.defaults.items()}
        return dataclasses.replace(recipe, defaults=defaults)


def strategy(
    name: str,
    *,
    label: str | None = None,
    search: Mapping[str, Space] | None = None,
    control: bool = False,
    **learner: Any,
) -> Callable[[Function], Function]:
    """Declare a function as a strategy.

    The function takes the source phase (`gtl_bench.source.Source`) and its own hyperparameters,
    each with a default, and returns a list of Avalanche plugins. `learner` sets other defaults for
    the optimizer: lr, momentum, weight_decay, optimizer.

    Raises:
        UsageError: for a name or a hyperparameter that can't be used.
    """

    def declare(build: Function) -> Function:
        unknown = set(learner) - set(LEARNER_DEFAULTS)
        if unknown:
            raise UsageError(
                f"strategy {name!r} sets {', '.join(sorted(unknown))} in its decorator, "
                f"which knows {', '.join(LEARNER_DEFAULTS)}: make it a parameter of the function."
            )
        own = _parameters(build, name, skip=1)
        build.__recipe__ = StrategyRecipe(  # type: ignore[attr-defined]
            name=_checked_name(name),
            label=label or name,
            build=build,
            defaults={**LEARNER_DEFAULTS, **learner, **own},
            file=_file_of(build),
            search=search or {},
            control=control,
            pinned=frozenset(learner),
        )
        return build

    return declare


def benchmark(
    name: str,
    *,
    label: str | None = None,
    data: tuple[str, ...] = (),
    stand_in: str | None = None,
    strategies: tuple[str, ...] = (),
    given: Mapping[str, Any] | None = None,
) -> Callable[[Function], Function]:
    """Declare a function as a benchmark.

    The function takes the data folder (`gtl_bench.data.DataFolder`), the cell's named generators
    (`gtl_bench.rng.Rng`) and its own parameters, each with a default, and returns a
    `gtl_bench.scenario.Scenario`, or a `gtl_bench.experiment.Experiment` where it is no stream of
    single examples. The other arguments are as in `BenchmarkRecipe`.

    Raises:
        UsageError: for a name or a parameter that can't be used.
    """

    def declare(build: Function) -> Function:
        build.__recipe__ = BenchmarkRecipe(  # type: ignore[attr-defined]
            name=_checked_name(name),
            label=label or name,
            build=build,
            defaults=_parameters(build, name, skip=2),
            file=_file_of(build),
            data=data,
            stand_in=stand_in,
            strategies=strategies,
            given=given or {},
        )
        return build

    return declare


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"recipe name {name!r} can't be used: lower-case letters, digits, - and _ only."
        )
    return name


def _parameters(build: Callable[..., Any], name: str, skip: int) -> dict[str, Any]:
    parameters = list(inspect.signature(build).parameters.values())[skip:]
    for parameter in parameters:
        if parameter.default is parameter.empty:
            raise UsageError(
                f"recipe {name!r}: parameter {parameter.name!r} has no default value; give it one."
            )
    return {parameter.name: parameter.default for parameter in parameters}


def _file_of(build: Callable[..., Any]) -> Path:
    return Path(inspect.getsourcefile(build) or "").resolve()


@dataclass(frozen=True)
class Broken:
    """A recipe file that could not be imported, and why, in one line."""

    file: str
    reason: str


class Registry:
    """All recipes by name, and the files that would not load."""

    def __init__(self) -> None:
        self.strategies: dict[str, StrategyRecipe] = {}
        self.benchmarks: dict[str, BenchmarkRecipe] = {}
        self.broken: list[Broken] = []

    def add(self, recipe: Recipe) -> None:
        """Add one recipe.

        Raises:
            UsageError: if another file already holds a recipe of this name; names both files.
        """
        table: dict[str, Any] = (
            self.strategies if isinstance(recipe, StrategyRecipe) else self.benchmarks
        )
        known = table.setdefault(recipe.name, recipe)
        if known.file != recipe.file:
            raise UsageError(
                f"two recipes are named {recipe.name!r}: {known.file} and {recipe.file}; "
                "rename one of them."
            )

    def strategy(self, name: str) -> StrategyRecipe:
        """A strategy, or a composition such as `gtl+ewc`.

        Raises:
            UsageError: for an unknown name, with the nearest one.
        """
        from gtl_bench.compose import composed

        parts = [_find(part, self.strategies, "strategy", self.broken) for part in name.split("+")]
        return parts[0] if len(parts) == 1 else composed(parts)

    def benchmark(self, name: str) -> BenchmarkRecipe:
        """A benchmark.

        Raises:
            UsageError: for an unknown name, with the nearest one.
        """
        return _find(name, self.benchmarks, "benchmark", self.broken)


RecipeType = TypeVar("RecipeType", bound=Recipe)


def _find(
    name: str, table: Mapping[str, RecipeType], kind: str, broken: Iterable[Broken]
) -> RecipeType:
    if name in table:
        return table[name]
    for failure in broken:
        if Path(failure.file).stem.replace("_", "-") == name:
            raise UsageError(f"{kind} {name!r} can't be used: {failure.file}: {failure.reason}")
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(table))}."
    raise UsageError(f"unknown {kind} {name!r}: {hint}")


def discover() -> Registry:
    """Every recipe that ships with gtl-bench or is installed beside it.

    A file that fails to import is listed in `Registry.broken` and hides none of the others.
    """
    registry = Registry()
    for package in ("gtl_bench.strategies", "gtl_bench.benchmarks"):
        modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
        for name in sorted(module.name for module in modules):
            _load(registry, f"{package}.{name}")
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
        _load(registry, entry.module)
    return registry


def _load(registry: Registry, module: str) -> None:
    try:
        recipes = recipes_in(importlib.import_module(module))
    except Exception as error:
        registry.broken.append(Broken(module.rpartition(".")[2], one_line(error)))
    else:
        for recipe in recipes:
            registry.add(recipe)


@dataclass(frozen=True)
class RecipeFile(importlib.abc.ExecutionLoader):
    """A user's file of recipes as it was when it was read, whatever becomes of the file later.

    It is what workers load their recipes from: they may be on a machine that lacks the file.
    """

    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> RecipeFile:
        """Read a file.

        Raises:
            UsageError: if it can't be read, or is no Python file.
        """
        try:
            path = path.resolve()
            return cls(path, importlib.util.decode_source(path.read_bytes()))
        except (OSError, ValueError, SyntaxError) as error:
            reason = error.strerror if isinstance(error, OSError) else one_line(error)
            raise UsageError(f"no recipe file {path}: {reason}; check the path.") from error

    def recipes(self) -> list[Recipe]:
        """The recipes in the order in which they stand in the file.

        The file is run: it is code, like any script.

        Raises:
            UsageError: if it fails to import, or holds no recipe.
        """
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()
        spec = importlib.util.spec_from_loader(f"gtl_bench_user_{digest[:12]}", self)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        try:
            self.exec_module(module)
        except (UsageError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise UsageError(f"{self.path} can't be imported: {one_line(error)}") from error
        recipes = recipes_in(module)
        if not recipes:
            raise UsageError(
                f"{self.path} holds no recipe: decorate a function with @strategy from gtl_bench."
            )
        return recipes

    def get_filename(self, fullname: str) -> str:
        """For tracebacks and `inspect`."""
        return str(self.path)

    def get_source(self, fullname: str) -> str:
        """What is run."""
        return self.text


def recipes_in(module: ModuleType) -> list[Recipe]:
    """The recipes that a module defines itself, in the order in which they stand there."""
    found = (getattr(value, "__recipe__", None) for value in vars(module).values())
    get_source = getattr(module.__loader__, "get_source", lambda name: None)
    text = get_source(module.__name__)
    return [dataclasses.replace(r, text=text) for r in found if isinstance(r, Recipe)]


def one_line(error: BaseException) -> str:
    """The last line of the traceback, with the place where it was raised."""
    place = ""
    if error.__traceback__ is not None:
        trace = error.__traceback__
        while trace.tb_next is not None:
            trace = trace.tb_next
        place = f" (line {trace.tb_lineno} of {Path(trace.tb_frame.f_code.co_filename).name})"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


def resolve(
    recipe: Recipe, settings: Mapping[str, str], tuned: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The recipe's defaults, overridden by tuned values, overridden by settings given as text.

    Raises:
        UsageError: for an unknown hyperparameter (with the nearest one) or a value that does not
            have the type of the default.
    """
    values = {**recipe.defaults, **(tuned or {})}
    for key, text in settings.items():
        if key not in recipe.defaults:
            near = difflib.get_close_matches(key, recipe.defaults, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "it has " + ", ".join(recipe.defaults)
            raise UsageError(f"{recipe.name} has no setting {key!r}: {hint}")
        values[key] = _parsed(text, recipe.defaults[key], f"{recipe.name}.{key}")
    return values


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _parsed(text: str, default: Any, where: str) -> Any:
    """`text` as a value of the default's type."""
    try:
        if isinstance(default, bool):
            return _BOOLEANS[text.lower()]
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            value = float(text)
            if value != value or value in (float("inf"), float("-inf")):
                raise ValueError
            return value
    except (ValueError, KeyError):
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(default)]
        raise UsageError(f"{where}={text}: expected {kind}, such as {default}.") from None
    return text


def check_learner(name: str, settings: Mapping[str, Any]) -> None:
    """Check a strategy's optimizer settings before anything runs.

    Raises:
        UsageError: for a value out of range; names it and what is accepted.
    """
    if settings["optimizer"] not in OPTIMIZERS:
        raise UsageError(
            f"{name}.optimizer={settings['optimizer']}: choose from {', '.join(OPTIMIZERS)}."
        )
    for key in ("lr", "weight_decay", "momentum"):
        if settings[key] < 0:
            raise UsageError(f"{name}.{key}={settings[key]}: it must be 0 or more.")
    if settings["momentum"] and settings["optimizer"] != "sgd":
        raise UsageError(f"{name}.momentum={settings['momentum']}: only sgd has it; set it to 0.")
