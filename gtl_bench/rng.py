"""Named random generators: every draw comes from a seed and a name, never from the global state."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derived_seed(seed: int, name: str) -> int:
    """A seed in [0, 2**63) that depends on both arguments, on every platform alike."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class Rng:
    """The source of a cell's random generators.

    Two draws of different names are independent, and a draw added under a new name changes none of
    the others. Calling twice with one name gives two generators in the same state.
    """

    #: The seed of draws that are the same in every cell, such as the choice of the test images.
    FIXED = -1

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, name: str) -> torch.Generator:
        """A fresh generator on the CPU, seeded from this seed and `name`."""
        import torch

        return torch.Generator().manual_seed(derived_seed(self.seed, name))

    @classmethod
    def fixed(cls, name: str) -> torch.Generator:
        """A generator that depends on `name` alone."""
        return cls(cls.FIXED)(name)
