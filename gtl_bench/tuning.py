"""Equal-budget search: every strategy gets the same number of trials over its own space.

Trials are cells like any other, on seeds and target images that no reported run uses, kept in a
folder of records: a search that is interrupted, repeated, goes on where it was, because the sampler
proposes the same trials again and finds them finished. Optuna's tree-structured Parzen estimator
samples them, the same few at random first.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import tomli_w

from gtl_bench import __version__
from gtl_bench.data import DataFolder
from gtl_bench.environment import versions
from gtl_bench.errors import UsageError
from gtl_bench.files import write_atomically
from gtl_bench.plan import TUNING_SEEDS, Setup, choose_strategies, set_up
from gtl_bench.recipes import (
    Choice,
    Linear,
    Log,
    Registry,
    Space,
    StrategyRecipe,
    check_learner,
    resolve,
)
from gtl_bench.rng import derived_seed
from gtl_bench.runner import Progress, run_cells, stop_if_incomplete
from gtl_bench.store import RunFolder, read_records
from gtl_bench.tuned import read_tuned

OBJECTIVE = "accuracy on all test images after the last example, mean over seeds"


@dataclass
class Search:
    """The trials of one strategy.

    Attributes:
        recipe: the strategy.
        study: what optuna knows of it.
        best: objective and hyperparameters of the best trial so far.
    """

    recipe: StrategyRecipe
    study: optuna.Study
    best: tuple[float, Mapping[str, Any]] = field(default=(-1.0, {}))


def plan_search(
    benchmark: str,
    strategies: Sequence[str],
    registry: Registry,
    data: DataFolder,
    *,
    device: str = "cpu",
    data_folder: Path | None = None,
    cache_folder: Path | None = None,
) -> tuple[Setup, list[Search]]:
    """Set up the benchmark for tuning, and a search for each strategy that has something to search.

    Args:
        benchmark: the benchmark's name. It has a parameter `split` with the value "tune", or no
            data: what it draws from its seed is other than that of reported runs in any case.
        strategies: names, as for `run`.
        registry: all recipes.
        data: where data sets are.
        device: "cpu" or "cuda".
        data_folder: where workers find data sets, or None for each one's own place.
        cache_folder: where workers keep source phases, or None for each one's own place.

    Raises:
        UsageError: for unknown names.
        DataError: if the data can't be had.
    """
    asked = registry.benchmark(benchmark)
    recipes, files, broken = choose_strategies(strategies, registry, asked)
    if broken:
        raise UsageError(broken[0].reason)
    apart = "split" in asked.defaults
    if asked.data and not apart:
        raise UsageError(f"{benchmark} sets no images apart for tuning (it has no `split`).")
    setup = set_up(
        asked,
        registry,
        data,
        settings={"split": "tune"} if apart else {},
        recipe_files=files,
        device=device,
        require_data=True,
        data_folder=data_folder,
        cache_folder=cache_folder,
    )
    return setup, [_search(recipe) for recipe in recipes if recipe.search]


def tune(
    setup: Setup,
    searches: Sequence[Search],
    *,
    trials: int,
    seeds: int,
    folder: RunFolder,
    executor: Callable[[], Executor],
    on_progress: Callable[[Progress], None] = lambda progress: None,
    file: Path | None = None,
) -> Path:
    """Search the hyperparameters of each strategy and write the best of each to a TOML file.

    What the file holds of other strategies is kept, if they were searched in the same way.

    Args:
        setup: the benchmark, from `plan_search`.
        searches: one for each strategy, likewise.
        trials: sets of hyperparameters tried for each strategy; the first is its defaults.
        seeds: seeds that each trial is averaged over.
        folder: where trials' records go; prepared.
        executor: makes an executor of cells.
        on_progress: called whenever a cell ends.
        file: the TOML file; `tuned.toml` in the folder if None.

    Returns:
        The path of the TOML file.

    Raises:
        UsageError: for numbers out of range, a file that can't be written, and one that holds
            values of other strategies that were searched in another way: budgets would not be
            equal.
        RunError: if cells fail; what was finished is kept.
        Interrupted: after SIGINT or SIGTERM; likewise.
    """
    for name, value in (("--trials", trials), ("--seeds", seeds)):
        if value < 1:
            raise UsageError(f"{name} {value}: it must be 1 or more.")
    path = file or folder.path / "tuned.toml"
    if not path.parent.is_dir():
        raise UsageError(f"{path} can't be written: there is no folder {path.parent}.")
    terms = _terms(setup, trials, seeds)
    names = [search.recipe.name for search in searches]
    _kept(path, terms, names)  # refused before anything is computed
    total = Progress(total=trials * seeds * len(searches))
    table = []
    for number in range(trials):
        proposed = [_propose(search, number) for search in searches]
        cells = [
            [
                setup.cell(search.recipe, values, TUNING_SEEDS + seed, every_step=False)
                for seed in range(seeds)
            ]
            for search, (_, values) in zip(searches, proposed)
        ]
        run_cells([cell for row in cells for cell in row], folder, executor, total, on_progress)
        stop_if_incomplete(total)
        finished = folder.finished()
        for search, (trial, values), row in zip(searches, proposed, cells):
            score = _score([finished[cell.key] for cell in row])
            search.study.tell(trial, score)
            searched = {key: values[key] for key in search.recipe.search}
            search.best = max(search.best, (score, searched), key=lambda best: best[0])
            table.append({"strategy": search.recipe.name, "score": score, **searched})
    content = _content(terms, _kept(path, terms, names), searches, table)
    write_atomically(path, tomli_w.dumps(content).encode())
    return path


def _search(recipe: StrategyRecipe) -> Search:
    seed = derived_seed(0, f"tune {recipe.name}") % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=8, multivariate=True)
        study = optuna.create_study(direction="maximize", sampler=sampler)
    return Search(recipe, study)


def _propose(search: Search, number: int) -> tuple[optuna.Trial, dict[str, Any]]:
    """The next trial and its full settings; the first is the strategy's defaults."""
    recipe = search.recipe
    if number == 0:
        search.study.enqueue_trial({key: recipe.defaults[key] for key in recipe.search})
    trial = search.study.ask()
    with warnings.catch_warnings():
        # A benchmark may give a value beyond the range that is searched; it is tried all the same.
        warnings.filterwarnings("ignore", "Fixed parameter", UserWarning)
        values = {key: _suggest(trial, key, space) for key, space in recipe.search.items()}
    resolved = {**resolve(recipe, {}), **values}
    check_learner(recipe.name, resolved)
    return trial, resolved


