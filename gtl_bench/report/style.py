"""How figures look: size, fonts, one colour and line style a strategy, and how they are written."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib as mpl
import seaborn as sns
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from gtl_bench.report.info import StrategyInfo

SMALL = 6.0  # points; nothing is smaller, and figures are printed at the size they are drawn
NORMAL = 7.0
FONT = "DejaVu Sans"  # comes with matplotlib, so that a figure is the same on every machine

GREY = "0.45"  # what is not data: the chance level, leaders from lines to labels
PALE = "0.87"  # what must not draw the eye: boundaries, the period of an experience
SEQUENTIAL = "Blues"  # even in lightness, so that it reads the same in grey

METHOD_WIDTH = 1.3  # points
CONTROL_WIDTH = 0.9

Dashes = tuple[float, ...]


@dataclass(frozen=True)
class Look:
    """Colour and line of a strategy.

    Attributes:
        colour: a hex triplet.
        dashes: line and gap by turns, in multiples of the line's width; empty for a solid line.
        width: in points.
    """

    colour: str
    dashes: Dashes
    width: float


# One hue a family of methods, out of seaborn's and Okabe & Ito's colour-blind-safe palettes; within
# a family lightness differs. No two strategies share a rhythm of dashes, so that grey is enough.
_KNOWN: dict[str, tuple[str, Dashes]] = {
    "naive": ("#333333", (4, 1.5)),
    "ewc": ("#DE8F05", (5, 1.3, 1, 1.3)),
    "ewc-avalanche": ("#9C6500", (4, 5)),
    "si": ("#029E73", (1, 1.1)),
    "si-avalanche": ("#016F50", (1, 1, 1, 1, 1, 4)),
    "gtl": ("#0173B2", ()),
    "gtl-masked": ("#0B3C5D", (9, 1.8)),
    "gtl-masked-shuffled": ("#35618E", (1.5, 2, 6, 2)),
    "gtl-masked-scalar": ("#6A93BD", (14, 2.5)),
    "gtl-gradient": ("#4C5FA8", (6, 1.2, 2, 1.2)),
    "gtl-shuffled": ("#2F9BDC", (1.5, 2)),
    "gtl-scalar": ("#56B4E9", (10, 4)),
    "gtl-inverted": ("#7C9CC9", (8, 1.3, 3, 1.3)),
    "frozen": ("#949494", (3, 2.5)),
    "joint": ("#949494", (20, 3)),
    "replay": ("#D55E00", (2, 1.2)),
    "lwf": ("#CC78BC", (5, 1.3, 1, 1.3, 1, 1.3)),
    "mas": ("#8C3F7D", (9, 1.3, 1, 1.3)),
    "l2-anchor": ("#E377A2", (3, 1, 3, 4)),
    "first-layer": ("#CA9161", (3, 1.2, 1, 1.2)),
    "last-layer": ("#7A4A20", (9, 1.3, 1, 1.3, 1, 1.3)),
    "slda": ("#B8A500", (1, 1, 1, 3.5)),
    "ncm": ("#6F6400", (6, 1, 2, 1, 2, 1)),
    "feature-extraction": ("#1B5E4B", (2, 1, 6, 1)),
    "partial-finetune": ("#4F9D80", (8, 1, 1, 2.5)),
    "finetune-low-lr": ("#8CC4AE", (3, 1, 1, 1, 3, 3)),
    "from-scratch": ("#B5651D", (1, 3)),
}

# For everybody else's strategies: colours and rhythms that no known one has.
_SPARE = tuple(
    (colour, dashes)
    for dashes in ((6, 2.5), (2, 3), (4, 1, 1, 3), (12, 2, 2, 2), (2, 1, 2, 3.5))
    for colour in ("#5D3A9B", "#A50026", "#00798C", "#5B8C00", "#E66100")
)


def looks(strategies: Iterable[StrategyInfo]) -> dict[str, Look]:
    """A look for each strategy: always the same for a known one, and for the same name.

    A name that is not known takes the spare look that a checksum of it points to, or the next free
    one, so that it looks the same in every run but for a rare collision of two such names.

    Raises:
        ValueError: there are more unknown strategies than spare looks.
    """
    strategies = sorted(strategies, key=lambda strategy: strategy.name)
    chosen = {s.name: _KNOWN[s.name] for s in strategies if s.name in _KNOWN}
    for strategy in strategies:
        if strategy.name in _KNOWN:
            continue
        free = [look for look in _rotated(_SPARE, strategy.name) if look not in chosen.values()]
        if not free:
            raise ValueError(f"no more than {len(_SPARE)} unknown strategies fit into one figure")
        chosen[strategy.name] = free[0]
    return {
        strategy.name: Look(
            *chosen[strategy.name], CONTROL_WIDTH if strategy.control else METHOD_WIDTH
        )
        for strategy in strategies
    }


def _rotated(options: tuple[tuple[str, Dashes], ...], name: str) -> tuple[tuple[str, Dashes], ...]:
    start = zlib.crc32(name.encode()) % len(options)
    return options[start:] + options[:start]


@contextmanager
def rc(scale: float = 1.0) -> Iterator[None]:
    """Matplotlib's settings for print while the block runs; the caller's come back after it.

    Args:
        scale: how many times as large as in print everything is.
    """
    sizes = {
        "font.size": NORMAL,
        "axes.labelsize": NORMAL,
        "axes.titlesize": SMALL,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "legend.fontsize": SMALL,
        "axes.linewidth": 0.6,
        "axes.labelpad": 2.0,
        "axes.titlepad": 2.0,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.0,
        "xtick.minor.size": 1.2,
        "xtick.minor.width": 0.4,
        "ytick.major.size": 2.0,
        "xtick.major.pad": 1.5,
        "ytick.major.pad": 1.5,
    }
    fixed = {
        "font.family": "sans-serif",  # in pgf the document's own, narrower than FONT
        "font.sans-serif": FONT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.dash_capstyle": "butt",
        "text.parse_math": False,  # a label with two dollar signs is no formula
        "pdf.fonttype": 42,  # TrueType: what venues ask for, instead of matplotlib's Type 3
        "ps.fonttype": 42,
        "svg.hashsalt": "gtl-bench",  # ids in SVG files are random without it
        "pgf.rcfonts": False,
        "pgf.texsystem": "pdflatex",
    }
    scaled = {name: scale * size for name, size in sizes.items()}
    with mpl.rc_context(sns.axes_style("ticks") | scaled | fixed):
        yield


def text_width(text: str, size: float) -> float:
    """The width of a line of text in inches, at a size in points."""
    font = FontProperties(family=FONT, size=size)
    width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def cut(text: str, size: float, width: float) -> str:
    """The text, or as much of its beginning as fits into a width in inches."""
    kept = text
    while text_width(text, size) > width and kept:
        kept = kept[:-1]
        text = f"{kept}…"
    return text


def wrapped(text: str, size: float, width: float) -> list[str]:
    """The text in lines no wider than a width in inches; a word that is wider is cut."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(cut(word, size, width))
    return lines
