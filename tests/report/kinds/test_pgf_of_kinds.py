"""Figures of all kinds as pgf: names that LaTeX would read as commands, and names it can't set."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from test_figures import LATEX_WITH_PGF
from test_pages_of_kinds import PLANTED

from gtl_bench.errors import UsageError
from gtl_bench.report import StrategyInfo, figures
from gtl_bench.report.kinds import batch
from gtl_bench.report.sheet import save

pytestmark = pytest.mark.skipif(
    not LATEX_WITH_PGF, reason="pdflatex with the package pgf is not there"
)

AWKWARD = "50 % & {x}_$^~#\\"
IN_LATEX = "50 \\% \\& \\{x\\}\\_\\$\\textasciicircum{}\\textasciitilde{}\\#\\textbackslash{}"


def relabelled(run, text=AWKWARD):
    records, info = run
    strategies = (StrategyInfo(info.strategies[0].name, text), *info.strategies[1:])
    return records, replace(info, strategies=strategies)


def compiles(folder, names):
    inputs = "\\clearpage".join(f"\\input{{{name}.pgf}}" for name in names)
    source = f"\\documentclass{{article}}\\usepackage{{pgf}}\\begin{{document}}{inputs}"
    (folder / "t.tex").write_text(f"{source}\\end{{document}}\n")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_awkward_names_are_escaped_wherever_they_stand(tmp_path, eighteen, four):
    records, info = relabelled(four)
    drawn = {
        "matrix": figures.accuracy_matrix(records, replace(info, experiences=(AWKWARD[:4],) * 5)),
        "forgetting": figures.forgetting(*relabelled(eighteen)),
    }
    for kind, planted in PLANTED.items():
        run = relabelled(planted())
        for draw in run[1].reported.figures(run[1]):
            drawn[f"{kind}-{draw.__name__}"] = draw(*run)
    for name, figure in drawn.items():
        before = [[tick.get_text() for tick in ax.get_yticklabels()] for ax in figure.axes]
        save(figure, tmp_path / f"{name}.pgf", "pgf")
        assert IN_LATEX in (tmp_path / f"{name}.pgf").read_text(encoding="utf-8"), name
        after = [[tick.get_text() for tick in ax.get_yticklabels()] for ax in figure.axes]
        assert after == before
    compiles(tmp_path, drawn)


def test_a_name_that_latex_lacks_letters_for_is_one_line(tmp_path):
    figure = batch.final_accuracy(*relabelled(PLANTED["batch"](), "GTL β"))
    with pytest.raises(UsageError, match="LaTeX can't set a text of this figure") as caught:
        save(figure, tmp_path / "figure.pgf", "pgf")
    assert "U+03B2" in str(caught.value)
    assert "\n" not in str(caught.value)
    save(figure, tmp_path / "figure.pdf", "pdf")