def _suggest(trial: optuna.Trial, key: str, space: Space) -> Any:
    match space:
        case Log(low, high):
            # Four digits are more than a search can tell apart, and can be read in a table.
            return float(f"{trial.suggest_float(key, low, high, log=True):.4g}")
        case Linear(low, high):
            return float(f"{trial.suggest_float(key, low, high):.4g}")
        case Choice(values):
            return trial.suggest_categorical(key, values)


def _score(files: Sequence[Path]) -> float:
    """The objective: mean over seeds of the final accuracy, in [0, 1]."""
    records = read_records(files)
    final = records[(records["metric"] == "accuracy") & (records["experience"] == -1)]
    return float(final[final["step"] == final["step"].max()]["value"].mean())


def _terms(setup: Setup, trials: int, seeds: int) -> dict[str, Any]:
    """What has to be the same for all strategies of a file: budget, objective, images."""
    return {
        "benchmark": setup.benchmark.name,
        "objective": OBJECTIVE,
        "trials": trials,
        "seeds": [TUNING_SEEDS + seed for seed in range(seeds)],
        "benchmark_settings": dict(setup.settings),
        "data": dict(setup.data_checksums),
    }


def _kept(path: Path, terms: Mapping[str, Any], searched: Sequence[str]) -> dict[str, Any]:
    """What a file holds of strategies that are not searched now, in the file's own form.

    Raises:
        UsageError: if it is no file of tuned values, or their search was another one.
    """
    if not path.exists():
        return {}
    content = read_tuned(path, terms["benchmark"])
    others = [name for name in content["strategies"] if name not in searched]
    if not others:
        return {}
    for key, value in terms.items():
        if content.get(key) != value:
            raise UsageError(
                f"{path} holds values of {', '.join(others)}, searched with {key} = "
                f"{content.get(key)}, not {value}: search all strategies of a file in the same "
                "way, or name another one with --into."
            )
    searches = [
        {**search, "strategies": [name for name in search["strategies"] if name in others]}
        for search in content.get("search", [])
    ]
    return {
        "search": [search for search in searches if search["strategies"]],
        **{
            key: {name: value for name, value in content.get(key, {}).items() if name in others}
            for key in ("strategies", "scores", "spaces")
        },
        "trial": [row for row in content.get("trial", []) if row["strategy"] in others],
    }


def _content(
    terms: Mapping[str, Any],
    kept: Mapping[str, Any],
    searches: Sequence[Search],
    table: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """What the TOML file says: the best values, and how they were found."""
    search = {
        "strategies": [search.recipe.name for search in searches],
        "date": datetime.now(UTC).date(),
        "versions": {"gtl-bench": __version__, "optuna": optuna.__version__} | versions(),
    }
    values = {search.recipe.name: dict(search.best[1]) for search in searches}
    scores = {search.recipe.name: round(search.best[0], 4) for search in searches}
    spaces = {
        search.recipe.name: {key: repr(space) for key, space in search.recipe.search.items()}
        for search in searches
    }
    return {
        **terms,
        "search": [*kept.get("search", []), search],
        "strategies": kept.get("strategies", {}) | values,
        "scores": kept.get("scores", {}) | scores,
        "spaces": kept.get("spaces", {}) | spaces,
        "trial": [*kept.get("trial", []), *map(dict, table)],
    }
