"""What the harness costs: `python -m gtl_bench.bench`.

Each contender does the same work on the main job's network (MLP 784-256-256-10, SGD, five epochs an
example, one thread). Contenders take turns, round after round, so that the machine's drift cancels;
what is printed are medians of times and of ratios within a round. Bounds are this project's own
goals; a row that misses one says so.

- *bare*: the shortest PyTorch loop that does the work; its final weights are checked to be ours.
- *stock*: Avalanche's own template, data loaders, plugins, accuracy metrics and evaluation.
"""

from __future__ import annotations

import argparse
import copy
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
from avalanche.training.plugins import EvaluationPlugin, EWCPlugin, SynapticIntelligencePlugin
from avalanche.training.supervised import Naive
from torch import Tensor, nn
from torch.nn import functional

from gtl_bench.gtl import GTLPlugin, Guide, scout
from gtl_bench.learner import Learner, stream_of
from gtl_bench.models import mlp
from gtl_bench.regularizers import EWC, SynapticIntelligence
from gtl_bench.rng import Rng
from gtl_bench.scenario import Examples, Scenario
from gtl_bench.stream import learn

EPOCHS = 5
LR = 0.01
TEST_IMAGES = 2000
SGD = {"optimizer": "sgd", "lr": LR, "momentum": 0.0, "weight_decay": 0.0}

Work = Callable[[], Any]


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

    def ours_evaluated(self, method: str) -> None:
        """Train with our stream, evaluating on the test images after each example."""
        scenario = Scenario(
            model=self.model,
            source=self.test.take(torch.arange(1)),
            stream=(self.stream,),
            names=("all",),
            test=self.test,
            test_experience=torch.zeros(TEST_IMAGES, dtype=torch.int64),
            epochs=EPOCHS,
        )
        learn(scenario, copy.deepcopy(self.model), self.plugins(method), SGD, Rng(0))

    def bare(self, method: str, evaluate: bool = False) -> nn.Module:
        """The same work in a plain PyTorch loop."""
        model = copy.deepcopy(self.model)
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        step = _BARE[method](self, model, optimizer)
        # As our own stream has them: test images, one of the source, and the examples met so far.
        images = torch.cat([self.test.x, self.test.x[:1], self.stream.x])
        if evaluate:
            _bare_evaluation(model, images, TEST_IMAGES + 1)
        for index in range(len(self.stream.y)):
            x, y = self.stream.x[index : index + 1], self.stream.y[index : index + 1]
            step(x, y)
            if evaluate:
                _bare_evaluation(model, images, TEST_IMAGES + 2 + index)
        return model

    def stock(self, method: str, evaluate: bool = False) -> nn.Module:
        """The same work in stock Avalanche."""
        model = copy.deepcopy(self.model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = EvaluationPlugin(accuracy_metrics(experience=True, stream=True), loggers=[])
            strategy = Naive(
                model=model,
                optimizer=torch.optim.SGD(model.parameters(), lr=LR),
                plugins=self.stock_plugins(method),
                evaluator=evaluator,
                train_epochs=EPOCHS,
                eval_mb_size=256,
            )
            test = benchmark_from_datasets(test=[_dataset(*self.test)]).test_stream
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
    seconds = Stopwatch(1).compare(
        {"ours": lambda: longer.ours_evaluated("ewc")}
        | {"stock": lambda: longer.stock("ewc-separate", True)}
    )
    yield ratio(
        "with evaluation, ewc over 200 examples: stock (default mode) over ours",
        seconds,
        "stock",
        "ours",
        "≥ 10",
    )


def _call(function: Callable[[str], Any], argument: str) -> Work:
    return lambda: function(argument)


def _check_equal(method: str, ours: nn.Module, bare: nn.Module) -> None:
    for p, q in zip(ours.parameters(), bare.parameters()):
        torch.testing.assert_close(p, q, msg=lambda text: f"{method}: not the same work: {text}")


def growth() -> Iterator[Row]:
    """3. Cost of examples 901 to 1,000 over 1 to 100, and peak memory, each in its own process."""
    for method in ("naive", "gtl", "ewc", "si"):
        text = _in_process("--growth", method)
        cost, memory = json.loads(text)
        yield Row(f"growth, {method}: examples 901-1,000 over 1-100", cost, "×", "≤ 1.05")
        yield Row(f"growth, {method}: peak memory at 1,000 over 100", memory, "×", "≤ 1.05")


def grow(method: str) -> tuple[float, float]:
    """Ratio of the cost of the last hundred examples to the first, and of peak memory."""
    job = Job(1000)
    model = copy.deepcopy(job.model)
    learner = Learner(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=LR),
        plugins=job.plugins(method),
        epochs=EPOCHS,
    )
    experiences = job._online()
    learner.train(experiences[:20], eval_streams=[])
    seconds, memory = [], []
    for start in range(0, 1000, 10):
        begin = time.perf_counter()
        learner.train(experiences[start : start + 10], eval_streams=[])
        seconds.append(time.perf_counter() - begin)
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    first, last = statistics.median(seconds[:10]), statistics.median(seconds[-10:])
    return last / first, memory[-1] / memory[9]


def scouts(rounds: int) -> Iterator[Row]:
    """4. 120 scouts of 3 of 10 classes of scikit-learn's digits."""
    from gtl_bench.data import DataFolder, like_mnist

    digits = DataFolder(download=False).digits()
    source = Examples(like_mnist(digits.images).unsqueeze(1).float() / 255, digits.labels)
    model = mlp((784, 256, 256, 10), Rng(0)("model"))

    def ours() -> None:
        scout(model, source, n_scouts=120, n_classes=3, generator=Rng(0)("scouts"))

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

    The stock side is the stream alone, of one seed, times the seeds: its source phase is a present.
    """
    job = Job(200)
    stock = {}
    for method in ("naive", "ewc", "ewc-separate", "si", "gtl"):
        start = time.perf_counter()
        job.stock(method, evaluate=True)
        stock[method] = seeds * (time.perf_counter() - start)
    with tempfile.TemporaryDirectory() as folder:
        run = ["run", "split-mnist", f"--seeds={seeds}", "--out", f"{folder}/run", "--require-data"]
        environment = {"GTL_BENCH_CACHE": f"{folder}/cache"}
        start = time.perf_counter()
        _command([*run, "--device=cpu"], environment)
        ours = time.perf_counter() - start
        start = time.perf_counter()
        _command(["report", f"{folder}/run"], environment)
        report = time.perf_counter() - start
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
    "growth": lambda rounds: growth(),
    "scouts": scouts,
    "main-job": lambda rounds: main_job(seeds=5),
    "start-up": start_up,
}


def main() -> None:
    """Measure, print a table, and write JSON where it is asked for."""
    parser = argparse.ArgumentParser(prog="python -m gtl_bench.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that are counted")
    parser.add_argument("--json", type=Path, help="write the table there as JSON")
    parser.add_argument("--growth", choices=_BARE, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.growth:
        print(json.dumps(grow(arguments.growth)))
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
                print(f"    {row.detail}")
    if arguments.json:
        machine = {"platform": platform.platform(), "cores": os.cpu_count()}
        table = [asdict(row) | {"verdict": row.verdict} for row in rows]
        arguments.json.write_text(json.dumps(machine | {"rows": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()
