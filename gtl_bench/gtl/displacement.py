"""How far scouts moved from their base: what a raw guide is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

Measure: TypeAlias = Literal["squared", "absolute"]
Weights: TypeAlias = nn.Module | Mapping[str, Tensor]

# The buffers of PyTorch's normalization layers: in a plain state_dict only their names tell.
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


class MeanDisplacement:
    """The mean over scouts of (scout − base)² or |scout − base|, for each parameter.

    It takes one scout at a time, so that no more than one has to be held.

    Args:
        measure: "squared" (arXiv 2303.16154) or "absolute".

    Raises:
        ValueError: for another measure.
    """

    def __init__(self, measure: Measure = "squared") -> None:
        if measure not in ("squared", "absolute"):
            raise ValueError(f"measure is {measure!r}; it must be squared or absolute")
        self._squared = measure == "squared"
        self._sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, displacement: Mapping[str, Tensor], who: str) -> None:
        """Add scout − base of one scout.

        Args:
            displacement: name -> tensor, the same names and shapes each time.
            who: the scout as an error calls it, such as "scout 3".

        Raises:
            ValueError: if the scout isn't finite: it diverged.
        """
        for name, moved in displacement.items():
            if not torch.isfinite(moved.sum()):
                raise ValueError(f"{who} diverged ({name} isn't finite): lower its learning rate")
            if name not in self._sums:
                self._sums[name] = torch.zeros_like(moved)
            self._sums[name].addcmul_(moved, moved if self._squared else moved.sign())
        self.count += 1

    def mean(self) -> dict[str, Tensor]:
        """The mean over the scouts added so far (name -> tensor, float32, on the CPU).

        Raises:
            ValueError: if none was added.
        """
        if not self.count:
            raise ValueError("there is no scout to make a guide from: give at least one")
        return {name: (total / self.count).float().cpu() for name, total in self._sums.items()}


def displacements(base: Weights, scouts: Iterable[Weights]) -> Iterable[dict[str, Tensor]]:
    """scout − base for each scout in turn (name -> float64 tensor on the CPU).

    The base is copied before the first scout is asked for, and each scout is read as it comes: an
    iterator may train and yield one and the same module object again and again, the base's own
    included.

    Args:
        base: a module, or a mapping name -> tensor.
        scouts: modules or mappings.

    Raises:
        ValueError: if a sequence of scouts holds the same tensors twice, or the base's own; if a
            scout lacks a parameter of the base or has it in another shape; or if the base has no
            trainable parameter.
    """
    if isinstance(scouts, Sequence):
        _refuse_aliases(base, scouts)
    start = trainable(base)
    if not start:
        raise ValueError("the base has no trainable parameter: there is nothing to guide")
    return _displacements(start, scouts)


def _displacements(
    start: Mapping[str, Tensor], scouts: Iterable[Weights]
) -> Iterable[dict[str, Tensor]]:
    for index, scout in enumerate(scouts):
        end = _parameters(scout)
        for name, value in start.items():
            if name not in end:
                raise ValueError(f"scout {index} has no {name}, a parameter of the base")
            if end[name].shape != value.shape:
                raise ValueError(
                    f"{name} is {shape(value)} in the base and {shape(end[name])} in scout {index}"
                )
        yield {name: _double(end[name]) - value for name, value in start.items()}


def trainable(weights: Weights) -> dict[str, Tensor]:
    """A float64 copy, on the CPU, of the trainable parameters; buffers are left out.

    Of a mapping, everything that floats counts as trainable but the buffers that PyTorch's
    normalization layers leave in a state_dict.
    """
    return {
        name: _double(value).clone()
        for name, value in _parameters(weights).items()
        if value.numel() and (value.requires_grad or not isinstance(weights, nn.Module))
    }


def length(displacement: Mapping[str, Tensor]) -> float:
    """The Euclidean length of a displacement over all its tensors."""
    norms = [torch.linalg.vector_norm(moved) for moved in displacement.values()]
    return float(torch.linalg.vector_norm(torch.stack(norms)))


def shape(tensor: Tensor) -> str:
    """A shape as people write it, such as "256 × 784"."""
    return " × ".join(str(size) for size in tensor.shape) or "a single number"


def _double(value: Tensor) -> Tensor:
    return value.detach().cpu().double()


def _parameters(weights: Weights) -> dict[str, Tensor]:
    if isinstance(weights, nn.Module):
        return dict(weights.named_parameters())
    return {
        name: value
        for name, value in weights.items()
        if value.is_floating_point() and name.rpartition(".")[2] not in _BUFFERS
    }


def _refuse_aliases(base: Weights, scouts: Sequence[Weights]) -> None:
    seen = {_storage(base): "the base"}
    for index, scout in enumerate(scouts):
        first = seen.setdefault(_storage(scout), f"scout {index}")
        if first != f"scout {index}":
            raise ValueError(
                f"scout {index} and {first} are the same tensors, so only their last values are "
                "left: give copies, or an iterator that yields each scout once it is trained"
            )


def _storage(weights: Weights) -> tuple[int, ...]:
    return tuple(tensor.data_ptr() for tensor in _parameters(weights).values())
