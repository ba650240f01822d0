"""A guide: how much each parameter may change while a new task is learned.

Nikolić, Andrić, Nikolić, "Guided Transfer Learning", arXiv 2303.16154: scouts are copies of a base
network trained on small, easy problems, and a parameter that the scouts had to move is one that
may move when the target task is learned. The raw guide is the mean of the scouts' squared
displacements; focus brings it to a common scale, temperature makes it stricter or more lenient.

Focus and temperature are defined here as the authors' library computes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypeVar

import torch
from torch import Tensor

from gtl_bench.gtl.displacement import MeanDisplacement, Measure, Weights, displacements, shape

if TYPE_CHECKING:
    import pandas as pd

Focus: TypeAlias = Literal["raw", "zero_enforced", "normalized", "zero_enforced_and_normalized"]
Scope: TypeAlias = Literal["tensor", "model"]
Temperature: TypeAlias = Literal["freezing", "icy", "chilly", "room", "warm", "evaporating"]

T = TypeVar("T")

_FORMAT = "gtl-bench guide 1"


class ScoutRecord(NamedTuple):
    """What is known of one scout: a scout that overfits misguides.

    Attributes:
        classes: the classes of its sub-problem.
        examples: number of examples it was trained on.
        epochs: passes it made over them.
        train_accuracy: share of them that it classifies right at its end, 0 to 1.
        held_out_accuracy: the same on examples of its classes that it wasn't trained on, at most
            as many as it was; nan where there are none.
        distance: Euclidean distance from the base over all trainable parameters.
    """

    classes: tuple[int, ...]
    examples: int
    epochs: int
    train_accuracy: float
    held_out_accuracy: float
    distance: float


class Guide:
    """How much each parameter may change: 0 not at all, 1 as the optimizer proposes.

    A guide is a value: everything below returns a new guide and leaves this one as it was.

    Args:
        values: name -> tensor of the parameter's shape; copied.
        scouts: what is known of the scouts it was made from, if anything.

    Attributes:
        scouts: as given; guides derived from this one keep it.

    Raises:
        ValueError: if there are no values, or a value isn't finite.
    """

    def __init__(self, values: Mapping[str, Tensor], scouts: Iterable[ScoutRecord] = ()) -> None:
        if not values:
            raise ValueError("a guide needs the values of at least one parameter; none were given")
        self._values = {
            name: value.detach().to("cpu", torch.float32, copy=True).contiguous()
            for name, value in values.items()
        }
        for name, value in self._values.items():
            if not value.isfinite().all():
                raise ValueError(f"the guide of {name} has values that aren't finite numbers")
        self.scouts = tuple(scouts)

    @classmethod
    def from_scouts(
        cls, base: Weights, scouts: Iterable[Weights], measure: Measure = "squared"
    ) -> Guide:
        """The raw guide: the mean over scouts of (scout − base)², or of |scout − base|.

        The base is copied before the first scout is read, so an iterator may train and yield one
        module again and again, the base itself included. Only trainable parameters are guided;
        buffers (batch norm's running statistics) are left out.

        Args:
            base: what the scouts set out from: a module, or a mapping name -> tensor.
            scouts: modules or mappings with the base's names and shapes.
            measure: "squared" (the paper's) or "absolute".

        Raises:
            ValueError: if there are no scouts; if one diverged, is the same object as another or
                as the base in a list, or doesn't fit the base; for an unknown measure.
        """
        mean = MeanDisplacement(measure)
        for index, displacement in enumerate(displacements(base, scouts)):
            mean.add(displacement, f"scout {index}")
        return cls(mean.mean())

    @property
    def values(self) -> dict[str, Tensor]:
        """name -> tensor (float32, on the CPU, the parameter's shape), to read, not to change."""
        return dict(self._values)

    @property
    def mean(self) -> float:
        """The mean over all values."""
        return float(torch.cat([value.flatten() for value in self._values.values()]).mean())

    @property
    def density(self) -> float:
        """The share of values that aren't 0, between 0 and 1."""
        kept = sum(int(value.count_nonzero()) for value in self._values.values())
        return kept / sum(value.numel() for value in self._values.values())

    def focused(
        self, focus: Focus = "zero_enforced_and_normalized", scope: Scope = "tensor"
    ) -> Guide:
        """The values g brought to a common scale by their smallest and their largest.

        | focus | result |
        |---|---|
        | raw | g |
        | zero_enforced | g − min |
        | normalized | g / max |
        | zero_enforced_and_normalized | (g − min) / (max − min) |

        Where a division would be by zero (a tensor of one value, or of zeros) g stays as it is.

        Args:
            focus: one of the above.
            scope: min and max of each "tensor" (the authors' code), or of the whole "model".

        Raises:
            ValueError: for another focus or scope.
        """
        rule = _choice("focus", focus, _FOCUS)
        if _choice("scope", scope, {"tensor": False, "model": True}):
            low, high = _range(torch.stack([torch.stack(_range(g)) for g in self._values.values()]))
            return self._map(lambda g: rule(g, low, high))
        return self._map(lambda g: rule(g, *_range(g)))

    def tempered(
        self,
        temperature: Temperature | None = None,
        *,
        slope: float | None = None,
        intercept: float | None = None,
    ) -> Guide:
        """The values g of each tensor made stricter (cold) or more lenient (warm).

        | temperature | result, negative results set to 0 |
        |---|---|
        | freezing | 1 where g is at or above the 99th percentile, else 0 |
        | icy | 2 · (g − (max − min) / 2) |
        | chilly | g − min |
        | room | g |
        | warm | g / 2 + (max − min) / 2 |
        | evaporating | g / 4 + (max − min) |
        | of one's own | slope · g − intercept |

        The percentile is a value of the tensor: of its n values in ascending order, the one whose
        index, counted from 0, is nearest to 0.99 · (n − 1).

        Args:
            temperature: one of the names above, or None with a slope or an intercept.
            slope: 1 where only the intercept is given.
            intercept: 0 where only the slope is given.

        Raises:
            ValueError: for another temperature, or for both a name and numbers, or neither.
        """
        custom = slope is not None or intercept is not None
        if custom == (temperature is not None):
            raise ValueError("give either a temperature by name, or slope and intercept")
        if temperature is not None:
            rule = _choice("temperature", temperature, _TEMPERATURE)
            return self._map(lambda g: rule(g, *_range(g)).clamp(min=0))
        factor = 1.0 if slope is None else slope
        return self._map(lambda g: (g * factor - (intercept or 0.0)).clamp(min=0))

    def sparse(self, threshold: float) -> Guide:
        """Values under the threshold set to 0; `density` of the result is the share kept."""
        return self._map(lambda g: torch.where(g < threshold, 0.0, g))

    def shuffled(self, generator: torch.Generator) -> Guide:
        """Control: the values of each tensor, permuted at random within it."""
        return self._map(
            lambda g: g.flatten()[torch.randperm(g.numel(), generator=generator)].view(g.shape)
        )

    def scalar(self) -> Guide:
        """Control: each tensor's mean in place of its values; a smaller step for all of it."""
        return self._map(lambda g: torch.full_like(g, float(g.mean())))

    def inverted(self) -> Guide:
        """Control: 1 − g.

        Raises:
            ValueError: if a value is outside 0 … 1: its inverse would turn updates around.
        """
        for name, g in self._values.items():
            if g.min() < 0 or g.max() > 1:
                raise ValueError(
                    f"{name} has guide values of {float(g.min()):.3g} to {float(g.max()):.3g}; "
                    "only a guide within 0 … 1 has an inverse: use .focused() first"
                )
        return self._map(lambda g: 1 - g)

    def summary(self) -> pd.DataFrame:
        """One row a tensor, in the model's order.

        Columns: tensor; shape; size (number of values); mean, median, min, max of the values;
        near_zero, the share of values up to a hundredth of the tensor's largest; kept, the share
        of values that aren't 0.
        """
        import pandas as pd

        return pd.DataFrame([{"tensor": name, **_row(g)} for name, g in self._values.items()])

    def save(self, path: str | Path) -> None:
        """Write the guide, and what is known of its scouts, as a safetensors file.

        Raises:
            OSError: if the file can't be written.
        """
        from safetensors.torch import save_file

        metadata = {
            "format": _FORMAT,
            "names": json.dumps(list(self._values)),  # the file itself doesn't keep their order
            "scouts": json.dumps(self.scouts),
        }
        save_file(self._values, path, metadata=metadata)

    @classmethod
    def load(cls, path: str | Path) -> Guide:
        """The guide that `save` wrote, bit for bit.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is truncated or damaged, or isn't a guide.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != _FORMAT:
                    raise ValueError(f"{path} isn't a guide: it isn't marked as {_FORMAT!r}")
                values = {name: file.get_tensor(name) for name in json.loads(metadata["names"])}
        except SafetensorError as error:
            raise ValueError(
                f"{path} can't be read as a guide: it is truncated, damaged or another kind of "
                f"file ({error})"
            ) from None
        scouts = [ScoutRecord(tuple(row[0]), *row[1:]) for row in json.loads(metadata["scouts"])]
        return cls(values, scouts)

    def __eq__(self, other: object) -> bool:
        """Whether names, shapes and every value are the same; the scouts' records don't count."""
        if not isinstance(other, Guide):
            return NotImplemented
        return self._values.keys() == other._values.keys() and all(
            torch.equal(value, other._values[name]) for name, value in self._values.items()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        size = sum(value.numel() for value in self._values.values())
        return (
            f"Guide({len(self._values)} tensors, {size} values, mean {self.mean:.3g}, "
            f"{self.density:.1%} kept, {len(self.scouts)} scouts)"
        )

    def _map(self, rule: Callable[[Tensor], Tensor]) -> Guide:
        return Guide({name: rule(g) for name, g in self._values.items()}, self.scouts)


def _range(g: Tensor) -> tuple[Tensor, Tensor]:
    return g.min(), g.max()


def _over(g: Tensor, divisor: Tensor, instead: Tensor) -> Tensor:
    return g / divisor if divisor > 0 else instead


_Rule: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]  # of g, its min and its max

_FOCUS: dict[str, _Rule] = {
    "raw": lambda g, low, high: g,
    "zero_enforced": lambda g, low, high: g - low,
    "normalized": lambda g, low, high: _over(g, high, g),
    "zero_enforced_and_normalized": lambda g, low, high: _over(g - low, high - low, g),
}


def _freezing(g: Tensor, low: Tensor, high: Tensor) -> Tensor:
    rank = round(0.99 * (g.numel() - 1))
    return (g >= g.flatten().sort().values[rank]).float()


_TEMPERATURE: dict[str, _Rule] = {
    "freezing": _freezing,
    "icy": lambda g, low, high: 2 * (g - (high - low) / 2),
    "chilly": lambda g, low, high: g - low,
    "room": lambda g, low, high: g,
    "warm": lambda g, low, high: g / 2 + (high - low) / 2,
    "evaporating": lambda g, low, high: g / 4 + (high - low),
}


def _choice(what: str, name: str, choices: Mapping[str, T]) -> T:
    if name not in choices:
        raise ValueError(f"{what} is {name!r}; it must be one of {', '.join(choices)}")
    return choices[name]


def _row(g: Tensor) -> dict[str, object]:
    return {
        "shape": shape(g),
        "size": g.numel(),
        "mean": float(g.mean()),
        "median": float(g.median()),
        "min": float(g.min()),
        "max": float(g.max()),
        "near_zero": float((g <= g.max() / 100).float().mean()),
        "kept": float((g != 0).float().mean()),
    }
