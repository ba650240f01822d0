"""The repository holds the study, and what README and results/README.md say is what it shows."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

from gtl_bench import load_results, stats
from gtl_bench.recipes import discover
from gtl_bench.reference import LADDERS, STUDY, Ladder, Row, together
from gtl_bench.report.run import Run, load_run
from gtl_bench.store import RunFolder

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
REFERENCE = ROOT / "results" / "reference"


@cache
def run(folder: str) -> Run:
    return load_run(RunFolder(REFERENCE / folder))


def final(folder: str) -> pd.Series:
    """Final accuracy (%) by strategy and seed, from the records alone."""
    records = load_results(REFERENCE / folder)
    rows = records.query("metric == 'accuracy' and experience == -1 and step == step.max()")
    series = rows.set_index(["strategy", "seed"])["value"] * 100
    assert isinstance(series, pd.Series)
    return series


@pytest.mark.parametrize("row", STUDY, ids=lambda row: row.folder)
def test_a_run_of_the_study_is_here_whole(row: Row) -> None:
    strategies = row.strategies or discover().benchmark(row.benchmark).strategies
    cells = run(row.folder).scalars.index
    assert set(cells) == {(name, seed) for name in strategies for seed in range(row.seeds)}
    assert f"| `{row.folder}` |" in RESULTS


@pytest.mark.parametrize("ladder", LADDERS, ids=lambda ladder: ladder.folder)
def test_a_sweep_of_the_study_is_here_whole(ladder: Ladder) -> None:
    table = pd.read_csv(REFERENCE / ladder.folder / "tables" / "sweep.csv")
    asked = {
        (name, float(value), seed)
        for name in ladder.strategies
        for value in ladder.values
        for seed in range(ladder.seeds)
    }
    cells = set(table[["strategy", "value", "seed"]].itertuples(index=False, name=None))
    assert asked <= cells
    assert len(cells - asked) <= len(ladder.strategies) * ladder.seeds, "each one's own value"
    assert f"| `{ladder.folder}` |" in RESULTS


def test_the_streams_are_reported_together() -> None:
    for report, folders in together(REFERENCE).items():
        page = (report / "index.html").read_text(encoding="utf-8")
        table = pd.read_csv(report / "tables" / "benchmarks.csv")
        for folder in folders:
            assert run(folder.name).info.title in page
        assert len(folders) == 3
        assert f"`{report.name}`" in RESULTS
        assert not table.empty


def test_final_accuracies_and_their_difference() -> None:
    means = final("main-job").groupby("strategy").mean()
    claimed = re.findall(r"([\d.]+) % for (naive|GTL|EWC|SI|the frozen base)\b", figure_text())
    names = {"naive": "naive", "GTL": "gtl", "EWC": "ewc", "SI": "si", "the frozen base": "frozen"}
    assert len(claimed) == 5
    for number, label in claimed:
        assert float(number) == pytest.approx(means[names[label]], abs=0.051)
    [points] = re.findall(r"([\d.]+) points below naive", figure_text())
    assert float(points) == pytest.approx(means["naive"] - means["gtl"], abs=0.051)


def test_matched_comparison() -> None:
    means = final("split-mnist-matched").groupby("strategy").mean()
    [above] = re.findall(r"([\d.]+) points above naive", figure_text())
    assert float(above) == pytest.approx(means["gtl"] - means["naive"], abs=0.051)


def test_peaks_along_the_ladder_of_rates() -> None:
    table = pd.read_csv(REFERENCE / "split-mnist-lr" / "tables" / "sweep.csv")
    means = table.groupby(["strategy", "value"])["final_accuracy"].mean() * 100
    peaks = [means[name].max() for name in ("naive", "gtl-scalar", "gtl")]
    pattern = r"peaks at ([\d.]+) %, .*? at ([\d.]+) %, and GTL at ([\d.]+) %"
    [claimed] = re.findall(pattern, figure_text())
    assert [float(number) for number in claimed] == pytest.approx(peaks, abs=0.051)


@pytest.mark.parametrize(
    ("pattern", "folder", "strategy", "other"),
    [
        (r"as published ends at ([\d.]+) % on `split-mnist`", "split-mnist", "gtl", None),
        (r"`split-mnist`, ([\d.]+) points below naive", "split-mnist", "naive", "gtl"),
        (r"controls: ([\d.]+) points below its mean", "split-mnist", "gtl-scalar", "gtl"),
        (r"scalar, ([\d.]+) below the inverted", "split-mnist", "gtl-inverted", "gtl"),
        (r"GTL ends ([\d.]+) points above naive", "split-mnist-matched", "gtl", "naive"),
        (r"ends ([\d.]+) points above its scalar", "split-mnist-matched", "gtl", "gtl-scalar"),
        (r"takes no rate, ends at ([\d.]+) %", "split-mnist", "slda", None),
        (r"class mean at ([\d.]+) %", "split-mnist", "ncm", None),
        (r"small buffer at ([\d.]+) %", "split-mnist", "replay", None),
        (r"upper line at ([\d.]+) %", "split-mnist", "joint", None),
        (r"cost more: it ends at ([\d.]+) %", "stream-mnist", "gtl", None),
        (r"%, ([\d.]+) points below naive fine-tuning \(75", "stream-mnist", "naive", "gtl"),
        (r"naive fine-tuning \(([\d.]+) %; 95", "stream-mnist", "naive", None),
        (r"and ([\d.]+) below its scalar control\. EWC", "stream-mnist", "gtl-scalar", "gtl"),
        (r"first layer alone at ([\d.]+) %", "stream-mnist", "first-layer", None),
        (r"SLDA's ([\d.]+) %", "stream-mnist", "slda", None),
        (r"one seed of 20 \(([\d.]+) %", "stream-mnist", "mas", None),
        (r"on two \(([\d.]+) %", "stream-mnist", "replay", None),
        (r"GTL ends ([\d.]+) points below naive", "stream-mnist-matched", "naive", "gtl"),
        (r"and ([\d.]+) above its scalar", "stream-mnist-matched", "gtl", "gtl-scalar"),
        (r"and ([\d.]+) above its scalar", "stream-mnist-matched", "gtl", "gtl-shuffled"),
        (r"needs no file, GTL ends at ([\d.]+) %", "split-digits", "gtl", None),
        (r"%, ([\d.]+) points below naive fine-tuning and", "split-digits", "naive", "gtl"),
        (r"and ([\d.]+) below its scalar control; SLDA", "split-digits", "gtl-scalar", "gtl"),
        (r"; SLDA ends at ([\d.]+) %", "split-digits", "slda", None),
        (r"joint training \(([\d.]+) %\)", "split-digits", "joint", None),
        (r"naive fine-tuning \(([\d.]+) points above", "split-digits-matched", "gtl", "naive"),
    ],
)
def test_what_results_say_of_the_streams(
    pattern: str, folder: str, strategy: str, other: str | None
) -> None:
    [claimed] = re.findall(pattern, RESULTS)
    means = final(folder).groupby("strategy").mean()
    assert float(claimed) == pytest.approx(means[strategy] - means.get(other, 0.0), abs=0.051)


def test_interval_of_the_difference() -> None:
    table = final("main-job").unstack("strategy")
    low, high = stats.mean_interval((table["naive"] - table["gtl"]).to_numpy())[1:]
    [(a, b)] = re.findall(r"below naive.*?95 % interval ([\d.]+) to ([\d.]+)", figure_text())
    assert (float(a), float(b)) == pytest.approx((low, high), abs=0.051)


def figure_text() -> str:
    """What the README says of its figure."""
    return README.partition("so everywhere.")[2].partition("\n## ")[0]


def experiment_text(title: str) -> str:
    """The README's paragraph on an experiment."""
    return README.partition(f"**{title}**")[2].partition("\n\n")[0]


