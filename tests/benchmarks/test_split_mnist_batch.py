"""Split MNIST in batches is what its description says."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import LwFPlugin

from gtl_bench.data import DataFolder
from gtl_bench.experiment import Measured, Trial
from gtl_bench.experiments.batch import Batches, SharedOutputs
from gtl_bench.learner import Learner, stream_of
from gtl_bench.recipes import LEARNER_DEFAULTS, discover
from gtl_bench.rng import Rng
from gtl_bench.scenario import Examples
from gtl_bench.source import Source

REGISTRY = discover()
RECIPE = REGISTRY.benchmarks["split-mnist-batch"]
SCENARIOS = ("task", "domain", "class")

Build = Callable[..., Batches]


@pytest.fixture(scope="module")
def build(shared_data: Path) -> Build:
    data = DataFolder(shared_data, download=False)

    @functools.cache
    def build(scenario: str = "task", seed: int = 0, **settings: Any) -> Batches:
        built = RECIPE.build(data, Rng(seed), scenario=scenario, **settings)
        assert isinstance(built, Batches)
        return built

    return build


def take(built: Batches, strategy: str, seed: int = 0, **settings: Any) -> Measured:
    recipe = RECIPE.adapted(REGISTRY.strategy(strategy))
    values = {**recipe.defaults, **settings}
    own = {key: value for key, value in values.items() if key not in LEARNER_DEFAULTS}
    rng = Rng(seed)
    return built.take(
        Trial(
            strategy,
            values,
            lambda source: recipe.build(source, **own),
            lambda task, name="": Source(task, rng),
            rng,
            torch.device("cpu"),
            True,
        )
    )


def small(built: Batches, examples: int = 48, iterations: int = 20) -> Batches:
    """The first examples of each pair alone."""
    return dataclasses.replace(
        built,
        stream=tuple(Examples(x[:examples], y[:examples]) for x, y in built.stream),
        tests=tuple(Examples(x[:100], y[:100]) for x, y in built.tests),
        iterations=iterations,
        batch_size=16,
    )


def final(measured: Measured) -> list[float]:
    return [float(values[-1]) for _, experience, _, values in measured.series if experience >= 0]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whole_training_and_test_sets_in_five_pairs(build: Build, scenario: str) -> None:
    built = build(scenario)
    assert built.names == ("0/1", "2/3", "4/5", "6/7", "8/9")
    # As MNIST's authors count their digits.
    assert [len(y) for _, y in built.stream] == [12665, 12089, 11263, 12183, 11800]
    assert [len(y) for _, y in built.tests] == [2115, 2042, 1874, 1986, 1983]
    for index, (x, y) in enumerate((*built.stream, *built.tests)):
        first = 2 * (index % 5) if scenario == "class" else 0
        assert set(y.tolist()) == {first, first + 1}
        assert float(x.min()) == 0
        assert float(x.max()) == 1


def test_defaults_are_the_protocol(build: Build) -> None:
    built = build()
    assert (built.iterations, built.batch_size) == (2000, 128)
    naive = RECIPE.adapted(REGISTRY.strategy("naive")).defaults
    assert (naive["optimizer"], naive["lr"], naive["weight_decay"]) == ("adam", 1e-3, 0.0)
    shapes = [tuple(p.shape) for p in built.start.model.parameters()]
    assert shapes == [(400, 784), (400,), (400, 400), (400,), (10, 400), (10,)]
    outputs = [p.shape[0] for p in build("domain").start.model.parameters()][-1]
    assert outputs == 2


def test_tuning_holds_out_training_images_and_has_weights_of_its_own(build: Build) -> None:
    tune, report = build(split="tune"), build()
    assert sum(len(y) for _, y in tune.stream) == 50_000
    assert sum(len(y) for _, y in tune.tests) == 10_000
    assert torch.equal(torch.cat([tune.stream[0].x, tune.tests[0].x]), report.stream[0].x)
    weights = [next(built.start.model.parameters()) for built in (tune, report)]
    assert not torch.equal(*weights)


def test_a_pair_has_two_outputs_of_its_own() -> None:
    network = torch.nn.Linear(3, 10)
    model = SharedOutputs(network, 2)
    x = torch.rand(4, 3)
    assert torch.equal(model(x, 3), network(x)[:, 6:8])
    assert torch.equal(model(x), network(x)[:, :2])  # before any experience
    model.max_class_label = 2
    mixed = model(x, torch.tensor([0, 4, 4, 1]))
    whole = network(x)
    expected = [whole[0, :2], whole[1, 8:], whole[2, 8:], whole[3, 2:4]]
    torch.testing.assert_close(mixed, torch.stack(expected))


def test_lwf_distils_the_outputs_of_earlier_pairs_alone() -> None:
    """Avalanche's plugin on the shared outputs, against the sum by hand."""
    model = SharedOutputs(torch.nn.Linear(3, 6), 2)
    plugin = LwFPlugin(alpha=1.5, temperature=2.0)
    learner = Learner(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.5),
        plugins=[plugin],
        epochs=1,
        batch_size=4,
    )
    pair = (torch.rand(4, 3), torch.tensor([0, 1, 0, 1]))
    learner.train(stream_of([pair, pair, pair], task_labels=True)[:2], eval_streams=[])
    teacher = plugin.lwf.prev_model
    x = torch.rand(5, 3)
    with torch.no_grad():
        model.network.weight.add_(torch.rand(6, 3))
        expected = torch.zeros(())
        for task in (0, 1):
            p = torch.log_softmax(model(x, task) / 2, 1)
            q = torch.softmax(teacher(x, task) / 2, 1)
            expected += (q * (q.log() - p)).sum(1).mean()
        found = plugin.lwf(x, model(x, 2), model)
    assert float(expected) > 0
    torch.testing.assert_close(found, 1.5 * expected)


