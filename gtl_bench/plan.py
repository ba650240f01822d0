"""Plans: from what a user asks to the cells that answer it.

It imports neither torch nor avalanche; data are found, downloaded and verified here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gtl_bench.cell import Cell
from gtl_bench.data import DataFolder, MissingDataError
from gtl_bench.environment import environment
from gtl_bench.errors import UsageError
from gtl_bench.recipes import (
    BenchmarkRecipe,
    Broken,
    RecipeFile,
    Registry,
    StrategyRecipe,
    check_learner,
    resolve,
)
from gtl_bench.tuned import Tuned

#: What a run that names no strategies compares.
DEFAULT_STRATEGIES = ("naive", "ewc", "si", "gtl")


def in_order(registry: Registry) -> list[str]:
    """All strategies' names: the default ones first, controls last."""
    first = [name for name in DEFAULT_STRATEGIES if name in registry.strategies]
    rest = sorted(
        (recipe.control, name)
        for name, recipe in registry.strategies.items()
        if name not in DEFAULT_STRATEGIES
    )
    return first + [name for _, name in rest]


#: Seeds from here on are for tuning alone.
TUNING_SEEDS = 10_000


@dataclass(frozen=True)
class Request:
    """What a user asks of a run; see `python -m gtl_bench run --help`.

    Attributes:
        benchmark: a benchmark's name.
        strategies: names, compositions (a+b), files (.py), or "all"; the default ones if empty.
        seeds: how many, from 0 on.
        settings: texts OWNER.KEY=VALUE; OWNER is a strategy or "benchmark".
        tuned: a file of tuned values; the one that ships with the benchmark if None.
        untuned: start from the recipes' defaults rather than from tuned values.
        matched: texts KEY=VALUE, set for every strategy that searches KEY.
        device: "cpu" or "cuda".
        require_data: a stand-in is an error.
        data_folder: where workers find data sets, or None for each one's own place.
        cache_folder: where workers keep source phases, or None for each one's own place.
    """

    benchmark: str
    strategies: tuple[str, ...] = ()
    seeds: int = 5
    settings: tuple[str, ...] = ()
    tuned: Path | None = None
    untuned: bool = False
    matched: tuple[str, ...] = ()
    device: str = "cpu"
    require_data: bool = False
    data_folder: Path | None = None
    cache_folder: Path | None = None


@dataclass(frozen=True)
class Setup:
    """A benchmark ready for cells: data found, parameters resolved.

    Attributes:
        title: the benchmark's title in everything that a run leaves.
        benchmark: the benchmark that runs.
        requested: the name that was asked for; another than the benchmark's for a stand-in.
        stand_in_reason: why the stand-in takes its place, or None.
        settings: the benchmark's parameters, all of them.
        data_checksums: data set -> checksum.
        recipe_files: files of the user's that hold recipes.
        device: "cpu" or "cuda".
        data_folder: where workers find data sets, or None for each one's own place.
        cache_folder: where workers keep source phases, or None for each one's own place.
    """

    title: str
    benchmark: BenchmarkRecipe
    requested: str
    stand_in_reason: str | None
    settings: Mapping[str, Any]
    data_checksums: Mapping[str, str]
    recipe_files: tuple[RecipeFile, ...]
    device: str
    data_folder: Path | None
    cache_folder: Path | None

    def cell(
        self, recipe: StrategyRecipe, values: Mapping[str, Any], seed: int, every_step: bool = True
    ) -> Cell:
        """The cell of a strategy with its hyperparameters and a seed."""
        benchmark = self.benchmark
        scenario_key = _key(
            [
                benchmark.name,
                self.settings,
                self.data_checksums,
                environment(benchmark),
                self.device,
                seed,
            ]
        )
        needed = environment(benchmark, recipe)
        key = _key([scenario_key, self.title, recipe.name, values, needed, every_step])
        return Cell(
            title=self.title,
            benchmark=benchmark.name,
            benchmark_settings=self.settings,
            strategy=recipe.name,
            strategy_settings=values,
            seed=seed,
            device=self.device,
            every_step=every_step,
            scenario_key=scenario_key,
            key=key,
            environment=needed,
            recipe_files=self.recipe_files,
            data_folder=self.data_folder,
            cache_folder=self.cache_folder,
        )


