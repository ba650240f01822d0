"""What the harness costs: `python -m gtl_bench.bench`.

Each contender does the same work on the main job's network (MLP 784-256-256-10, SGD, five epochs an
example, one thread). Contenders take turns, round after round, so that the machine's drift cancels;
what is printed are medians of times and of ratios within a round. Bounds are this project's own
goals; a row that misses one says so.

- *bare*: the shortest PyTorch loop that does the work; its final weights are checked to be ours.
- *stock*: the shortest script on Avalanche's own template, data loaders, plugins, accuracy metrics
  and test stream (five experiences, as split-mnist's, each evaluated in one batch). It records the
  accuracy of each experience; ours also that on the source and on each example of the stream.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import functools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.scenarios.online import split_online_stream
from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import (
    EvaluationPlugin,
    EWCPlugin,
    SupervisedPlugin,
    SynapticIntelligencePlugin,
)
from avalanche.training.supervised import Naive
from torch import Tensor, nn
from torch.nn import functional

from gtl_bench.gtl import GTLPlugin, Guide, scout
from gtl_bench.learner import Learner, stream_of
from gtl_bench.machine import commit, processor
from gtl_bench.models import mlp
from gtl_bench.recipes import LEARNER_DEFAULTS, StrategyRecipe, discover
from gtl_bench.regularizers import EWC, SynapticIntelligence
from gtl_bench.rng import Rng
from gtl_bench.scenario import Examples, Pretraining, Scenario
from gtl_bench.source import Source
from gtl_bench.stream import SOURCE_PROBE, Course, learn

EPOCHS = 5
LR = 0.01
TEST_IMAGES = 2000
EXPERIENCES = 5
WARM_UP = 20
THREADS = torch.get_num_threads()
SGD = {"optimizer": "sgd", "lr": LR, "momentum": 0.0, "weight_decay": 0.0}

Work = Callable[[], Any]

_WHOLE = (
    "Ours is whole: start-up, source phase, scouts, retention, report, which the stock script is "
    "spared. Nearly half of its processor time are evaluations of 2,500 images after each example, "
    "12 ms of matrix products at the processor's peak, and the stock script has most of them too."
)

#: Why a row misses its bound where it does, found by profiling.
REASONS = {
    "training, gtl over naive, ours": "A guided step reads the guide beside weights and gradients, "
    "which is a third more memory traffic than plain SGD and 13 of the 20 µs that it costs; the "
    "rest is two calls of the plugin.",
    "training, si over naive, ours": "An SI step goes over four more tensors of the model's size "
    "(anchor, importance, integral, the last gradient) in four operations, and together with "
    "weights and gradients these no longer fit into the second-level cache.",
    "with evaluation, naive: stock over ours": "Both multiply the same matrices for 2,000 images "
    "an example, 1 GFLOP at the processor's peak; with 300 of the source's that is 80 % of ours.",
    "120 scouts: one after another over ours": "Three quarters of ours are the matrix products of "
    "a scout's steps: in turn these take 0.15 ms a step of the loop's 0.34, ours takes 0.19 whole.",
    "main job: stock, EWC in default mode, over ours": _WHOLE,
    "main job: stock, EWC in online mode, over ours": _WHOLE,
}


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        what: what is compared.
        value: the median of the ratios, or a time in seconds.
        unit: "×" or "s".
        bound: such as "≤ 1.25", or empty.
        detail: median times behind a ratio.
    """

    what: str
    value: float
    unit: str
    bound: str = ""
    detail: str = ""

    @property
    def verdict(self) -> str:
        """Whether the bound is kept."""
        if not self.bound:
            return ""
        sign, limit = self.bound.split()
        kept = self.value <= float(limit) if sign == "≤" else self.value >= float(limit)
        return "kept" if kept else "missed"

    @property
    def reason(self) -> str:
        """Why the bound is missed, as far as it was looked for."""
        return REASONS.get(self.what, "") if self.verdict == "missed" else ""


