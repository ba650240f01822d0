"""What a report has to know about a run beside its records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from gtl_bench.report.kinds import Kind

FORMATS = ("pdf", "svg", "png", "pgf")  # of figures; png has 300 dots an inch
Column = Literal["single", "double"]  # how many columns of a page a figure spans
Medium = Literal["paper", "slides"]  # what a figure is made for


@dataclass(frozen=True)
class Layout:
    """How wide a figure is.

    Attributes:
        column: the width of one column of a paper, or of both.
        medium: for slides a figure is laid out as for paper and drawn two or three times as large,
            as wide as a slide, with text that can be read from the back of a room.
    """

    column: Column = "single"
    medium: Medium = "paper"

    @property
    def width(self) -> float:
        """In inches of print: a column of the usual venues, or two with the gap between them."""
        return {"single": 3.25, "double": 6.75}[self.column]

    @property
    def scale(self) -> float:
        """How many times as large as in print it is drawn."""
        return 1.0 if self.medium == "paper" else {"single": 3.0, "double": 1.9}[self.column]


PRINT = Layout()


DEFAULT_FOCUS = "gtl"  # the strategy that a report judges where nothing else is asked for


@dataclass(frozen=True)
class StrategyInfo:
    """How a strategy is called and drawn.

    Attributes:
        name: its name in the records.
        label: its name in figures and tables.
        control: it exists to rule out an explanation, and is drawn thinner than the methods.
    """

    name: str
    label: str
    control: bool = False


@dataclass(frozen=True)
class RunInfo:
    """A run, as its figures and tables present it.

    Attributes:
        title: the benchmark, as every title and caption shows it; a stand-in is named here.
        experiences: E names, such as "0/1".
        boundaries: E numbers, the step at which each experience ends (in a stream, the examples
            seen by then, which rise); the last one is T.
        strategies: in the order in which they are shown.
        seeds: the number of seeds asked for.
        chance: the accuracy of guessing, 0 to 1.
        regime: how hyperparameters were set, such as "default settings".
        each_tuned: every strategy that searches hyperparameters has its own from a search.
        kind: of the experiment (`gtl_bench.report.kinds`).
        more: what reports of this kind need to know beside.
    """

    title: str
    experiences: tuple[str, ...]
    boundaries: tuple[int, ...]
    strategies: tuple[StrategyInfo, ...]
    seeds: int
    chance: float
    regime: str
    each_tuned: bool = True
    kind: str = "stream"
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reported(self) -> Kind:
        """How experiments of this kind are reported."""
        from gtl_bench.report.kinds import kind_of

        return kind_of(self.kind)

    def __post_init__(self) -> None:
        if not self.boundaries or len(self.experiences) != len(self.boundaries):
            raise ValueError(
                f"{len(self.experiences)} experiences with {len(self.boundaries)} boundaries: "
                f"each experience needs a name and an end, and there is at least one"
            )
        starts = (0, *self.boundaries)
        rise = all(start < end for start, end in zip(starts, self.boundaries, strict=False))
        if self.kind == "stream" and not rise:
            raise ValueError(f"the boundaries {self.boundaries} must rise from above 0")

    def label(self, name: str) -> str:
        """How a strategy of the run is called."""
        return next(strategy.label for strategy in self.strategies if strategy.name == name)

    def among(self, names: Iterable[str]) -> list[StrategyInfo]:
        """The strategies with these names, in the order in which they are shown."""
        found = set(names)
        return [strategy for strategy in self.strategies if strategy.name in found]

    def comparable(self, name: str) -> bool:
        """Whether a strategy is in the run, and another one beside it."""
        return name in {s.name for s in self.strategies} and len(self.strategies) > 1

    def seeds_text(self, counts: Mapping[str, int]) -> str:
        """How many seeds there are of how many asked for, such as "3 of 5 seeds".

        Args:
            counts: strategy name -> number of seeds that there are; 0 where it is left out.
        """
        found = {strategy: counts.get(strategy.name, 0) for strategy in self.strategies}
        most = max(found.values())
        text = f"{most} seed" + ("s" if most != 1 else "")
        if most < self.seeds:
            text = f"{most} of {self.seeds} seeds"
        fewer = [f"{s.label} {n} of {self.seeds}" for s, n in found.items() if n < most]
        return text + (f" ({', '.join(fewer)})" if fewer else "")
