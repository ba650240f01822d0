"""Tables: their numbers by hand from the records, their wording, and their formats."""

from __future__ import annotations

import io
import math
import os
import shutil
import stat
import subprocess
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from gtl_bench import metrics
from gtl_bench.errors import DataError, RunError, UsageError
from gtl_bench.report import RunInfo, StrategyInfo, tables, write_report
from gtl_bench.report.latex import escaped


def summary_of(records, info):
    return tables.summary(metrics.scalars(records, info.boundaries), info)


def text_of(records, info):
    return tables.summary_table(metrics.scalars(records, info.boundaries), records, info)


def differences_of(records, info, focus="gtl", metric="final_accuracy"):
    return tables.differences(metrics.scalars(records, info.boundaries), info, focus, metric)


def seeds_only(records, strategy, seeds):
    """The records with some seeds alone of one strategy."""
    return records[(records["strategy"] != strategy) | records["seed"].isin(seeds)]


def test_summary_can_be_recomputed_from_the_records_by_hand(four):
    records, info = four
    summary = summary_of(records, info)
    assert list(summary.index) == ["naive", "ewc", "si", "gtl"]
    for name in summary.index:
        rows = records[
            (records["strategy"] == name)
            & (records["metric"] == "accuracy")
            & (records["experience"] == -1)
            & (records["step"] == 200)
        ]
        values = rows["value"].to_numpy()
        assert len(values) == 5
        half = scipy_stats.t.ppf(0.975, 4) * values.std(ddof=1) / np.sqrt(5)
        assert summary.loc[name, "final_accuracy_mean"] == pytest.approx(values.mean())
        assert summary.loc[name, "final_accuracy_low"] == pytest.approx(values.mean() - half)
        assert summary.loc[name, "final_accuracy_high"] == pytest.approx(values.mean() + half)
        assert summary.loc[name, "seeds"] == 5


def test_half_life_is_a_median_with_its_range(four):
    records, info = four
    scalars = metrics.scalars(records, info.boundaries)
    scalars.loc[("gtl", 0), "retention_half_life"] = np.inf
    summary = tables.summary(scalars, info)
    values = sorted(scalars.loc["gtl", "retention_half_life"])
    row = summary.loc["gtl"]
    assert row["retention_half_life_median"] == values[2]
    assert (row["retention_half_life_min"], row["retention_half_life_max"]) == (values[0], np.inf)
    table = tables.summary_table(scalars, records, info)
    text = f"{values[2]:.0f} ({values[0]:.0f}–150+)"
    assert table.rows[3][table.header.index("Retention half-life (examples) ↑")] == text
    assert "150+: not reached" in " ".join(table.notes)


def test_summary_table_prints_percent_with_one_decimal(four):
    records, info = four
    summary = summary_of(records, info)
    table = text_of(records, info)
    assert table.header[:2] == ("Strategy", "Final accuracy (%) ↑")
    assert all(len(row) == len(table.header) for row in table.rows)
    mean, high = summary.loc["ewc", ["final_accuracy_mean", "final_accuracy_high"]]
    assert table.rows[1][:2] == ("EWC", f"{100 * mean:.1f} ± {100 * (high - mean):.1f}")
    backward = table.rows[0][table.header.index("Backward transfer (%) ↑")]
    assert backward.startswith("−")  # a minus, not a hyphen
    assert "Forgetting (%) ↓" in table.header


def test_captions_say_of_what_how_many_and_how(four):
    caption = text_of(*four).caption
    for part in (
        "split-digits (stand-in for split-mnist)",
        "default settings",
        "mean ± 95 % interval (Student's t) over 5 seeds",
        "Chance is 10.0 %",
    ):
        assert part in caption


def test_the_base_is_given_once(four):
    records, info = four
    first = records[(records["step"] == 0) & (records["experience"] == -1)]
    base = first[first["metric"] == "accuracy"].groupby("seed")["value"].first().mean()
    assert f"{100 * base:.1f} % on the test set" in " ".join(text_of(records, info).notes)


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ({"gtl": [0, 2, 4]}, "5 seeds (GTL 3 of 5)"),
        ({"gtl": [], "si": [1]}, "5 seeds (SI 1 of 5, GTL 0 of 5)"),
        ({name: [0, 1, 2] for name in ("naive", "ewc", "si", "gtl")}, "3 of 5 seeds."),
    ],
)
def test_fewer_seeds_than_asked_for_are_said(four, keep, expected):
    records, info = four
    for name, seeds in keep.items():
        records = seeds_only(records, name, seeds)
    assert expected in text_of(records, info).caption