def mean(folder: str, metric: str, strategy: str, scale: float = 100) -> float:
    return float(run(folder).scalars[metric].loc[strategy].mean() * scale)


def difference(folder: str, metric: str, one: str, other: str) -> list[float]:
    """Percentage points by which one strategy is above another, and the interval's ends."""
    table = run(folder).scalars[metric].unstack("strategy")
    return [100 * float(part) for part in stats.mean_interval((table[one] - table[other]).dropna())]


def test_local_minima() -> None:
    text = experiment_text("Local minima")
    found = re.search(
        r"of ([\d,]+) networks.*? ([\d.]+) % stall \(95 % interval ([\d.]+) to ([\d.]+)\), and "
        r"([\d.]+) % without guides.*?another ([\d.]+) % had not",
        text,
    )
    assert found is not None
    numbers = (number.replace(",", "") for number in found.groups())
    networks, stalled, low, high, unguided, waiting = map(float, numbers)
    assert networks == 100 * len(run("xor").scalars.loc["gtl"])
    assert stalled == pytest.approx(mean("xor", "stalled", "gtl"), abs=0.051)
    assert unguided == pytest.approx(mean("xor", "stalled", "naive"), abs=0.051)
    count = round(mean("xor", "stalled", "gtl", networks))
    wilson = stats.share_interval(count, int(networks))
    assert (low, high) == pytest.approx((100 * wilson.low, 100 * wilson.high), abs=0.051)
    left = 100 - mean("xor", "solved", "gtl") - mean("xor", "stalled", "gtl")
    assert waiting == pytest.approx(left, abs=0.051)


