"""The plugin in stock Avalanche: what a guided step is, under every kind of optimizer."""

from __future__ import annotations

import contextlib
import copy
import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from avalanche.benchmarks import (
    benchmark_from_datasets,
    with_classes_timeline,
    with_task_labels,
)
from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset
from avalanche.core import SupervisedPlugin
from avalanche.models import IncrementalClassifier, MultiHeadClassifier, MultiTaskModule
from avalanche.training.plugins import EWCPlugin
from avalanche.training.supervised import Naive
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from gtl_bench.gtl import DistanceGTLPlugin, DistanceGuides, GTLPlugin, Guide

Optimizer = Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer]

SIZES = (5, 7, 4)
BATCH = 6


def model_of(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(SIZES[0], SIZES[1]), nn.ReLU(), nn.Linear(SIZES[1], SIZES[2])
    ).double()


def guide_of(model: nn.Module, low: float = 0.0, high: float = 1.0) -> Guide:
    """Values from low to high, with both ends among them; multiples of 1/1024, exact in float32."""
    generator = torch.Generator().manual_seed(4)
    values = {}
    for name, parameter in model.named_parameters():
        g = torch.rand(parameter.shape, generator=generator) * (high - low) + low
        g.view(-1)[:2] = torch.tensor([low, high])
        values[name] = (g * 1024).round() / 1024
    return Guide(values)


def experiences(
    n: int = 1,
    classes: Sequence[Sequence[int]] | None = None,
    dtype: torch.dtype = torch.float64,
) -> list[Any]:
    """Avalanche experiences, each of one mini-batch."""
    generator = torch.Generator().manual_seed(7)
    datasets = []
    for index in range(n):
        x = torch.randn(BATCH, SIZES[0], generator=generator, dtype=torch.float64).to(dtype)
        known = torch.tensor(classes[index] if classes else range(SIZES[2]))
        y = known[torch.arange(BATCH) % len(known)]
        datasets.append(_make_taskaware_tensor_classification_dataset(x, y, task_labels=0))
    return list(with_classes_timeline(benchmark_from_datasets(train=datasets)).train_stream)


