"""EWC and SI against their equations and Avalanche's plugins, and why those can't do the job."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from avalanche.training.plugins import EWCPlugin, SynapticIntelligencePlugin
from torch import Tensor, nn

from gtl_bench.learner import Learner, stream_of
from gtl_bench.regularizers import EWC, MAS, SynapticIntelligence, add_fisher_information


@pytest.fixture
def model() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5, generator=generator)
    return model


@pytest.fixture
def experiences() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.rand(4, 6, generator=generator), torch.randint(0, 3, (4,), generator=generator))
        for _ in range(5)
    ]


def trained(
    model: nn.Module, experiences: list[Any], *plugins: Any, lr: float = 0.1, batch_size: int = 1
) -> nn.Module:
    model = copy.deepcopy(model)
    learner = Learner(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=lr),
        plugins=plugins,
        epochs=3,
        batch_size=batch_size,
    )
    learner.train(stream_of(experiences), eval_streams=[])
    return model


def distance(a: nn.Module, b: nn.Module) -> float:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max(float((p - q).abs().max().detach()) for p, q in pairs)


class OneByOneEWC(EWCPlugin):
    """Avalanche's EWC with the gradients of single examples squared."""

    def compute_importances(
        self,
        model: Any,
        criterion: Any,
        optimizer: Any,
        dataset: Any,
        device: Any,
        batch_size: int,
        num_workers: int = 0,
    ) -> Any:
        return super().compute_importances(model, criterion, optimizer, dataset, device, 1)


def test_fisher_is_the_mean_of_squared_single_gradients(
    model: nn.Module, experiences: list[tuple[Tensor, Tensor]]
) -> None:
    x, y = experiences[0]
    dataset = stream_of([(x, y)])[0].dataset
    fisher = [torch.zeros_like(parameter) for parameter in model.parameters()]
    add_fisher_information(fisher, model, list(model.parameters()), nn.CrossEntropyLoss(), dataset)
    expected = torch.zeros_like(model[0].weight)
    for i in range(len(y)):
        # The gradient of the log-likelihood, written out: d/dz = softmax − one-hot, tanh' = 1 − h².
        hidden = torch.tanh(model[0](x[i]))
        delta = torch.softmax(model[2](hidden), 0)
        delta[y[i]] -= 1
        back = (model[2].weight.T @ delta) * (1 - hidden**2)
        expected += torch.outer(back, x[i]) ** 2 / len(y)
    assert torch.allclose(fisher[0], expected, atol=1e-8)


def test_ewc_equals_avalanches_online_mode(
    model: nn.Module, experiences: list[tuple[Tensor, Tensor]]
) -> None:
    # Their loss has λ where the paper has λ/2.
    theirs = trained(model, experiences, OneByOneEWC(2.0, mode="online", decay_factor=0.9))
    ours = trained(model, experiences, EWC(4.0, decay=0.9))
    assert distance(ours, theirs) < 1e-5
    assert distance(ours, trained(model, experiences)) > 1e-2


def test_avalanches_ewc_squares_the_mean_gradient_of_a_batch(
    model: nn.Module, experiences: list[tuple[Tensor, Tensor]]
) -> None:
    theirs = EWCPlugin(1.0, mode="online", decay_factor=1.0)
    trained(model, experiences[:1], theirs, lr=0.0, batch_size=4)
    ours = EWC(1.0)
    trained(model, experiences[:1], ours, lr=0.0, batch_size=4)
    ratio = theirs.importances[0]["0.weight"].data.sum() / ours.importance["0.weight"].sum()
    assert ratio < 0.7


def test_ewc_holds_the_more_the_larger_lambda(
    model: nn.Module, experiences: list[tuple[Tensor, Tensor]]
) -> None:
    base = trained(model, experiences[:1])
    moved = []
    for strength in (0.0, 10.0, 100.0):
        plugin = EWC(strength)
        trained(base, experiences[:1], plugin, lr=0.0)
        moved.append(distance(trained(base, experiences[1:], plugin, lr=0.01), base))
    assert moved[0] > 1.1 * moved[1] > 1.1 * moved[2]