def test_a_strategy_without_any_cell_keeps_an_empty_row(four):
    records, info = four
    records = records[records["strategy"] != "si"]
    table = text_of(records, info)
    assert set(table.rows[2]) == {"SI", "–"}
    assert summary_of(records, info).loc["si", "seeds"] == 0


def test_a_single_seed_has_no_interval(make_run):
    records, info = make_run(seeds=1)
    table = text_of(records, info)
    assert "±" not in "".join("".join(row) for row in table.rows)
    assert "from 1 seed." in table.caption


def test_one_experience_has_no_column_for_forgetting(make_run):
    table = text_of(*make_run(seeds=2, experiences=1, each=60))
    assert not [name for name in table.header if "Forgetting" in name or "transfer" in name]
    assert "no forgetting" in " ".join(table.notes)


def diverge(records, strategy, seed, step):
    """The records with one cell broken from a step on."""
    mine = (records["strategy"] == strategy) & (records["seed"] == seed)
    late = mine & (records["step"] >= step) & records["metric"].str.contains("accuracy")
    records = records.assign(value=records["value"].where(~late, 0.0))
    row = {"benchmark": "split-digits", "strategy": strategy, "seed": seed, "step": step}
    row |= {"metric": "diverged", "experience": -1, "value": 1.0}
    return pd.concat([records, pd.DataFrame([row])], ignore_index=True)


def test_diverged_runs_count_against_the_strategy_and_are_named(four):
    records, info = four
    broken = diverge(diverge(records, "si", 1, 30), "si", 4, 7)
    before, after = summary_of(records, info), summary_of(broken, info)
    assert after.loc["si", "final_accuracy_mean"] < before.loc["si", "final_accuracy_mean"]
    assert after.loc["si", "seeds"] == 5
    note = "SI diverged in 2 of 5 runs (seed 1 after step 30, seed 4 after step 7)"
    assert note in " ".join(text_of(broken, info).notes)
    differences = differences_of(broken, info)
    table = tables.differences_table(differences, broken, info, "gtl")
    assert note in " ".join(table.notes)


def test_differences_by_hand(four):
    records, info = four
    final = metrics.scalars(records, info.boundaries)["final_accuracy"]
    differences = differences_of(records, info)
    assert list(differences.index) == ["naive", "ewc", "si"]
    for name, row in differences.iterrows():
        expected = scipy_stats.ttest_rel(final["gtl"], final[name])
        interval = expected.confidence_interval()
        gap = final["gtl"] - final[name]
        assert row["difference"] == pytest.approx(gap.mean())
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
        assert row["p"] == pytest.approx(scipy_stats.wilcoxon(gap, method="exact").pvalue)
        assert row["probability_of_improvement"] == (gap > 0).mean()
        assert row["pairs"] == 5
    # All three have the same p here, 2/2⁵, and Holm's factor for the first of three is 3.
    assert differences["p_holm"].to_numpy() == pytest.approx(3 * differences["p"].to_numpy())


def test_differences_pair_by_seed_alone(four):
    records, info = four
    partial = seeds_only(seeds_only(records, "gtl", [0, 1, 2, 3]), "ewc", [1, 3, 4])
    final = metrics.scalars(records, info.boundaries)["final_accuracy"]
    differences = differences_of(partial, info)
    assert differences["pairs"].to_dict() == {"naive": 4, "ewc": 2, "si": 4}
    expected = np.mean([final["gtl", seed] - final["ewc", seed] for seed in (1, 3)])
    assert differences.loc["ewc", "difference"] == pytest.approx(expected)
    table = tables.differences_table(differences, partial, info, "gtl")
    assert "4 of 5 seeds (EWC 2 of 5)" in table.caption


def test_less_forgetting_is_better(four):
    records, info = four
    forgetting = metrics.scalars(records, info.boundaries)["forgetting"]
    row = differences_of(records, info, metric="forgetting").loc["naive"]
    share = (forgetting["gtl"] < forgetting["naive"]).mean()
    assert share > 0.5
    assert row["probability_of_improvement"] == share
    assert row["difference"] < 0


def test_differences_without_a_common_seed_are_empty_and_not_corrected_for(four):
    records, info = four
    partial = seeds_only(records, "ewc", [])
    differences = differences_of(partial, info)
    assert differences.loc["ewc", "pairs"] == 0
    assert differences.loc["ewc"].isna().sum() == 6
    assert differences.loc["naive", "p_holm"] == pytest.approx(2 * 0.0625)
    table = tables.differences_table(differences, partial, info, "gtl")
    assert table.rows[1] == ("EWC", "–", "–", "–", "0")
    assert "over 2 comparisons" in table.caption