def test_cousins_at_tuned_rates() -> None:
    found = re.search(
        r"is ([\d.]+) with guides and ([\d.]+) without \(([\d.]+) lower, 95 % interval ([\d.]+) to "
        r"([\d.]+); accuracy ([\d.]+) % and ([\d.]+) %; 16 seeds\), and neither a smaller step "
        r"\(([\d.]+)\) nor the guide shuffled \(([\d.]+)\).*?tuned rates \(([\d.]+)\)",
        experiment_text("Cousins"),
    )
    assert found is not None
    guided, alone, *lower, accuracy, accuracy_alone, scalar, shuffled, gradient = map(
        float, found.groups()
    )
    lossy = difference("binary-patterns", "final_loss", "naive", "gtl")
    assert lower == pytest.approx([part / 100 for part in lossy], abs=5.1e-5)
    names = ("gtl", "naive", "gtl-scalar", "gtl-shuffled", "gtl-gradient")
    losses = [mean("binary-patterns", "final_loss", name, 1) for name in names]
    assert [guided, alone, scalar, shuffled, gradient] == pytest.approx(losses, abs=5.1e-5)
    shares = [mean("binary-patterns", "final_accuracy", name) for name in ("gtl", "naive")]
    assert [accuracy, accuracy_alone] == pytest.approx(shares, abs=0.051)


def test_cousins() -> None:
    text = experiment_text("Cousins")
    found = re.search(
        r"\(([\d.]+) after 20 epochs, ([\d.]+) without guides; accuracy ([\d.]+) % and ([\d.]+) %; "
        r"16 seeds\), but a smaller step makes (\d+) % of that gain, and the guide shuffled "
        r"(\d+) %",
        text,
    )
    assert found is not None
    guided, alone, accuracy, accuracy_alone, scalar, shuffled = map(float, found.groups())
    losses = {
        name: mean("binary-patterns-matched", "final_loss", name, 1)
        for name in ("gtl", "naive", "gtl-scalar", "gtl-shuffled", "gtl-gradient")
    }
    assert (guided, alone) == pytest.approx((losses["gtl"], losses["naive"]), abs=5.1e-5)
    gain = losses["naive"] - losses["gtl"]
    for share, name in ((scalar, "gtl-scalar"), (shuffled, "gtl-shuffled")):
        assert share == pytest.approx(100 * (losses["naive"] - losses[name]) / gain, abs=0.51)
    for number, name in ((accuracy, "gtl"), (accuracy_alone, "naive")):
        claimed = mean("binary-patterns-matched", "final_accuracy", name)
        assert number == pytest.approx(claimed, abs=0.051)
    [gradient] = re.findall(r"no guides there \(loss ([\d.]+)", text)
    assert float(gradient) == pytest.approx(losses["gtl-gradient"], abs=5.1e-5)


@pytest.mark.parametrize(
    ("title", "pattern", "folder", "metric", "above", "below"),
    [
        (
            "Transfer-learning choices",
            r"is ([\d.]+) points above the upper layers \(95 % interval ([\d.]+) to ([\d.]+)\)",
            *("transfer-matrix", "many_far", "naive", "partial-finetune"),
        ),
        (
            "Transfer-learning choices",
            r"alone is ([\d.]+) points below the upper layers \(([\d.]+) to ([\d.]+)\)",
            *("transfer-matrix", "few_near", "partial-finetune", "feature-extraction"),
        ),
        (
            "Transfer-learning choices",
            r"layers are ([\d.]+) points below everything \(([\d.]+) to ([\d.]+)\)",
            *("transfer-matrix", "few_far", "naive", "partial-finetune"),
        ),
        (
            "Transfer-learning choices",
            r"GTL ends ([\d.]+) points below .*? \(([\d.]+) to ([\d.]+)\)",
            *("transfer-matrix", "mean_accuracy", "naive", "gtl"),
        ),
        (
            "One-shot learning",
            r"with guides \(([\d.]+) points below, 95 % interval ([\d.]+) to ([\d.]+)\)",
            *("oneshot-omniglot", "final_accuracy", "naive", "gtl"),
        ),
        (
            "One-shot learning",
            r"At a rate of 0.3 for all it ends ([\d.]+) points below \(([\d.]+) to ([\d.]+)\)",
            *("oneshot-omniglot-matched", "final_accuracy", "naive", "gtl"),
        ),
        (
            "One-shot learning",
            r"On digits it ends ([\d.]+) points below .*? \(([\d.]+) to ([\d.]+);",
            *("oneshot-digits", "final_accuracy", "naive", "gtl"),
        ),
        (
            "One-shot learning",
            r"there ([\d.]+) above its shuffled guide \(([\d.]+) to ([\d.]+)\)",
            *("oneshot-digits", "final_accuracy", "gtl", "gtl-shuffled"),
        ),
        (
            "Further examples, one at a time",
            r"search found for it, .*? \(([\d.]+) points below, ([\d.]+) to ([\d.]+)\)",
            *("stream-omniglot", "final_accuracy", "naive", "gtl"),
        ),
    ],
)
def test_differences(
    title: str, pattern: str, folder: str, metric: str, above: str, below: str
) -> None:
    found = re.search(pattern, experiment_text(title))
    assert found is not None
    claimed = [float(number) for number in found.groups()]
    assert claimed == pytest.approx(difference(folder, metric, above, below), abs=0.051)