@dataclass(frozen=True)
class Plan:
    """What a run is to compute.

    Attributes:
        setup: the benchmark.
        strategies: in the order of tables and legends.
        cells: strategy by strategy, seed by seed.
        regime: how hyperparameters were set, in words.
        each_tuned: every strategy that searches hyperparameters has its own from a search.
        broken: recipe files named by the user that could not be loaded.
    """

    setup: Setup
    strategies: tuple[StrategyRecipe, ...]
    cells: tuple[Cell, ...]
    regime: str
    each_tuned: bool
    broken: tuple[Broken, ...]

    @property
    def title(self) -> str:
        """The benchmark's title."""
        return self.setup.title


def plan(request: Request, registry: Registry, data: DataFolder) -> Plan:
    """Turn a request into cells.

    Raises:
        UsageError: for unknown names, settings or values.
        DataError: if the data can't be had and there is no stand-in, or none is wanted.
    """
    if not 1 <= request.seeds <= TUNING_SEEDS:
        raise UsageError(f"--seeds {request.seeds}: it must lie between 1 and {TUNING_SEEDS}.")
    asked = registry.benchmark(request.benchmark)
    strategies, files, broken = choose_strategies(request.strategies, registry, asked)
    settings = _settings(request.settings, [recipe.name for recipe in strategies])
    setup = set_up(
        asked,
        registry,
        data,
        settings=settings.get("benchmark", {}),
        recipe_files=files,
        device=request.device,
        require_data=request.require_data,
        data_folder=request.data_folder,
        cache_folder=request.cache_folder,
    )
    tuned = Tuned.none() if request.untuned else Tuned.of(setup.benchmark, request.tuned)
    if elsewhere := tuned.elsewhere(setup.settings):
        tuned = replace(tuned, description=f"{tuned.description} on other benchmark settings")
    matched = _matched(request.matched, strategies)
    cells = []
    for recipe in strategies:
        shared = {key: text for key, text in matched.items() if key in recipe.search}
        texts = {**shared, **settings.get(recipe.name, {})}
        values = resolve(recipe, texts, tuned.values(recipe))
        check_learner(recipe.name, values)
        cells += [setup.cell(recipe, values, seed) for seed in range(request.seeds)]
    own = [text for text in request.settings if not text.startswith("benchmark.")]
    return Plan(
        setup,
        strategies,
        tuple(cells),
        _regime(tuned, strategies, request.matched, own),
        not (
            request.matched
            or own
            or elsewhere
            or any(_untuned(recipe, tuned) for recipe in strategies)
        ),
        broken,
    )


def only(plan: Plan, text: str) -> tuple[Cell, ...]:
    """The one cell that `STRATEGY:SEED` names.

    Raises:
        UsageError: if the plan has none of this name.
    """
    chosen = tuple(cell for cell in plan.cells if f"{cell.strategy}:{cell.seed}" == text)
    if not chosen:
        known = ", ".join(recipe.name for recipe in plan.strategies)
        raise UsageError(
            f"--only {text}: write STRATEGY:SEED with one of this run's strategies ({known}) and "
            f"a seed from 0 to {max(cell.seed for cell in plan.cells)}."
        )
    return chosen


def set_up(
    asked: BenchmarkRecipe,
    registry: Registry,
    data: DataFolder,
    *,
    settings: Mapping[str, str],
    recipe_files: tuple[RecipeFile, ...],
    device: str,
    require_data: bool,
    data_folder: Path | None = None,
    cache_folder: Path | None = None,
) -> Setup:
    """Find the benchmark's data, or its stand-in, and resolve its parameters.

    Raises:
        UsageError: for unknown parameters or values.
        DataError: if the data can't be had and there is no stand-in, or none is wanted.
    """
    benchmark, reason = _with_data(asked, registry, data, require_data)
    title = benchmark.name
    if benchmark is not asked:
        title = f"{benchmark.name} (stand-in for {asked.name})"
    return Setup(
        title=title,
        benchmark=benchmark,
        requested=asked.name,
        stand_in_reason=reason,
        settings=resolve(benchmark, settings),
        data_checksums={name: data.checksum(name) for name in benchmark.data},
        recipe_files=recipe_files,
        device=device,
        data_folder=data_folder,
        cache_folder=cache_folder,
    )