def test_too_few_seeds_for_the_test_are_said(four, make_run):
    records, info = four
    table = tables.differences_table(differences_of(records, info), records, info, "gtl")
    notes = " ".join(table.notes)
    assert "5 seeds can give is 0.0625, 0.188 after the correction" in notes
    assert "cannot reach 0.05" in notes
    records, info = make_run(("naive", "gtl"), seeds=6)
    table = tables.differences_table(differences_of(records, info), records, info, "gtl")
    assert table.notes == ()


def test_strategies_that_are_the_same_are_not_told_apart(make_run):
    records, _ = make_run(("naive",), seeds=8)
    twin = records.assign(strategy="twin")
    both = (StrategyInfo("naive", "Naive"), StrategyInfo("twin", "Twin"))
    info = RunInfo("toy", ("a", "b", "c", "d", "e"), (40, 80, 120, 160, 200), both, 8, 0.1, "x")
    row = differences_of(pd.concat([records, twin]), info, "twin").loc["naive"]
    assert (row["difference"], row["p_holm"], row["probability_of_improvement"]) == (0, 1, 0.5)
    table = tables.differences_table(
        differences_of(pd.concat([records, twin]), info, "twin"), records, info, "twin"
    )
    assert table.rows[0][1] == "0.0 ± 0.0"


def test_accuracy_matrix_table(four):
    records, info = four
    table = tables.accuracy_matrix(records, info)
    assert len(table) == 4 * 6 * 5
    entry = table[
        (table["strategy"] == "si") & (table["after"] == "4/5") & (table["experience"] == "2/3")
    ]
    cells = metrics.curves(records, "accuracy", 1).loc["si"][120]
    assert entry["mean"].item() == pytest.approx(cells.mean())
    assert entry["step"].item() == 120
    assert entry["low"].item() < cells.mean() < entry["high"].item()


def plant(scalars, name, offset, noise=0.002, metric="final_accuracy"):
    """The first strategy's values with an offset, as another's."""
    rng = np.random.default_rng(sum(name.encode()))
    values = scalars.loc["naive", metric].to_numpy()
    scalars.loc[name, metric] = values + offset + rng.normal(0, noise, len(values))


def bold_in(table, column):
    return {row[0] for i, row in enumerate(table.rows) if (i, column) in table.bold}


def test_the_best_is_bold_and_so_is_what_is_not_told_from_it(make_run):
    records, info = make_run(seeds=10)
    scalars = metrics.scalars(records, info.boundaries)
    for name, offset in (("ewc", 0.05), ("si", 0.0501), ("gtl", 0.04)):
        plant(scalars, name, offset)
    for name, offset in (("ewc", 0.05), ("si", -0.03), ("gtl", 0.04)):
        plant(scalars, name, offset, metric="forgetting")
    table = tables.summary_table(scalars, records, info)
    assert bold_in(table, 1) == {"EWC", "SI"}
    assert bold_in(table, table.header.index("Forgetting (%) ↓")) == {"SI"}  # less is better
    assert bold_in(table, table.header.index("Retention half-life (examples) ↑")) == set()
    assert table.notes[1].startswith("Bold: the best mean, and those not told from it")
    numbers = tables.summary(scalars, info)
    assert set(numbers.index[numbers["final_accuracy_best"]]) == {"ewc", "si"}
    assert set(numbers.index[numbers["forgetting_best"]]) == {"si"}
    for text, escape, left, right in (
        (tables.to_markdown(table), str, "**", "**"),
        (tables.to_latex(table), escaped, r"\textbf{", "}"),
        (tables.to_html(table), str, "<strong>", "</strong>"),
    ):
        for line, column in table.bold:
            assert f"{left}{escape(table.rows[line][column])}{right}" in text
        assert text.count(left) == len(table.bold) * (2 if left == right else 1)


def test_with_too_few_seeds_the_best_alone_is_bold(make_run):
    # Three comparisons with the best: 3 · 2/2⁶ is above 0.05, 3 · 2/2⁷ is not.
    for seeds, others in ((6, set()), (7, {"SI"})):
        records, info = make_run(seeds=seeds)
        scalars = metrics.scalars(records, info.boundaries)
        for name, offset in (("ewc", 0.05), ("si", 0.0499), ("gtl", 0.0)):
            plant(scalars, name, offset, noise=0)
        scalars.loc[("si", 0), "final_accuracy"] += 0.0002
        table = tables.summary_table(scalars, records, info)
        assert bold_in(table, 1) == {"EWC"} | others
        if not others:
            assert "Bold: the best mean; 6 seeds cannot tell the others from it." in table.notes