def train(
    model: nn.Module,
    optimizer: Optimizer,
    plugins: Sequence[Any],
    stream: Sequence[Any],
    epochs: int = 1,
) -> dict[str, Tensor]:
    """The parameters after training with Avalanche's own `Naive`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strategy = Naive(
            model=model,
            optimizer=optimizer(list(model.parameters())),
            plugins=list(plugins),
            train_mb_size=BATCH,
            train_epochs=epochs,
            evaluator=None,
        )
        for experience in stream:
            torch.manual_seed(3)  # the order of the mini-batch's rows
            strategy.train(experience, eval_streams=[])
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def start_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def sgd(parameters: Any, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, **options)


OPTIMIZERS: dict[str, Optimizer] = {
    "SGD": sgd,
    "SGD, momentum, weight decay": lambda p: sgd(p, momentum=0.9, weight_decay=0.1),
    "SGD, Nesterov": lambda p: sgd(p, momentum=0.9, nesterov=True),
    "SGD, maximize": lambda p: sgd(p, maximize=True),
    "SGD, learning rate as a tensor": lambda p: torch.optim.SGD(p, lr=torch.tensor(0.1)),
    "SGD, foreach": lambda p: sgd(p, foreach=True),
    "SGD, fused": lambda p: sgd(p, weight_decay=0.1, fused=True),
    "SGD, two groups": lambda p: torch.optim.SGD(
        [{"params": p[:1], "lr": 0.3}, {"params": p[1:]}], lr=0.01
    ),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.1),
    "Adam, foreach": lambda p: torch.optim.Adam(p, lr=0.01, foreach=True),
    "Adam, fused": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.3),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


# --- apply="update" ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_is_the_guide_times_the_unguided_step(name: str) -> None:
    """Twice: a second step shows an optimizer's memory, its own proposals unguided."""
    stream = experiences(1)
    before = start_of(model_of())
    proposed = train(model_of(), OPTIMIZERS[name], [], stream)
    model = model_of()
    plugin = GTLPlugin(guide_of(model))
    guided = train(model, OPTIMIZERS[name], [plugin], stream)
    for key, g in plugin.guide.values.items():
        step, expected = guided[key] - before[key], g * (proposed[key] - before[key])
        assert expected.abs().max() > 1e-4
        torch.testing.assert_close(step, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_many_steps_by_hand(name: str) -> None:
    """Against a loop of its own: optimizer step, then the equation."""
    stream, epochs = experiences(3), 4
    model = model_of()
    plugin = GTLPlugin(guide_of(model))
    guided = train(model, OPTIMIZERS[name], [plugin], stream, epochs)

    twin = model_of()
    optimizer = OPTIMIZERS[name](list(twin.parameters()))
    for experience in stream:
        rows = [experience.dataset[index] for index in range(BATCH)]
        x, y = torch.stack([row[0] for row in rows]), torch.tensor([row[1] for row in rows])
        for _ in range(epochs):
            optimizer.zero_grad()
            functional.cross_entropy(twin(x), y).backward()
            before = start_of(twin)
            optimizer.step()
            with torch.no_grad():
                for key, parameter in twin.named_parameters():
                    g = plugin.guide.values[key]
                    parameter.copy_(before[key] + g * (parameter - before[key]))
    for key, parameter in twin.named_parameters():
        torch.testing.assert_close(guided[key], parameter.detach(), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_ends_of_the_guide(name: str) -> None:
    stream = experiences(1, dtype=torch.float32)
    before = start_of(model_of().float())
    proposed = train(model_of().float(), OPTIMIZERS[name], [], stream)
    assert not torch.equal(proposed["0.weight"], before["0.weight"])
    for end, expected in ((0.0, before), (1.0, proposed)):
        values = {key: torch.full(value.shape, end) for key, value in before.items()}
        for value in values.values():
            value.view(-1)[0] = 0.5  # so that no tensor is left alone for being 1 throughout
        guided = train(model_of().float(), OPTIMIZERS[name], [GTLPlugin(Guide(values))], stream)
        for key, weights in guided.items():
            there = values[key] == end
            if end == 1 and name.startswith("SGD"):  # plain SGD rounds its last bit otherwise
                torch.testing.assert_close(weights[there], expected[key][there], rtol=2e-7, atol=0)
            else:
                assert torch.equal(weights[there], expected[key][there])


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_gradients_are_left_as_they_were(name: str) -> None:
    """A plugin that reads them after the update (synaptic intelligence) sees the loss's own."""
    kept: list[dict[str, Tensor]] = []

    class Keeper(SupervisedPlugin):
        def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            parameters = strategy.model.named_parameters()
            kept.append({name: p.grad.clone() for name, p in parameters})

    for plugins in ([Keeper()], [GTLPlugin(guide_of(model_of())), Keeper()]):
        train(model_of(), OPTIMIZERS[name], plugins, experiences(1))
    assert kept[0].keys() == kept[1].keys()
    for key, gradient in kept[0].items():
        assert torch.equal(gradient, kept[1][key])


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("first", [True, False])
def test_gradients_clipped_by_another_plugin_are_what_is_guided(name: str, first: bool) -> None:
    class Clip(SupervisedPlugin):
        def before_update(self, strategy: Any, **kwargs: Any) -> None:
            nn.utils.clip_grad_norm_(strategy.model.parameters(), 1e-3)

    plugin = GTLPlugin(guide_of(model_of()))
    before = start_of(model_of())
    proposed = train(model_of(), OPTIMIZERS[name], [Clip()], experiences(1))
    plugins = [Clip(), plugin] if first else [plugin, Clip()]
    guided = train(model_of(), OPTIMIZERS[name], plugins, experiences(1))
    for key, g in plugin.guide.values.items():
        expected = g * (proposed[key] - before[key])
        torch.testing.assert_close(guided[key] - before[key], expected, rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_steps_of_others_are_not_guided(name: str) -> None:
    """The optimizer may step elsewhere too: after an interrupted experience, or within one."""

    class Stop(SupervisedPlugin):
        def after_update(self, strategy: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

    def one_more_step(plugins: Sequence[Any]) -> dict[str, Tensor]:
        model = model_of()
        optimizer = OPTIMIZERS[name](list(model.parameters()))
        with contextlib.suppress(KeyboardInterrupt):
            train(model, lambda parameters: optimizer, plugins, experiences(1))
        model.load_state_dict(model_of().state_dict())
        optimizer.state.clear()
        train(model, lambda parameters: optimizer, [], experiences(1))
        return start_of(model)

    expected = one_more_step([])
    for plugins in ([], [Stop()]):
        stepped = one_more_step([GTLPlugin(guide_of(model_of())), *plugins])
        for key, value in expected.items():
            assert torch.equal(stepped[key], value)


def test_an_optimizer_put_in_during_an_experience_is_guided() -> None:
    class Replace(SupervisedPlugin):
        def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            strategy.optimizer = sgd(list(strategy.model.parameters()))

    plugin = GTLPlugin(guide_of(model_of()))
    expected = train(model_of(), sgd, [plugin], experiences(1), epochs=3)
    replaced = train(model_of(), sgd, [plugin, Replace()], experiences(1), epochs=3)
    for key, value in expected.items():
        assert torch.equal(replaced[key], value)


# --- apply="gradient" ----------------------------------------------------------------------------


def test_for_plain_sgd_update_and_gradient_agree() -> None:
    results = []
    for apply in ("update", "gradient"):
        model = model_of()
        plugin = GTLPlugin(guide_of(model), apply=apply)
        results.append(train(model, sgd, [plugin], experiences(3), epochs=5))
    for key, value in results[0].items():
        torch.testing.assert_close(results[1][key], value, rtol=1e-12, atol=1e-15)


def test_with_momentum_they_agree_but_not_with_weight_decay() -> None:
    def difference(**options: Any) -> float:
        results = []
        for apply in ("update", "gradient"):
            model = model_of()
            plugin = GTLPlugin(guide_of(model), apply=apply)
            stream = experiences(2)
            results.append(train(model, lambda p: sgd(p, **options), [plugin], stream, epochs=3))
        return max(float((results[0][key] - results[1][key]).abs().max()) for key in results[0])

    assert difference(momentum=0.9) < 1e-14
    assert difference(weight_decay=0.1) > 1e-3


def test_under_adam_the_gradient_form_all_but_ignores_the_guide() -> None:
    """A guide in [0.1, 1]: Adam moves almost as far as with no guide; the update form does not."""
    stream, epochs = experiences(1), 5
    adam = lambda p: torch.optim.Adam(p, lr=1e-3)  # noqa: E731
    before = start_of(model_of())

    def moved(plugins: Sequence[Any]) -> Tensor:
        after = train(model_of(), adam, plugins, stream, epochs)
        return torch.cat([(after[key] - before[key]).abs().flatten() for key in before])

    guide = guide_of(model_of(), low=0.1)
    unguided = moved([])
    by_gradient = moved([GTLPlugin(guide, apply="gradient")])
    by_update = moved([GTLPlugin(guide)])
    g = torch.cat([value.flatten() for value in guide.values.values()])
    alive = unguided > 1e-3  # ReLU units that are off move nowhere
    assert alive.float().mean() > 0.5
    assert (by_gradient[alive] / unguided[alive]).mean() > 0.97
    assert (by_gradient[alive] / unguided[alive]).min() > 0.8
    assert (by_update[alive] / unguided[alive] - g[alive]).abs().mean() < 0.01
    assert by_update[alive].sum() < 0.7 * unguided[alive].sum()


# --- models that don't quite fit -----------------------------------------------------------------


class Growing(nn.Module):
    """A classifier that grows with the classes met."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(SIZES[0], SIZES[1])
        self.head = IncrementalClassifier(SIZES[1], initial_out_features=2, masking=False)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.first(x)))


class Doubled(SupervisedPlugin):
    """Avalanche grows a layer in float32, whatever the model is."""

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        strategy.model.double()


@pytest.mark.parametrize("default", [1.0, 0.25, 0.0, "mean"])
def test_grown_rows_follow_the_default_rule(default: Any) -> None:
    """Per step from where a classifier grew: known rows by their guide, new ones by the default."""
    values = guide_of(Growing()).values
    guide = Guide(values)
    rule = guide.mean if default == "mean" else default
    steps: list[tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]] = []

    class Keeper(SupervisedPlugin):
        def before_update(self, strategy: Any, **kwargs: Any) -> None:
            self.before = start_of(strategy.model)

        def after_update(self, strategy: Any, **kwargs: Any) -> None:
            gradients = {n: p.grad.clone() for n, p in strategy.model.named_parameters()}
            steps.append((self.before, start_of(strategy.model), gradients))

    model = Growing()
    stream = experiences(2, classes=[(0, 1), (2, 3, 4)])
    plugins = [Doubled(), GTLPlugin(guide, default=default), Keeper()]
    train(model, sgd, plugins, stream, epochs=2)
    assert [len(after["head.classifier.bias"]) for _, after, _ in steps] == [2, 2, 5, 5]
    for before, after, gradients in steps:
        for name, gradient in gradients.items():
            g = torch.full(gradient.shape, rule, dtype=torch.float64)
            g[: len(values[name])] = values[name]
            expected = before[name] - 0.1 * g * gradient
            torch.testing.assert_close(after[name], expected, rtol=1e-6, atol=1e-9)


def test_a_new_head_follows_the_default_rule() -> None:
    model = nn.Sequential(nn.Linear(SIZES[0], SIZES[1]), nn.ReLU())
    guide = Guide({"0.weight": torch.zeros(7, 5), "0.bias": torch.zeros(7)})
    model.append(nn.Linear(SIZES[1], SIZES[2]))
    model.double()
    before = start_of(model)
    after = train(model, sgd, [GTLPlugin(guide)], experiences(1))
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert not torch.equal(after["2.weight"], before["2.weight"])


def test_heads_added_during_training_are_followed() -> None:
    class MultiHead(MultiTaskModule):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(SIZES[0], SIZES[1])
            self.heads = MultiHeadClassifier(SIZES[1], initial_out_features=2, masking=False)

        def forward(self, x: Tensor, task_labels: Tensor) -> Tensor:
            return self.heads(torch.relu(self.first(x)), task_labels)

    torch.manual_seed(0)
    x, y = torch.randn(BATCH, SIZES[0]), torch.arange(BATCH) % 2
    datasets = [
        _make_taskaware_tensor_classification_dataset(x, y, task_labels=task) for task in (0, 1)
    ]
    benchmark = with_task_labels(with_classes_timeline(benchmark_from_datasets(train=datasets)))
    stream = list(benchmark.train_stream)
    model = MultiHead()
    values = {n: torch.zeros(p.shape) for n, p in model.named_parameters() if "first" in n}
    before = start_of(model)
    after = train(model, sgd, [GTLPlugin(Guide(values), default=0.0)], stream)
    assert "heads.classifiers.1.classifier.weight" in after
    for name, value in before.items():
        assert torch.equal(after[name][: len(value)], value)
    free = train(MultiHead(), sgd, [GTLPlugin(Guide(values), default=1.0)], stream)
    head = "heads.classifiers.1.classifier.weight"
    assert not torch.equal(free[head], after[head])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"0.weight": torch.ones(7, 4)}, "0.weight is 7 × 4 in the guide and 7 × 5 in the model"),
        ({"0.weight": torch.ones(8, 5)}, "0.weight is 8 × 5 in the guide and 7 × 5 in the model"),
        ({"2.bias": torch.ones(4, 1)}, "2.bias is 4 × 1 in the guide and 4 in the model"),
        ({"3.bias": torch.ones(4)}, r"the guide has 3.bias \(4\), but the model has no parameter"),
    ],
)
def test_a_guide_that_does_not_fit_is_an_error(values: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        train(model_of(), sgd, [GTLPlugin(Guide(values))], experiences(1))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("apply", ["update", "gradient"])
@pytest.mark.parametrize("name", ["SGD", "AdamW"])
def test_parameters_without_gradients_are_treated_as_by_the_optimizer(
    apply: Any, name: str
) -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.unused = nn.Linear(2, 2)
            self.frozen = nn.Linear(SIZES[0], SIZES[1]).requires_grad_(False)
            self.head = nn.Linear(SIZES[1], SIZES[2])
            self.double()

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.frozen(x))

    before = start_of(Partly())
    model = Partly()
    after = train(model, OPTIMIZERS[name], [GTLPlugin(guide_of(model), apply)], experiences(1))
    for key in before:
        assert torch.equal(after[key], before[key]) == (not key.startswith("head"))


def test_unfreezing_between_experiences_is_noticed() -> None:
    class Thaw(SupervisedPlugin):
        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            strategy.model[0].requires_grad_(strategy.clock.train_exp_counter > 0)

    model = model_of()
    before = start_of(model)
    values = {name: torch.zeros(p.shape) for name, p in model.named_parameters()}
    after = train(model, sgd, [GTLPlugin(Guide(values)), Thaw()], experiences(2))
    for key, value in before.items():
        assert torch.equal(after[key], value)


def test_one_plugin_follows_from_model_to_model() -> None:
    plugin = GTLPlugin(guide_of(model_of()))
    results = [train(model_of(seed), sgd, [plugin], experiences(1)) for seed in (0, 1, 0)]
    for key, value in results[0].items():
        assert torch.equal(results[2][key], value)
        assert not torch.equal(results[1][key], value)


# --- composition, cost ---------------------------------------------------------------------------


def test_a_penalty_acts_on_the_loss_before_the_update_is_guided() -> None:
    """EWC in either place of the list; its penalty's gradient is in what the guide multiplies."""
    steps: list[tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]] = []
    penalty: list[float] = []

    class Keeper(SupervisedPlugin):
        def before_update(self, strategy: Any, **kwargs: Any) -> None:
            self.before = start_of(strategy.model)
            loss = functional.cross_entropy(strategy.mb_output, strategy.mb_y)
            penalty.append(float(strategy.loss - loss))

        def after_update(self, strategy: Any, **kwargs: Any) -> None:
            gradients = {n: p.grad.clone() for n, p in strategy.model.named_parameters()}
            steps.append((self.before, start_of(strategy.model), gradients))

    guide = guide_of(model_of())
    results = []
    for gtl_first in (True, False):
        both = [GTLPlugin(guide), EWCPlugin(ewc_lambda=50.0)]
        plugins = [*(both if gtl_first else reversed(both)), Keeper()]
        results.append(train(model_of(), sgd, plugins, experiences(2), epochs=3))
    assert penalty[:3] == [0.0, 0.0, 0.0]
    assert min(penalty[4:6]) > 1e-6
    for before, after, gradients in steps:
        for key, g in guide.values.items():
            torch.testing.assert_close(after[key], before[key] - 0.1 * g * gradients[key])
    for key, value in results[0].items():
        assert torch.equal(results[1][key], value)


class Operations(TorchDispatchMode):
    """The names of the operations that run inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("name", "apply", "expected"),
    [
        ("Adam", "update", {"_foreach_copy_", "_foreach_lerp_"}),
        ("SGD", "update", {"_foreach_addcmul_"}),
        ("Adam", "gradient", {"_foreach_mul_"}),
    ],
)
def test_in_steady_state_there_is_no_allocation(name: str, apply: Any, expected: set[str]) -> None:
    seen: list[set[str]] = []

    class Watched(GTLPlugin):
        def before_update(self, strategy: Any, **kwargs: Any) -> None:
            with Operations() as operations:
                super().before_update(strategy, **kwargs)
            seen.append(operations.names)

        def after_update(self, strategy: Any, **kwargs: Any) -> None:
            with Operations() as operations:
                super().after_update(strategy, **kwargs)
            seen[-1] |= operations.names

        def _step_guided(self, *args: Any) -> None:
            with Operations() as operations:
                super()._step_guided(*args)
            seen[-1] |= operations.names

    model = model_of()
    train(model, OPTIMIZERS[name], [Watched(guide_of(model), apply)], experiences(3), epochs=2)
    assert len(seen) == 6
    assert all(names - {"detach"} == expected for names in seen[1:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"apply": "loss"}, "apply is 'loss'"),
        ({"default": -1.0}, "default is -1.0"),
        ({"default": "median"}, "default is 'median'"),
        ({"default": float("nan")}, "default is nan"),
    ],
)
def test_options_that_do_not_exist(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GTLPlugin(guide_of(model_of()), **options)


def test_a_guide_of_ones_changes_nothing() -> None:
    values = {name: torch.ones(p.shape) for name, p in model_of().named_parameters()}
    for name in ("SGD", "Adam"):
        guided = train(model_of(), OPTIMIZERS[name], [GTLPlugin(Guide(values))], experiences(2))
        unguided = train(model_of(), OPTIMIZERS[name], [], experiences(2))
        for key, value in unguided.items():
            assert torch.equal(guided[key], value)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_copied_strategy_is_guided_as_well(name: str) -> None:
    model = model_of()
    plugin = GTLPlugin(guide_of(model))
    train(model, OPTIMIZERS[name], [plugin], experiences(1))
    twin, twin_plugin = copy.deepcopy((model, plugin))
    one = train(model, OPTIMIZERS[name], [plugin], experiences(1))
    other = train(twin, OPTIMIZERS[name], [twin_plugin], experiences(1))
    for key, value in one.items():
        assert torch.equal(other[key], value)


# --- guides by distance --------------------------------------------------------------------------


def test_the_guide_switches_as_the_learner_moves_away() -> None:
    model = model_of()
    zeros = {name: torch.zeros(p.shape) for name, p in model.named_parameters()}
    ones = {name: torch.ones(p.shape) for name, p in model.named_parameters()}
    guides = DistanceGuides((Guide(ones), Guide(zeros)), (0.05,))
    distances: list[float] = []

    class Keeper(SupervisedPlugin):
        def after_update(self, strategy: Any, **kwargs: Any) -> None:
            start, now = start_of(model_of()), start_of(strategy.model)
            moved = torch.cat([(now[key] - start[key]).flatten() for key in start])
            distances.append(float(moved.norm()))

    train(model, sgd, [DistanceGTLPlugin(guides), Keeper()], experiences(2), epochs=5)
    first = next(index for index, distance in enumerate(distances) if distance >= 0.05)
    assert 0 < first < 8
    assert all(a < b for a, b in itertools.pairwise(distances[: first + 1]))
    assert set(distances[first:]) == {distances[first]}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_guided_step_on_a_gpu(name: str) -> None:
    results = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = model_of().to(device)
        strategy = Naive(
            model=model,
            optimizer=OPTIMIZERS[name](list(model.parameters())),
            plugins=[GTLPlugin(guide_of(model))],
            train_mb_size=BATCH,
            evaluator=None,
            device=device,
        )
        torch.manual_seed(3)
        strategy.train(experiences(1)[0], eval_streams=[])
        results.append({key: p.detach().cpu() for key, p in model.named_parameters()})
    for key, value in results[0].items():
        torch.testing.assert_close(results[1][key], value, rtol=1e-6, atol=1e-9)