def test_one_shot_accuracies() -> None:
    text = experiment_text("One-shot learning")
    found = re.search(
        r": ([\d.]+) % with pretraining alone and ([\d.]+) % with guides.*?shuffled guide "
        r"\(([\d.]+) %\).*?head alone \(([\d.]+) %\).*?; ([\d.]+) % and ([\d.]+) %",
        text,
    )
    assert found is not None
    omniglot = [
        mean("oneshot-omniglot", "final_accuracy", name)
        for name in ("naive", "gtl", "gtl-shuffled", "last-layer")
    ]
    digits = [mean("oneshot-digits", "final_accuracy", name) for name in ("gtl", "naive")]
    claimed = [float(number) for number in found.groups()]
    assert claimed == pytest.approx([*omniglot, *digits], abs=0.051)


def test_further_examples() -> None:
    text = experiment_text("Further examples, one at a time")
    found = re.search(
        r"At 0.1 they add ([\d.]+) points with guides and take ([\d.]+) away without "
        r"\(difference ([\d.]+), 95 % interval ([\d.]+) to ([\d.]+)\).*?"
        r"ends at ([\d.]+) % and GTL at ([\d.]+) %, each at its best rate .*? "
        r"naive fine-tuning ends at ([\d.]+) % and GTL at ([\d.]+) %",
        text,
    )
    assert found is not None
    records = load_results(REFERENCE / "stream-omniglot-matched")
    rates = run("stream-omniglot-matched").info.experiences
    _, first, *_, last = sorted(records["step"].unique())
    table = records.pivot_table(
        index=["strategy", "seed"], columns=["experience", "step"], values="value"
    )
    ends = pd.DataFrame({rate: table[j][last] for j, rate in enumerate(rates)}) * 100
    gains = ends["0.1"] - 100 * table[rates.index("0.1")][first]
    paired = (gains["gtl"] - gains["naive"]).to_numpy()
    best = [float(ends.loc[name].mean().max()) for name in ("naive", "gtl")]
    tuned = [mean("stream-omniglot", "final_accuracy", name) for name in ("naive", "gtl")]
    gained = [gains["gtl"].mean(), -gains["naive"].mean(), *stats.mean_interval(paired)]
    claimed = [float(number) for number in found.groups()]
    expected = [float(value) for value in (*gained, *best, *tuned)]
    assert claimed == pytest.approx(expected, abs=0.051)


LABELS = {
    **{"naive": "naive", "EWC": "ewc", "SI": "si", "LwF": "lwf", "joint training": "joint"},
    **{"GTL": "gtl", "its shuffled guide": "gtl-shuffled", "its mean as a scalar": "gtl-scalar"},
    "the network as it starts": "frozen",
}


@pytest.mark.parametrize(
    ("beginning", "folder", "claims"),
    [
        ("the published values are reproduced", "split-mnist-batch-task", 9),
        ("Not told the pair, with two outputs", "split-mnist-batch-domain", 6),
        ("with ten outputs that all take part", "split-mnist-batch-class", 6),
    ],
)
def test_the_classical_table(beginning: str, folder: str, claims: int) -> None:
    sentence = experiment_text("The classical table").partition(beginning)[2].partition(". ")[0]
    labels = "|".join(re.escape(label) for label in LABELS)
    claimed = re.findall(rf"\b({labels}) ([\d.]+) %", sentence)
    assert len(claimed) == claims
    for label, number in claimed:
        found = mean(folder, "final_accuracy", LABELS[label])
        assert float(number) == pytest.approx(found, abs=0.051), label
