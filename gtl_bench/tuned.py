"""Tuned hyperparameters: TOML files that an equal-budget search leaves and runs start from."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gtl_bench.errors import UsageError
from gtl_bench.recipes import BenchmarkRecipe, StrategyRecipe, check_learner, resolve


@dataclass(frozen=True)
class Tuned:
    """Tuned values of strategies on one benchmark.

    Attributes:
        description: how hyperparameters were set, in words for captions.
        strategies: strategy -> hyperparameter -> value.
        file: where they were read from, or None.
        on: the benchmark's settings that they were found on, where they are known.
    """

    description: str
    strategies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    file: Path | None = None
    on: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def none(cls) -> Tuned:
        """No tuned values."""
        return cls("untuned defaults")

    @classmethod
    def of(cls, benchmark: BenchmarkRecipe, path: Path | None = None) -> Tuned:
        """The values of a file, or those that ship with the benchmark, or none.

        Args:
            benchmark: the benchmark.
            path: a file that `tune` left; None for the one that ships with the benchmark.

        Raises:
            UsageError: if the file can't be read, is no such file, or is of another benchmark.
        """
        shipped = benchmark.file.parent / "tuned" / f"{benchmark.name}.toml"
        if path is None and not shipped.exists():
            return cls.none()
        source = path or shipped
        content = read_tuned(source, benchmark.name)
        on = content.get("benchmark_settings", {})
        return cls("tuned by equal-budget search", content["strategies"], source, on)

    def elsewhere(self, settings: Mapping[str, Any]) -> bool:
        """Whether they were found on other settings of the benchmark, the split apart."""
        return any(settings.get(key) != value for key, value in self.on.items() if key != "split")

    def values(self, recipe: StrategyRecipe) -> dict[str, Any]:
        """The tuned values of a strategy; nothing for one that was not tuned.

        Raises:
            UsageError: for a hyperparameter that the strategy doesn't have, a wrong type, or a
                value out of range.
        """
        texts = {key: str(value) for key, value in self.strategies.get(recipe.name, {}).items()}
        try:
            resolved = resolve(recipe, texts)
            check_learner(recipe.name, resolved)
        except UsageError as error:
            raise UsageError(f"{self.file}: {error}") from error
        return {key: resolved[key] for key in texts}


def read_tuned(file: Path, benchmark: str) -> dict[str, Any]:
    """What a file that `tune` left says: tuned values, and how they were found.

    Raises:
        UsageError: if it can't be read, is no such file, or is of another benchmark.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"tuned values {file} can't be read: {reason}") from error
    found = content.get("strategies")
    if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
        raise UsageError(f"{file} holds no tuned values: it has no [strategies.NAME] tables.")
    if not isinstance(content.get("benchmark_settings", {}), dict):
        raise UsageError(f"{file}: benchmark_settings is no table.")
    if content.get("benchmark") != benchmark:
        raise UsageError(f"{file} was tuned on {content.get('benchmark')!r}, not on {benchmark!r}.")
    return content
