"""Composition: `gtl+ewc` is the plugins of both on one learner."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gtl_bench.errors import UsageError
from gtl_bench.recipes import LEARNER_DEFAULTS, StrategyRecipe


@dataclass(frozen=True)
class Composed(StrategyRecipe):
    """Several strategies on one learner; changes when the file of any of them does."""

    parts: tuple[StrategyRecipe, ...] = ()

    @property
    def checksum(self) -> str:
        return hashlib.sha256("".join(part.checksum for part in self.parts).encode()).hexdigest()


def composed(parts: Sequence[StrategyRecipe]) -> StrategyRecipe:
    """One recipe with the plugins and hyperparameters of all parts.

    The optimizer's defaults are those of the first part. Plugins that change the update come last,
    so that a penalty acts on the loss before the update is guided.

    Raises:
        UsageError: if two parts have a hyperparameter of the same name, or a part comes twice.
    """
    name = "+".join(part.name for part in parts)
    defaults = dict(parts[0].defaults)
    for part in parts[1:]:
        own = _own(part.defaults)
        shared = sorted(set(own) & set(defaults))
        if shared:
            raise UsageError(
                f"{name} can't be composed: more than one part has the setting {shared[0]!r}."
            )
        defaults |= own
    return Composed(
        name=name,
        label=" + ".join(part.label for part in parts),
        build=_builder(parts),
        defaults=defaults,
        file=parts[0].file,
        search={key: space for part in parts for key, space in part.search.items()},
        parts=tuple(parts),
    )


def _own(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in LEARNER_DEFAULTS}


def _builder(parts: Sequence[StrategyRecipe]) -> Callable[..., list[Any]]:
    def build(source: Any, **settings: Any) -> list[Any]:
        plugins = []
        for part in parts:
            own = {key: settings[key] for key in _own(part.defaults)}
            plugins += part.build(source, **own)
        return sorted(plugins, key=_changes_update)

    return build


def _changes_update(plugin: Any) -> bool:
    from gtl_bench.gtl import GTLPlugin

    return isinstance(plugin, GTLPlugin)
