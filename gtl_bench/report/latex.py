"""Text as LaTeX."""

from __future__ import annotations

_LATEX = {
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "±": "$\\pm$",
    "−": "$-$",
    "×": "$\\times$",
    "<": "$<$",
    ">": "$>$",
    "↑": "$\\uparrow$",
    "↓": "$\\downarrow$",
    "…": "\\dots{}",
    "\N{NO-BREAK SPACE}": "~",
    "–": "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escaped(text: str) -> str:
    """The text with every character that LaTeX would read, or lacks, as a command."""
    return "".join(_LATEX.get(character, character) for character in text)