def test_learning_a_pair_leaves_the_outputs_of_others_alone(build: Build) -> None:
    built = small(build())
    one = dataclasses.replace(built, stream=built.stream[:1], names=built.names[:1])
    trained: list[torch.nn.Module] = []

    class Kept(Source):
        @property
        def model(self) -> torch.nn.Module:
            trained.append(super().model)
            return trained[-1]

    trial = Trial(
        "naive",
        RECIPE.adapted(REGISTRY.strategy("naive")).defaults,
        lambda source: [],
        lambda task, name="": Kept(task, Rng(0)),
        Rng(0),
        torch.device("cpu"),
        True,
    )
    one.take(trial)
    before, after = (m.network[5].weight.detach() for m in (built.start.model, trained[-1]))
    assert not torch.equal(before[:2], after[:2])
    assert torch.equal(before[2:], after[2:])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_adam_goes_on_from_pair_to_pair(build: Build, scenario: str) -> None:
    built = small(build(scenario, hidden=40), iterations=7)
    three = dataclasses.replace(built, stream=built.stream[:3], names=built.names[:3])
    steps: list[set[int]] = []

    class Watch(SupervisedPlugin):  # type: ignore[type-arg]
        def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            parameters = list(strategy.model.parameters())
            assert len(strategy.optimizer.state) == len(parameters)
            steps.append({int(strategy.optimizer.state[p]["step"]) for p in parameters})

    trial = Trial(
        "naive",
        RECIPE.adapted(REGISTRY.strategy("naive")).defaults,
        lambda source: [Watch()],
        lambda task, name="": Source(task, Rng(0)),
        Rng(0),
        torch.device("cpu"),
        True,
    )
    three.take(trial)
    assert steps == [{7}, {14}, {21}]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_strategy_learns_what_it_claims(build: Build, scenario: str) -> None:
    """In a small run: the pair learned last; with joint training more of all; frozen, nothing."""
    built = small(build(scenario))
    measured = take(built, "frozen")
    assert final(measured) == [float(v[0]) for _, e, _, v in measured.series if e >= 0]
    joint, naive = final(take(built, "joint")), final(take(built, "naive"))
    assert naive[-1] > (0.3 if scenario == "class" else 0.6)
    assert sum(joint) > sum(naive) + (0.1 if scenario == "class" else -0.1)
    assert naive[0] < 0.1 if scenario == "class" else True


def test_steps_and_metrics(build: Build) -> None:
    measured = take(small(build()), "naive")
    assert measured.boundaries == (1, 2, 3, 4, 5)
    by_experience = {e: values for metric, e, _, values in measured.series if metric == "accuracy"}
    assert set(by_experience) == {-1, 0, 1, 2, 3, 4}
    mean = sum(by_experience[e] for e in range(5)) / 5
    assert by_experience[-1].tolist() == pytest.approx(mean.tolist())


def test_regularizers_have_nothing_to_hold_in_the_first_pair(build: Build) -> None:
    """There is no source phase: up to the end of the first pair all are naive fine-tuning."""
    built = small(build(hidden=40))
    quick = {"gtl": {"n_scouts": 2, "scout_examples": 8}}
    rows, finals = {}, {}
    for name in ("naive", "ewc", "ewc-avalanche", "si", "si-avalanche", "lwf", "gtl"):
        measured = take(built, name, **quick.get(name, {}))
        rows[name] = [values[:2].tolist() for _, _, _, values in measured.series]
        finals[name] = final(measured)
    assert all(of_strategy == rows["naive"] for of_strategy in rows.values())
    # Avalanche's SI penalises nothing on the CPU.
    same = [name for name, found in finals.items() if found == finals["naive"]]
    assert same == ["naive", "si-avalanche"]


def test_divergence_is_a_result(build: Build) -> None:
    measured = take(small(build(), iterations=3), "naive", optimizer="sgd", lr=1e30)
    rows = {metric: (steps, values) for metric, e, steps, values in measured.series if e == -1}
    assert rows["diverged"][0].tolist() == [1]
    assert rows["accuracy"][1][1:].tolist() == [0.0] * 5


def test_same_seed_same_numbers_and_another_seed_others(build: Build) -> None:
    first, again, other = (
        final(take(small(build(seed=s, hidden=40)), "naive", s)) for s in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [({"scenario": "both"}, "task, domain or class"), ({"iterations": 0}, "1 or more")],
)
def test_wrong_values_are_refused(build: Build, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        build(**settings)