def test_si_on_one_weight_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    plugin = SynapticIntelligence(si_lambda=3.0, damping=0.1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    learner = Learner(model=model, optimizer=optimizer, plugins=[plugin], epochs=2)
    learner._criterion = lambda output, y: output.square().sum() / 2
    learner.train(stream_of([(torch.ones(1, 1), torch.zeros(1, dtype=torch.int64))]), [])
    # w: 2 -> 1.5 -> 1.125 (gradient w, lr 1/4); ω = 2·0.5 + 1.5·0.375; Δ = 0.875.
    omega = 2 * 0.5 + 1.5 * 0.375
    assert model.weight.item() == pytest.approx(1.125)
    assert plugin.importance["weight"].item() == pytest.approx(omega / (0.875**2 + 0.1))
    # One more experience, which moves the anchor: at first the task's gradient is 1.125, the
    # penalty's 0, and in the epoch after 2·c·Ω·(w − w*).
    importance = omega / (0.875**2 + 0.1)
    learner.train(stream_of([(torch.ones(1, 1), torch.zeros(1, dtype=torch.int64))]), [])
    assert plugin.anchor["weight"].item() == pytest.approx(1.125)
    first = 1.125 - 0.25 * 1.125
    second = first - 0.25 * (first + 2 * 3.0 * importance * (first - 1.125))
    assert model.weight.item() == pytest.approx(second)
    # Only the task's gradient counts towards importance, whatever the penalty did.
    gained = 1.125 * (1.125 - first) + first * (first - second)
    expected = importance + max(0.0, gained) / ((1.125 - second) ** 2 + 0.1)
    assert plugin.importance["weight"].item() == pytest.approx(expected)


def test_avalanches_si_does_nothing_on_the_cpu_and_ours_does(
    model: nn.Module, experiences: list[tuple[Tensor, Tensor]]
) -> None:
    naive = trained(model, experiences)
    theirs = SynapticIntelligencePlugin(1e6)
    assert distance(trained(model, experiences, theirs), naive) == 0
    assert all(float(value.data.abs().max()) == 0 for value in theirs.ewc_data[1].values())
    ours = SynapticIntelligence(1.0)
    assert distance(trained(model, experiences, ours), naive) > 1e-3
    assert max(float(value.max()) for value in ours.importance.values()) > 0


def test_mas_is_the_mean_of_absolute_single_gradients(
    model: nn.Module, experiences: list[tuple[Tensor, Tensor]]
) -> None:
    plugin = MAS(1.0, alpha=0.25)
    trained(model, experiences[:2], plugin, lr=0.0)

    def mean_of(x: Tensor) -> Tensor:
        """For ‖Wh + b‖², the gradient at the last layer's bias is 2(Wh + b)."""
        return torch.stack([(2 * model(x[i : i + 1])[0]).abs() for i in range(len(x))]).mean(0)

    first, second = mean_of(experiences[0][0]), mean_of(experiences[1][0])
    expected = 0.25 * first + 0.75 * second
    assert torch.allclose(plugin.importance["2.bias"], expected.detach(), atol=1e-6)


@pytest.mark.parametrize(
    "plugin", [EWC(10.0), SynapticIntelligence(1.0), MAS(1.0)], ids=["ewc", "si", "mas"]
)
def test_penalty_is_above_zero_in_mid_stream(
    plugin: Any, model: nn.Module, experiences: list[tuple[Tensor, Tensor]]
) -> None:
    seen = []

    class Spy(type(plugin)):  # type: ignore[misc]
        def after_update(self, strategy: Any, **kwargs: Any) -> None:
            seen.append(self.penalty(strategy.model))

    plugin.__class__ = Spy
    trained(model, experiences, plugin)
    first, later = seen[: 3 * 4], seen[3 * 4 :]
    assert max(first) == 0
    assert min(later) > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: EWC(-1.0),
        lambda: EWC(1.0, decay=1.5),
        lambda: SynapticIntelligence(1.0, 0.0),
        lambda: MAS(1.0, 2.0),
    ],
)
def test_values_out_of_range_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        make()


def test_a_replaced_head_is_free(
    model: nn.Module, experiences: list[tuple[Tensor, Tensor]]
) -> None:
    plugin = EWC(1e3)
    trained(model, experiences[:1], plugin, lr=0.0)
    other = copy.deepcopy(model)
    other.add_module("head", nn.Linear(3, 3))
    assert plugin.penalty(other) == 0
    assert distance(trained(other, experiences[1:], plugin, lr=1e-4), other) > 0