def test_equal_means_are_bold_together(make_run):
    records, info = make_run(seeds=2)
    scalars = metrics.scalars(records, info.boundaries)
    plant(scalars, "gtl", 0.3, noise=0)
    scalars.loc["si", "final_accuracy"] = scalars.loc["gtl", "final_accuracy"].to_numpy()
    assert bold_in(tables.summary_table(scalars, records, info), 1) == {"SI", "GTL"}


def test_the_upper_line_is_never_bold_and_this_is_said(make_run):
    records, info = make_run(("naive", "gtl", "joint"), seeds=3)
    table = text_of(records, info)
    assert all("Joint" not in bold_in(table, column) for column in range(len(table.header)))
    assert any("Joint, which keeps every example, takes no part" in n for n in table.notes)


def test_a_strategy_alone_is_not_the_best(make_run):
    table = text_of(*make_run(("naive",), seeds=8))
    assert not table.bold
    assert not [note for note in table.notes if "Bold" in note]


def test_a_metric_that_nobody_has_is_nobodys_best(four):
    records, info = four
    scalars = metrics.scalars(records, info.boundaries).assign(forgetting=np.nan)
    assert tables.leaders(scalars, info, "forgetting") == tables.Leaders(frozenset(), False)


AWKWARD = tables.Table(
    name="awkward",
    caption="A & B: 5 % of {x}_y, a#b, $, ~, ^, \\",
    header=("Strategy", "Final accuracy (%) ↑", "p"),
    rows=(("my_method", "52.1 ± 1.3", "< 0.001"), ("a|b & c", "−3.0 – 150+", "…")),
    notes=("A × note.",),
    bold=frozenset({(1, 1)}),
)


def test_markdown_is_a_table():
    lines = tables.to_markdown(AWKWARD).splitlines()
    start = lines.index("| Strategy | Final accuracy (%) ↑ | p |")
    assert lines[start + 1] == "| --- | ---: | ---: |"
    assert lines[start + 2] == "| my_method | 52.1 ± 1.3 | < 0.001 |"
    assert lines[start + 3] == "| a\\|b & c | **−3.0 – 150+** | … |"
    assert lines[0] == AWKWARD.caption
    assert lines[-1] == "A × note."


def test_latex_escapes_what_latex_would_read():
    text = tables.to_latex(AWKWARD)
    assert "my\\_method & 52.1 $\\pm$ 1.3 & $<$ 0.001 \\\\" in text
    assert "a|b \\& c & \\textbf{$-$3.0 -- 150+} & \\dots{} \\\\" in text
    assert "A \\& B: 5 \\% of \\{x\\}\\_y, a\\#b, \\$, \\textasciitilde{}" in text
    assert text.isascii()
    assert [line for line in text.splitlines() if "rule" in line] == [
        "\\toprule",
        "\\midrule",
        "\\bottomrule",
    ]


def test_html_holds_every_text_escaped():
    text = tables.to_html(AWKWARD)
    tree = ElementTree.fromstring(text)  # well-formed
    rows = [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]
    assert rows == [list(row) for row in (AWKWARD.header, *AWKWARD.rows)]
    assert "<strong>−3.0 – 150+</strong>" in text
    assert len(list(tree.iter("strong"))) == 1
    assert "&lt; 0.001" in text
    assert tree.findtext("figcaption") == AWKWARD.caption
    assert [note.text for note in tree.iter("p")] == list(AWKWARD.notes)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not there")