class Stopwatch:
    """Times contenders in turn, round after round."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds

    def compare(self, contenders: Mapping[str, Work]) -> dict[str, list[float]]:
        """Seconds of each contender in each round; a first round is not counted."""
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for number in range(self.rounds + 1):
            for name, work in contenders.items():
                start = time.perf_counter()
                work()
                if number:
                    seconds[name].append(time.perf_counter() - start)
        return seconds


def ratio(
    what: str, seconds: Mapping[str, Sequence[float]], over: str, under: str, bound: str = ""
) -> Row:
    """The median over rounds of one contender's time over another's."""
    value = statistics.median(a / b for a, b in zip(seconds[over], seconds[under]))
    detail = ", ".join(
        f"{name} {1e3 * statistics.median(seconds[name]):.4g} ms" for name in (over, under)
    )
    return Row(what, value, "×", bound, detail)


class Job:
    """The main job's network and a stream of random images, for any number of examples."""

    def __init__(self, examples: int) -> None:
        rng = Rng(0)
        self.model = mlp((784, 256, 256, 10), rng("model"))
        self.stream = self._images(examples, rng("stream"))
        self.test = self._images(TEST_IMAGES, rng("test"))
        self.source = self._images(SOURCE_PROBE, rng("source"))
        generator = rng("guide")
        self.guide = Guide(
            {
                name: torch.rand(parameter.shape, generator=generator)
                for name, parameter in self.model.named_parameters()
            }
        )

    def _images(self, n: int, generator: torch.Generator) -> Examples:
        return Examples(torch.rand(n, 1, 28, 28, generator=generator), torch.arange(n) % 10)

    def plugins(self, method: str) -> list[Any]:
        """Our plugins for a method."""
        made: dict[str, Callable[[], list[Any]]] = {
            "naive": list,
            "gtl": lambda: [GTLPlugin(self.guide)],
            "gtl-gradient": lambda: [GTLPlugin(self.guide, apply="gradient")],
            "ewc": lambda: [EWC(10.0)],
            "si": lambda: [SynapticIntelligence(0.1)],
        }
        return made[method]()

    def stock_plugins(self, method: str) -> list[Any]:
        """Avalanche's plugins for a method, and ours where it has none."""
        made: dict[str, Callable[[], list[Any]]] = {
            "ewc": lambda: [EWCPlugin(5.0, mode="online", decay_factor=1.0)],
            "ewc-separate": lambda: [EWCPlugin(5.0)],
            "si": lambda: [SynapticIntelligencePlugin(0.1)],
        }
        return made[method]() if method in made else self.plugins(method)

    def ours(self, method: str) -> nn.Module:
        """Train on the stream with our learner."""
        model = copy.deepcopy(self.model)
        learner = Learner(
            model=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=LR),
            plugins=self.plugins(method),
            epochs=EPOCHS,
        )
        learner.train(self._online(), eval_streams=[])
        return model

    def ours_evaluated(self, method: str) -> tuple[nn.Module, Course]:
        """Train with our stream, evaluating on the test images after each example."""
        model = copy.deepcopy(self.model)
        scenario = Scenario(
            model=self.model,
            source=self.source,
            stream=(self.stream,),
            names=("all",),
            test=self.test,
            test_experience=torch.zeros(TEST_IMAGES, dtype=torch.int64),
            epochs=EPOCHS,
        )
        return model, learn(scenario, model, self.plugins(method), SGD, Rng(0))

    def bare(self, method: str, evaluate: bool = False) -> nn.Module:
        """The same work in a plain PyTorch loop."""
        model = copy.deepcopy(self.model)
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        step = _BARE[method](self, model, optimizer)
        # As our own stream has them: of the test, the source, and of the examples met so far.
        images = torch.cat([self.test.x, self.source.x, self.stream.x])
        always = TEST_IMAGES + SOURCE_PROBE
        if evaluate:
            _bare_evaluation(model, images, always)
        for index in range(len(self.stream.y)):
            x, y = self.stream.x[index : index + 1], self.stream.y[index : index + 1]
            step(x, y)
            if evaluate:
                _bare_evaluation(model, images, always + 1 + index)
        return model

    def stock(self, method: str, evaluate: bool = False) -> nn.Module:
        """The same work in stock Avalanche."""
        model = copy.deepcopy(self.model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = EvaluationPlugin(
                accuracy_metrics(epoch=True, experience=True, stream=True), loggers=[]
            )
            strategy = Naive(
                model=model,
                optimizer=torch.optim.SGD(model.parameters(), lr=LR),
                plugins=self.stock_plugins(method),
                evaluator=evaluator,
                train_epochs=EPOCHS,
                eval_mb_size=TEST_IMAGES // EXPERIENCES,
            )
            pairs = [
                self.test.take((self.test.y // 2 == pair).nonzero()[:, 0]) for pair in range(5)
            ]
            test = benchmark_from_datasets(test=[_dataset(*pair) for pair in pairs]).test_stream
            for experience in self._online():
                strategy.train(experience, eval_streams=[])
                if evaluate:
                    strategy.eval(test)
        return model

    def _online(self) -> list[Any]:
        stream = stream_of([self.stream])
        return list(split_online_stream(stream, experience_size=1, shuffle=False, seed=0))


def _dataset(x: Tensor, y: Tensor) -> Any:
    return _make_taskaware_tensor_classification_dataset(x, y, task_labels=0)


@torch.inference_mode()
def _bare_evaluation(model: nn.Module, x: Tensor, n: int) -> Tensor:
    """Answers on as many of the images as are asked for."""
    answers: Tensor = model(x[:n]).argmax(1)
    return answers


Step = Callable[[Tensor, Tensor], None]


def _bare_naive(job: Job, model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
    def step(x: Tensor, y: Tensor) -> None:
        for _ in range(EPOCHS):
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            optimizer.step()

    return step


def _bare_gtl(job: Job, model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
    parameters = dict(model.named_parameters())
    guides = [job.guide.values[name] for name in parameters]

    def step(x: Tensor, y: Tensor) -> None:
        for _ in range(EPOCHS):
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            before = [p.detach().clone() for p in parameters.values()]
            optimizer.step()
            with torch.no_grad():
                for p, start, g in zip(parameters.values(), before, guides):
                    p.copy_(start + g * (p - start))

    return step


def _bare_gtl_gradient(job: Job, model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
    parameters = dict(model.named_parameters())
    guides = [job.guide.values[name] for name in parameters]

    def step(x: Tensor, y: Tensor) -> None:
        for _ in range(EPOCHS):
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            for p, g in zip(parameters.values(), guides):
                assert p.grad is not None
                p.grad.mul_(g)
            optimizer.step()

    return step


def _bare_ewc(job: Job, model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
    parameters = list(model.parameters())
    importance = [torch.zeros_like(p) for p in parameters]
    anchor = [p.detach().clone() for p in parameters]

    def step(x: Tensor, y: Tensor) -> None:
        for _ in range(EPOCHS):
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            for p, f, a in zip(parameters, importance, anchor):
                loss = loss + 10.0 / 2 * (f * (p - a) ** 2).sum()
            loss.backward()
            optimizer.step()
        model.eval()
        gradients = torch.autograd.grad(functional.cross_entropy(model(x), y), parameters)
        model.train()
        for p, f, a, g in zip(parameters, importance, anchor, gradients):
            f += g**2
            a.copy_(p.detach())

    return step


def _bare_si(job: Job, model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
    parameters = list(model.parameters())
    importance = [torch.zeros_like(p) for p in parameters]
    anchor = [p.detach().clone() for p in parameters]

    def step(x: Tensor, y: Tensor) -> None:
        start = [p.detach().clone() for p in parameters]
        path = [torch.zeros_like(p) for p in parameters]
        for _ in range(EPOCHS):
            before = [p.detach().clone() for p in parameters]
            task = functional.cross_entropy(model(x), y)
            gradients = torch.autograd.grad(task, parameters)
            for p, g, o, a in zip(parameters, gradients, importance, anchor):
                p.grad = g + 2 * 0.1 * o * (p.detach() - a)
            optimizer.step()
            for p, g, b, w in zip(parameters, gradients, before, path):
                w -= g * (p.detach() - b)
        for p, o, a, w, s in zip(parameters, importance, anchor, path, start):
            o += w.clamp(min=0) / ((p.detach() - s) ** 2 + 0.1)
            a.copy_(p.detach())

    return step


_BARE: dict[str, Callable[[Job, nn.Module, torch.optim.Optimizer], Step]] = {
    "naive": _bare_naive,
    "gtl": _bare_gtl,
    "gtl-gradient": _bare_gtl_gradient,
    "ewc": _bare_ewc,
    "si": _bare_si,
}


def training(watch: Stopwatch) -> Iterator[Row]:
    """1. Per example, training only."""
    job = Job(100)
    bounds = {"naive": "≤ 1.25"}
    seconds = watch.compare(
        {
            f"{who} {m}": _call(getattr(job, who), m)
            for m in _BARE
            for who in ("ours", "bare", "stock")
        }
    )
    for method in _BARE:
        _check_equal(method, job.ours(method), job.bare(method))
        ours, bare, stock = (f"{who} {method}" for who in ("ours", "bare", "stock"))
        yield ratio(
            f"training, {method}: ours over bare", seconds, ours, bare, bounds.get(method, "")
        )
        yield ratio(f"training, {method}: stock over ours", seconds, stock, ours)
    for method, bound in (
        ("gtl", "≤ 1.10"),
        ("gtl-gradient", ""),
        ("ewc", "≤ 2.0"),
        ("si", "≤ 2.0"),
    ):
        yield ratio(
            f"training, {method} over naive, ours", seconds, f"ours {method}", "ours naive", bound
        )


def evaluated(watch: Stopwatch) -> Iterator[Row]:
    """2. Per example, with an evaluation after each."""
    job = Job(50)
    seconds = watch.compare(
        {"ours": lambda: job.ours_evaluated("naive")}
        | {"bare": lambda: job.bare("naive", True), "stock": lambda: job.stock("naive", True)}
    )
    yield ratio("with evaluation, naive: ours over bare", seconds, "ours", "bare", "≤ 1.15")
    yield ratio("with evaluation, naive: stock over ours", seconds, "stock", "ours", "≥ 3")
    longer = Job(200)
    once = {
        name: [_seconds(work)]
        for name, work in (
            ("ours", lambda: longer.ours_evaluated("ewc")),
            ("stock", lambda: longer.stock("ewc-separate", True)),
        )
    }
    what = "with evaluation, ewc over 200 examples: stock (default mode) over ours"
    yield ratio(what, once, "stock", "ours", "≥ 10")


def _seconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _call(function: Callable[[str], Any], argument: str) -> Work:
    return lambda: function(argument)


def _check_equal(method: str, ours: nn.Module, bare: nn.Module) -> None:
    for p, q in zip(ours.parameters(), bare.parameters()):
        torch.testing.assert_close(p, q, msg=lambda text: f"{method}: not the same work: {text}")


def growth(rounds: int) -> Iterator[Row]:
    """3. Cost of examples 901 to 1,000 over 1 to 100, and peak memory, each in its own process.

    Of every strategy that discovery finds; those that train on all they have seen have no bound.
    """
    for name in sorted(discover().strategies):
        cost, memory = json.loads(_in_process("--growth", name, "--rounds", str(rounds)))
        bounds = ("", "") if name in TRAINS_ON_ALL else ("≤ 1.05", "≤ 1.05")
        yield Row(f"growth, {name}: examples 901-1,000 over 1-100", cost, "×", bounds[0])
        yield Row(f"growth, {name}: peak memory at 1,000 over 100", memory, "×", bounds[1])


#: Strategies whose cost grows by design.
TRAINS_ON_ALL = ("joint",)


class _Odometer(SupervisedPlugin):
    """Reads processor time (s) and peak memory after each example."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self.memory: list[int] = []

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        self.seconds.append(time.process_time())
        self.memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def grow(name: str, rounds: int, examples: int = 1000) -> tuple[float, float]:
    """Ratio of the cost of the last tenth of examples to the first, and of peak memory.

    The first examples, which fill what is filled once, are not counted. The cost is the median over
    rounds of the ratio of median costs; memory is that of the first round.
    """
    recipe = discover().strategies[name]
    ratios, memory = [], 0.0
    tenth = examples // 10
    for number in range(rounds):
        odometer = _take(recipe, examples)
        costs = [b - a for a, b in zip(odometer.seconds, odometer.seconds[1:])][WARM_UP - 1 :]
        ratios.append(statistics.median(costs[-tenth:]) / statistics.median(costs[:tenth]))
        if not number:
            memory = odometer.memory[-1] / odometer.memory[WARM_UP + tenth - 1]
    return statistics.median(ratios), memory


def _take(recipe: StrategyRecipe, examples: int) -> _Odometer:
    """Take a strategy along a stream of examples, after the warm-up; a few scouts are enough."""
    job = Job(WARM_UP + examples)
    scenario = Scenario(
        model=job.model,
        source=job.source,
        stream=(job.stream,),
        names=("all",),
        test=job.test.take(torch.arange(1)),
        test_experience=torch.zeros(1, dtype=torch.int64),
        epochs=EPOCHS,
        pretraining=Pretraining(epochs=1),
    )
    source = Source(scenario, Rng(0))
    few = {"n_scouts": 3} if "n_scouts" in recipe.defaults else {}
    odometer = _Odometer()
    settings = {key: recipe.defaults[key] for key in LEARNER_DEFAULTS}
    plugins = [*recipe.build(source, **few), odometer]
    learn(scenario, source.model, plugins, settings, Rng(0), every_step=False)
    return odometer


def scouts(rounds: int) -> Iterator[Row]:
    """4. 120 scouts of 3 of 10 classes of scikit-learn's digits."""
    from gtl_bench.data import DataFolder, like_mnist

    digits = DataFolder(download=False).digits()
    source = Examples(like_mnist(digits.images).unsqueeze(1).float() / 255, digits.labels)
    model = mlp((784, 256, 256, 10), Rng(0)("model"))

    def ours() -> None:
        generator = Rng(0)("scouts")
        scout(
            model,
            source,
            generator=generator,
            n_scouts=120,
            n_classes=3,
            epochs=EPOCHS,
            batch_size=10,
        )

    seconds = Stopwatch(rounds).compare(
        {"ours": ours}
        | {"in turn": lambda: _scouts_in_turn(model, source, 120)}
        | {"trainer with worker": lambda: _scouts_in_turn(model, source, 12, workers=1)}
    )
    yield ratio("120 scouts: one after another over ours", seconds, "in turn", "ours", "≥ 3")
    manner = [10 * value for value in seconds["trainer with worker"]]
    yield ratio(
        "120 scouts: data loader with a worker process (from 12 scouts) over ours",
        {**seconds, "trainer with worker": manner},
        "trainer with worker",
        "ours",
    )


def _scouts_in_turn(model: nn.Module, source: Examples, n_scouts: int, workers: int = 0) -> None:
    """A plain loop over scouts; with a worker, mini-batches come from a data loader's process."""
    from torch.utils.data import DataLoader, TensorDataset

    generator = Rng(0)("scouts in turn")
    base = {name: p.detach().clone() for name, p in model.named_parameters()}
    guide = {name: torch.zeros_like(p) for name, p in base.items()}
    for _ in range(n_scouts):
        classes = torch.randperm(10, generator=generator)[:3]
        chosen = torch.isin(source.y, classes).nonzero().squeeze(1)
        x, y = source.x[chosen], source.y[chosen]
        copied = copy.deepcopy(model)
        optimizer = torch.optim.SGD(copied.parameters(), lr=0.05)
        loader = DataLoader(
            TensorDataset(x, y), 10, shuffle=True, num_workers=workers, generator=generator
        )
        for _ in range(EPOCHS):
            batches = (
                loader
                if workers
                else ((x[i], y[i]) for i in torch.randperm(len(y), generator=generator).split(10))
            )
            for batch_x, batch_y in batches:
                optimizer.zero_grad()
                functional.cross_entropy(copied(batch_x), batch_y).backward()
                optimizer.step()
        with torch.no_grad():
            (copied(x).argmax(1) == y).float().mean()
            for name, p in copied.named_parameters():
                guide[name] += (p - base[name]) ** 2 / n_scouts


def main_job(seeds: int) -> Iterator[Row]:
    """5. The main job whole, against the same curves from stock Avalanche.

    The stock side is the stream alone, of one seed, times the seeds: imports and source phase are a
    present. It is one process, which may use all threads; ours is what the command takes, whole.
    """
    job = Job(200)
    torch.set_num_threads(THREADS)
    methods = ("naive", "ewc", "ewc-separate", "si", "gtl")
    stock = {m: seeds * _seconds(functools.partial(job.stock, m, evaluate=True)) for m in methods}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run = ["run", "split-mnist", f"--seeds={seeds}", "--out", f"{folder}/run", "--require-data"]
        environment = {"GTL_BENCH_CACHE": f"{folder}/cache"}
        ours = _seconds(lambda: _command([*run, "--device=cpu"], environment))
        report = _seconds(lambda: _command(["report", f"{folder}/run"], environment))
    others = stock["naive"] + stock["si"] + stock["gtl"]
    yield Row(f"main job, 4 strategies × {seeds} seeds: ours, whole", ours, "s", "≤ 90")
    for method, mode, bound in (("ewc-separate", "default", "≥ 10"), ("ewc", "online", "≥ 5")):
        total = others + stock[method]
        yield Row(f"main job: stock, EWC in {mode} mode, over ours", total / ours, "×", bound)
    yield Row(f"report on a finished run of {4 * seeds} cells", report, "s", "≤ 6")


def start_up(rounds: int) -> Iterator[Row]:
    """6. From the shell's prompt to an answer."""
    for argument in ("--help", "list"):
        work = {argument: _call_command([argument])}
        seconds = Stopwatch(rounds).compare(work)[argument]
        yield Row(f"start-up: {argument}", statistics.median(seconds), "s", "≤ 0.7")
    first = Stopwatch(rounds).compare({"step": lambda: _in_process("--first-step")})["step"]
    yield Row("start-up: first training step", statistics.median(first), "s")


def _command(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "gtl_bench", *arguments]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | (environment or {}))


def _call_command(arguments: Sequence[str]) -> Work:
    return lambda: _command(arguments)


def _in_process(*arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", "-m", "gtl_bench.bench", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


PARTS: dict[str, Callable[[int], Iterator[Row]]] = {
    "training": lambda rounds: training(Stopwatch(rounds)),
    "evaluated": lambda rounds: evaluated(Stopwatch(rounds)),
    "growth": growth,
    "scouts": scouts,
    "main-job": lambda rounds: main_job(seeds=5),
    "start-up": start_up,
}


def page(report: Mapping[str, Any]) -> str:
    """What is measured, as Markdown: command, machine, date, table, and reasons for what is missed.

    Args:
        report: as `main` writes it as JSON.
    """
    lines = [
        "# What the harness costs",
        "",
        f"`{report['command']}` on {report['processor']}, {report['cores']} cores, "
        f"{report['platform']}, {report['date']}"
        + (f", commit {report['commit'][:12]}." if report["commit"] else "."),
        "",
        *(__doc__ or "").partition("\n\n")[2].strip().splitlines(),
        "",
        "| what | value | bound | | medians |",
        "|---|--:|--:|---|---|",
    ]
    missed = []
    for row in report["rows"]:
        lines.append(
            f"| {row['what']} | {row['value']:.3g} {row['unit']} | {row['bound']} "
            f"| {row['verdict']} | {row['detail']} |"
        )
        if row["verdict"] == "missed":
            missed.append(f"- {row['what']}: {row['reason'] or 'not explained yet.'}")
    if missed:
        lines += ["", "Bounds that are missed:", "", *missed]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print a table, and write it where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m gtl_bench.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that are counted")
    parser.add_argument("--json", type=Path, help="write the table there as JSON")
    parser.add_argument("--markdown", type=Path, help="write the table there as Markdown")
    parser.add_argument("--growth", help=argparse.SUPPRESS)
    parser.add_argument("--first-step", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.growth:
        print(json.dumps(grow(arguments.growth, arguments.rounds)))
        return
    if arguments.first_step:
        Job(1).ours("naive")
        return
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {min(unknown)!r}: choose from {', '.join(PARTS)}")
    rows = []
    for name in arguments.parts or PARTS:
        for row in PARTS[name](arguments.rounds):
            rows.append(row)
            print(f"{row.what:<72} {row.value:8.3g} {row.unit} {row.bound:>7} {row.verdict}")
            if row.detail:
                print(f"    {row.detail}", flush=True)
    report = {
        "command": " ".join(["python -m gtl_bench.bench", *arguments.parts])
        + f" --rounds {arguments.rounds}",
        "date": datetime.date.today().isoformat(),
        "platform": platform.platform(),
        "processor": processor("cpu"),
        "cores": os.cpu_count(),
        "commit": commit(),
        "rows": [asdict(row) | {"verdict": row.verdict, "reason": row.reason} for row in rows],
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(page(report))


if __name__ == "__main__":
    main()
