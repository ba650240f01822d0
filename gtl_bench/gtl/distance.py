"""Guides by distance: which parameters may change depends on how far the learner has come.

The paper (arXiv 2303.16154) announces, without defining them, several guides for one base, told
apart by distance. Read here as follows. While a scout trains, a snapshot is taken after each epoch.
Snapshots are sorted into shells around the base by their Euclidean distance from it, and each shell
gets its own raw guide: the mean, over its snapshots, of the displacement from the base. A learner
uses the guide of the shell it is in, and switches as it moves away (`DistanceGTLPlugin`).

Why distance rather than training time: a learner of single examples takes other steps than a scout
does, and how far it has come is what the two have in common. Why a switch rather than a blend: each
guide in use is then one that scouts measured, and focus scales every shell by itself, without which
the outer ones, whose displacements are larger, would drown the inner ones.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gtl_bench.gtl.displacement import MeanDisplacement, Measure, Weights, displacements, length
from gtl_bench.gtl.guide import Guide, ScoutRecord
from gtl_bench.gtl.scouts import Source, send


@dataclass(frozen=True)
class DistanceGuides:
    """One guide for each shell around the base.

    Attributes:
        guides: innermost first; one more than there are radii.
        radii: where one shell ends and the next begins, ascending, in the units of the weights. A
            distance equal to a radius belongs to the outer shell.
    """

    guides: tuple[Guide, ...]
    radii: tuple[float, ...]

    def __post_init__(self) -> None:
        if any(a >= b for a, b in itertools.pairwise((0.0, *self.radii))):
            raise ValueError(f"radii are {self.radii}; they must be above 0 and ascend")
        if len(self.guides) != len(self.radii) + 1:
            raise ValueError(
                f"{len(self.radii)} radii part {len(self.radii) + 1} guides, "
                f"{len(self.guides)} were given"
            )

    @classmethod
    def from_snapshots(
        cls,
        base: Weights,
        snapshots: Iterable[Weights],
        radii: Sequence[float],
        measure: Measure = "squared",
    ) -> DistanceGuides:
        """Raw guides from snapshots of scouts, of any scouts and in any order.

        Args:
            base: what the scouts set out from: a module, or a mapping name -> tensor.
            snapshots: modules or mappings, read one at a time as in `Guide.from_scouts`.
            radii: where one shell ends and the next begins, ascending.
            measure: "squared" or "absolute".

        Raises:
            ValueError: as `Guide.from_scouts`, and if a shell has no snapshot.
        """
        shells = _Shells(radii, measure)
        for index, displacement in enumerate(displacements(base, snapshots)):
            shells.add(displacement, f"snapshot {index}")
        return shells.guides()

    def at(self, distance: float) -> Guide:
        """The guide for a learner at this Euclidean distance from where it started."""
        return self.guides[bisect.bisect_right(self.radii, distance)]

    def map(self, change: Callable[[Guide], Guide]) -> DistanceGuides:
        """The same shells with each guide changed: `guides.map(Guide.focused)`."""
        return DistanceGuides(tuple(change(guide) for guide in self.guides), self.radii)


def scout_by_distance(
    model: nn.Module, source_dataset: Source, *, radii: Sequence[float], **options: Any
) -> DistanceGuides:
    """Send scouts, and make one raw guide for each shell that their paths cross.

    Args:
        model: as for `scout`.
        source_dataset: as for `scout`.
        radii: where one shell ends and the next begins, ascending. How far scouts come stands in
            the records of an ordinary guide: `[s.distance for s in scout(...).scouts]`.
        options: all other options of `scout`.

    Raises:
        ValueError: as `scout`, and if no snapshot lies in one of the shells.
    """
    shells = _Shells(radii, options.pop("measure", "squared"))
    records = []
    for snapshot in send(model, source_dataset, every_epoch=True, **options):
        shells.add(snapshot.displacement, f"scout {snapshot.scout}")
        if snapshot.record is not None:
            records.append((snapshot.scout, snapshot.record))
    return shells.guides(record for _, record in sorted(records))


class _Shells:
    def __init__(self, radii: Sequence[float], measure: Measure) -> None:
        self.radii = tuple(radii)
        self.means = [MeanDisplacement(measure) for _ in range(len(self.radii) + 1)]
        self.distances: list[float] = []

    def add(self, displacement: Mapping[str, Tensor], who: str) -> None:
        self.distances.append(length(displacement))
        self.means[bisect.bisect_right(self.radii, self.distances[-1])].add(displacement, who)

    def guides(self, scouts: Iterable[ScoutRecord] = ()) -> DistanceGuides:
        for inner, outer, mean in zip((0.0, *self.radii), (*self.radii, math.inf), self.means):
            if not mean.count:
                raise ValueError(
                    f"no snapshot is {inner:.3g} to {outer:.3g} from the base: choose other radii "
                    f"(the {len(self.distances)} snapshots are {min(self.distances):.3g} to "
                    f"{max(self.distances):.3g} away)"
                )
        records = tuple(scouts)
        return DistanceGuides(tuple(Guide(m.mean(), records) for m in self.means), self.radii)