def _matched(texts: Sequence[str], strategies: Sequence[StrategyRecipe]) -> dict[str, str]:
    """`key=value` texts as key -> value."""
    matched = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not any(key in recipe.search for recipe in strategies):
            raise UsageError(
                f"--matched {text}: write KEY=VALUE with a KEY that strategies search, "
                "such as lr=0.03."
            )
        matched[key] = value
    return matched


def _untuned(recipe: StrategyRecipe, tuned: Tuned) -> bool:
    """Whether a strategy has something to search, and no search has."""
    return bool(recipe.search) and recipe.name not in tuned.strategies


def _regime(
    tuned: Tuned,
    strategies: Sequence[StrategyRecipe],
    matched: Sequence[str],
    own: Sequence[str],
) -> str:
    """How hyperparameters were set, as captions say it: a mixture is named as one."""
    keys = {text.partition("=")[0] for text in matched}
    beside = [recipe for recipe in strategies if set(recipe.search) - keys]
    untuned = [recipe.label for recipe in beside if _untuned(recipe, tuned)]
    parts = [tuned.description]
    if matched:
        parts = [f"matched at {', '.join(matched)}"]
        if len(untuned) < len(beside):
            parts.append(f"all else {tuned.description}")
    if tuned.strategies and untuned:
        parts.append(f"{', '.join(untuned)} untuned")
    if own:
        parts.append(f"with {', '.join(own)}")
    return "; ".join(parts)


def _key(parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def choose_strategies(
    names: Sequence[str], registry: Registry, benchmark: BenchmarkRecipe | None = None
) -> tuple[tuple[StrategyRecipe, ...], tuple[RecipeFile, ...], tuple[Broken, ...]]:
    """The strategies asked for; the user's own files; those of them that don't load.

    On a benchmark that has defaults of its own, the strategies have these.
    """
    chosen: dict[str, StrategyRecipe] = {}
    files: list[RecipeFile] = []
    broken: list[Broken] = []
    for name in names or (benchmark and benchmark.strategies) or DEFAULT_STRATEGIES:
        if name.endswith(".py"):
            try:
                file = RecipeFile.read(Path(name))
                recipes = file.recipes()
            except UsageError as error:
                broken.append(Broken(name, str(error)))
                continue
            for recipe in recipes:
                registry.add(recipe)
                if isinstance(recipe, StrategyRecipe):
                    chosen[recipe.name] = recipe
            files.append(file)
        elif name == "all":
            chosen |= {known: registry.strategy(known) for known in in_order(registry)}
        else:
            chosen[name] = registry.strategy(name)
    if not chosen:
        raise UsageError(broken[0].reason if broken else "no strategy to run.")
    strategies = tuple(chosen.values())
    if benchmark is not None:
        strategies = tuple(benchmark.adapted(recipe) for recipe in strategies)
    return strategies, tuple(files), tuple(broken)


def _settings(texts: Iterable[str], strategies: Sequence[str]) -> dict[str, dict[str, str]]:
    """`owner.key=value` texts as owner -> key -> value."""
    settings: dict[str, dict[str, str]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        owner, dot, key = target.rpartition(".")
        if not (equals and dot and owner and key):
            raise UsageError(
                f"--set {text}: write STRATEGY.KEY=VALUE or benchmark.KEY=VALUE, "
                "such as gtl.lr=0.01."
            )
        if owner != "benchmark" and owner not in strategies:
            raise UsageError(
                f"--set {text}: {owner!r} takes no part in this run, which has "
                f"benchmark, {', '.join(strategies)}."
            )
        settings.setdefault(owner, {})[key] = value
    return settings


def _with_data(
    asked: BenchmarkRecipe, registry: Registry, data: DataFolder, require_data: bool
) -> tuple[BenchmarkRecipe, str | None]:
    """The benchmark, or its stand-in with the reason where the data can't be had."""
    try:
        for name in asked.data:
            data.ensure(name)
    except MissingDataError as error:
        if require_data or asked.stand_in is None:
            raise
        return registry.benchmark(asked.stand_in), str(error)
    return asked, None