def test_latex_compiles_with_booktabs_alone(four, tmp_path):
    records, info = four
    parts = [
        text_of(records, info),
        tables.differences_table(differences_of(records, info), records, info, "gtl"),
        AWKWARD,
    ]
    body = "\n".join(map(tables.to_latex, parts))
    source = "\\documentclass[twocolumn]{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    (tmp_path / "t.tex").write_text(f"{source}{body}\\end{{document}}\n")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_report_writes_what_it_says(four, tmp_path):
    records, info = four
    written = write_report(records, info, tmp_path / "new" / "report")
    found = {path for path in (tmp_path / "new" / "report").rglob("*") if path.is_file()}
    assert set(written) == found
    names = {str(path.relative_to(tmp_path / "new" / "report")) for path in found}
    kinds = ("accuracy", "retention", "forgetting", "accuracy_matrix")
    assert names == {
        *(f"figures/{kind}.{ending}" for kind in kinds for ending in ("pdf", "png")),
        *(
            f"tables/{table}.{e}"
            for table in ("summary", "differences")
            for e in ("csv", "md", "tex", "html")
        ),
        "tables/accuracy_matrix.csv",
        "tables/cells.csv",
        "tables/verdict.md",
    }
    summary = pd.read_csv(tmp_path / "new/report/tables/summary.csv", index_col="strategy")
    pd.testing.assert_frame_equal(summary, summary_of(records, info), check_exact=True)
    cells = pd.read_csv(tmp_path / "new/report/tables/cells.csv", index_col=["strategy", "seed"])
    expected = metrics.scalars(records, info.boundaries)
    pd.testing.assert_frame_equal(cells, expected, check_exact=True)
    markdown = (tmp_path / "new/report/tables/summary.md").read_text(encoding="utf-8")
    assert info.title in markdown


def test_the_same_records_give_the_same_bytes_in_any_order(four, tmp_path):
    records, info = four
    shuffled = records.sample(frac=1, random_state=1)
    once = write_report(records, info, tmp_path / "a", formats=("pdf",))
    again = write_report(shuffled, info, tmp_path / "b", formats=("pdf",))
    for one, other in zip(once, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_other_formats_and_a_focus_that_is_not_there(four, tmp_path):
    records, info = four
    written = write_report(records, info, tmp_path, formats=("svg",), focus="slda")
    endings = {path.suffix for path in written if path.parent.name == "figures"}
    assert endings == {".svg"}
    assert not any("differences" in path.name for path in written)


def test_one_experience_has_no_panels_to_draw(make_run, tmp_path):
    written = write_report(*make_run(seeds=2, experiences=1, each=30), tmp_path, formats=("png",))
    figures = {path.stem for path in written if path.parent.name == "figures"}
    assert figures == {"accuracy", "retention"}


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(four, tmp_path, monkeypatch):
    records, info = four
    old = tmp_path / "tables" / "summary.md"
    old.parent.mkdir()
    old.write_text("old")

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(RunError, match="No space left on device") as caught:
        write_report(records, info, tmp_path)
    assert "\n" not in str(caught.value)
    assert old.read_text() == "old"
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["summary.md"]


def test_a_folder_that_cannot_be_made_is_one_line(four, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can't write") as caught:
        write_report(*four, tmp_path / "file" / "report")
    assert "\n" not in str(caught.value)


def test_files_can_be_read_by_others(four, tmp_path):
    old_mask = os.umask(0o022)
    try:
        path = write_report(*four, tmp_path, formats=())[0]
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_records_of_another_run_are_refused(four, tmp_path):
    records, info = four
    stranger = records[records["strategy"] == "gtl"].assign(strategy="stranger")
    with pytest.raises(DataError, match="stranger"):
        write_report(pd.concat([records, stranger]), info, tmp_path)
    with pytest.raises(DataError, match="no cell of this run has finished"):
        write_report(records.iloc[:0], info, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_infinite_half_lives_survive_the_csv(four, tmp_path):
    records, info = four
    summary = summary_of(records, info)
    summary.loc["gtl", "retention_half_life_max"] = np.inf
    again = pd.read_csv(io.StringIO(summary.to_csv()))
    assert again["retention_half_life_max"].iloc[3] == np.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boundaries": (40, 40, 80, 120, 160)}, "must rise"),
        ({"boundaries": (0, 40, 80, 120, 160)}, "must rise"),
        ({"boundaries": (40,)}, "5 experiences with 1 boundaries"),
        ({"boundaries": (), "experiences": ()}, "at least one"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(four, change, message):
    settings = {name: getattr(four[1], name) for name in RunInfo.__dataclass_fields__}
    with pytest.raises(ValueError, match=message):
        RunInfo(**(settings | change))


@pytest.mark.parametrize(
    ("mean", "high", "text"),
    [
        (273.2, 280.8, "273 ± 8"),
        (1299.0, 1356.4, "1299 ± 57"),
        (99.96, 100.1, "100.0 ± 0.1"),
        (0.022, 0.0327, "0.0220 ± 0.0107"),
        (0.00677, 0.00817, "0.00677 ± 0.00140"),
        (0.00677, math.nan, "0.00677"),
        (0.0, 0.0, "0.00 ± 0.00"),
        (math.inf, math.nan, "∞"),
    ],
)
def test_an_interval_has_as_many_decimals_as_its_mean(mean: float, high: float, text: str) -> None:
    assert tables.three_figures(mean, high) == text
