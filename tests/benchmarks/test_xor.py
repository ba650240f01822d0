"""XOR is what its description says: many networks, each with its own loss, scouts and guide."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from gtl_bench.data import DataFolder
from gtl_bench.experiment import Measured, Trial
from gtl_bench.experiments.xor import (
    POINTS,
    SOLVED,
    GuidePerNetwork,
    Networks,
    Xor,
    XorTask,
    has_stalled,
    losses,
    measured,
    total_loss,
)
from gtl_bench.gtl import Guide
from gtl_bench.recipes import LEARNER_DEFAULTS, discover
from gtl_bench.rng import Rng
from gtl_bench.scenario import Pretraining
from gtl_bench.source import Source

REGISTRY = discover()
RECIPE = REGISTRY.benchmark("xor")
SCOUTS = {
    "n_scouts": 4,
    "n_classes": 2,
    "examples": 3,
    "epochs": 7,
    "lr": 1.0,
    "batch_size": 10,
    "measure": "squared",
    "absent": "free",
}


def build(seed: int = 0, **settings: object) -> Xor:
    built = RECIPE.build(DataFolder(Path("/nonexistent"), download=False), Rng(seed), **settings)
    assert isinstance(built, Xor)
    return built


def networks(count: int = 3, hidden: int = 2) -> Networks:
    return Networks(count, hidden, torch.Generator().manual_seed(1))


def alone(many: Networks, index: int) -> nn.Sequential:
    """One of the networks in PyTorch's own layers."""
    hidden, output = (
        nn.Linear(2, many.hidden_bias.shape[1]),
        nn.Linear(many.hidden_bias.shape[1], 1),
    )
    with torch.no_grad():
        hidden.weight.copy_(many.hidden_weight[index])
        hidden.bias.copy_(many.hidden_bias[index])
        output.weight.copy_(many.output_weight[index][None])
        output.bias.copy_(many.output_bias[index][None])
    return nn.Sequential(hidden, nn.Sigmoid(), output)


def flat(parameters: list[Tensor]) -> list[float]:
    return torch.cat([parameter.detach().flatten() for parameter in parameters]).tolist()


def take(strategy: str, **settings: object) -> Measured:
    recipe = RECIPE.adapted(REGISTRY.strategy(strategy))
    own = {key: value for key, value in recipe.defaults.items() if key not in LEARNER_DEFAULTS}
    trial = Trial(
        strategy=strategy,
        settings=recipe.defaults,
        plugins=lambda source: recipe.build(source, **own),
        source=lambda task, name: Source(task, Rng(0)),
        rng=Rng(0),
        device=torch.device("cpu"),
        every_step=True,
    )
    return build(**settings).take(trial)


def last(found: Measured, metric: str, size: int = 0) -> float:
    [values] = [
        values for name, index, _, values in found.series if (name, index) == (metric, size)
    ]
    return float(values[-1])


def test_five_hundred_initialisations_over_the_default_seeds() -> None:
    built = build()
    assert built.hidden == (2, 3, 4, 8)
    for hidden, many in zip(built.hidden, built.networks, strict=True):
        assert len(many.output_bias) * 5 >= 500
        assert many.hidden_weight.shape == (100, hidden, 2)
        for name, value in many.named_parameters():
            bound = (2 if name.startswith("hidden") else hidden) ** -0.5
            assert 0.9 * bound < float(value.detach().abs().max()) <= bound
    assert not torch.equal(built.networks[0].hidden_weight, build(1).networks[0].hidden_weight)
    assert torch.equal(built.networks[0].hidden_weight, build(hidden="2").networks[0].hidden_weight)


def test_the_four_points_are_all_there_is() -> None:
    assert [*zip(*POINTS.x.int().T.tolist(), POINTS.y.tolist(), strict=True)] == [
        (a, b, a ^ b) for a in (0, 1) for b in (0, 1)
    ]
    assert build().tested() == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("hidden", "0"), ("hidden", "2,2"), ("networks", 0), ("steps", 0), ("steps", 1001)],
)
def test_wrong_values_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        build(**{key: value})


@pytest.mark.parametrize("index", [0, 2])
def test_each_network_gets_the_gradient_of_its_own_loss(index: int) -> None:
    many = networks(hidden=3)
    total_loss(many(POINTS.x), POINTS.y).backward()
    one = alone(many, index)
    loss = functional.binary_cross_entropy_with_logits(one(POINTS.x)[:, 0], POINTS.y.float())
    loss.backward()
    assert losses(many(POINTS.x), POINTS.y)[index].item() == pytest.approx(loss.item())
    own = [value.grad[index] for value in many.parameters() if value.grad is not None]
    gradients = [value.grad for value in one.parameters() if value.grad is not None]
    assert flat(own) == pytest.approx(flat(gradients), abs=1e-6)


@given(st.lists(st.floats(-20, 20), min_size=4, max_size=4))
def test_who_has_solved_it_has_all_points_on_the_right_side(logits: list[float]) -> None:
    outputs = torch.tensor(logits)[:, None]
    if float(losses(outputs, POINTS.y)) < SOLVED:
        assert ((outputs[:, 0] > 0) == POINTS.y.bool()).all()


def test_scouts_learn_every_three_of_the_four_points_by_hand() -> None:
    many = networks()
    task = XorTask(many, POINTS, Pretraining(epochs=0))
    found = task.scouts(many, torch.Generator().manual_seed(0), **SCOUTS)
    start = alone(many, 1)
    squared = torch.zeros(9)
    for left_out in range(4):
        scout = copy.deepcopy(start)
        part = [point for point in range(4) if point != left_out]
        optimizer = torch.optim.SGD(scout.parameters(), lr=1.0)
        for _ in range(7):
            optimizer.zero_grad()
            outputs = scout(POINTS.x[part])[:, 0]
            functional.binary_cross_entropy_with_logits(outputs, POINTS.y[part].float()).backward()
            optimizer.step()
        moved = torch.tensor(flat([*scout.parameters()])) - torch.tensor(
            flat([*start.parameters()])
        )
        squared += moved**2 / 4
    assert flat([found[name][1] for name, _ in many.named_parameters()]) == pytest.approx(
        squared.tolist(), rel=1e-3, abs=1e-7
    )


def test_pairs_of_points_show_both_classes() -> None:
    many = networks()
    task = XorTask(many, POINTS, Pretraining(epochs=0))
    settings = SCOUTS | {"examples": 2, "n_scouts": 1, "epochs": 1}
    mixed = {(0, 1), (0, 2), (1, 3), (2, 3)}
    seen = set()
    for seed in range(30):
        found = task.scouts(many, torch.Generator().manual_seed(seed), **settings)
        for pair in mixed:
            one = alone(many, 0)
            functional.binary_cross_entropy_with_logits(
                one(POINTS.x[list(pair)])[:, 0], POINTS.y[list(pair)].float()
            ).backward()
            gradient = one[2].bias.grad
            assert gradient is not None
            if found["output_bias"][0].item() == pytest.approx(gradient.item() ** 2, rel=1e-3):
                weights = one[0].weight.grad
                assert weights is not None
                if torch.allclose(found["hidden_weight"][0], weights**2, rtol=1e-3, atol=1e-9):
                    seen.add(pair)
    assert seen == mixed


@pytest.mark.parametrize(
    "change", [{"examples": 4}, {"examples": None}, {"n_classes": 3}, {"absent": "masked"}]
)
def test_what_parts_of_xor_do_not_allow_is_refused(change: dict[str, object]) -> None:
    many = networks()
    task = XorTask(many, POINTS, Pretraining(epochs=0))
    with pytest.raises(ValueError, match="scout"):
        task.scouts(many, torch.Generator(), **(SCOUTS | change))


@pytest.mark.parametrize("scope", ["tensor", "model"])
@pytest.mark.parametrize("temperature", ["room", "icy", "warm", "freezing"])
def test_guides_are_those_of_each_network(scope: str, temperature: str) -> None:
    generator = torch.Generator().manual_seed(3)
    raw = {
        name: torch.rand(value.shape, generator=generator)
        for name, value in networks().named_parameters()
    }
    guide = GuidePerNetwork(raw)
    for index in range(3):
        one = Guide({name: value[index] for name, value in raw.items()})
        for change in (
            lambda g: g.focused(scope=scope).tempered(temperature),
            lambda g: g.focused(scope=scope).scalar(),
            lambda g: g.focused("normalized", scope=scope).inverted(),
        ):
            own = {name: value[index] for name, value in change(guide).values.items()}
            assert Guide(own) == change(one)


def test_shuffled_guides_stay_within_their_network() -> None:
    raw = {"w": torch.arange(24.0).view(3, 4, 2)}
    after = GuidePerNetwork(raw).shuffled(torch.Generator().manual_seed(0)).values["w"]
    for before, own in zip(raw["w"], after, strict=True):
        assert sorted(own.flatten().tolist()) == before.flatten().tolist()
    assert not torch.equal(after, raw["w"])


def test_stalled_is_unsolved_and_level() -> None:
    curves = torch.full((9, 5), 0.5)
    curves[-1] = torch.tensor([0.5, 0.496, 0.494, 0.09, torch.nan])
    curves[:6] = 0.7  # what was before the last quarter doesn't count
    assert has_stalled(curves).tolist() == [True, True, False, False, True]


def test_records_by_hand() -> None:
    curve = torch.tensor([[0.7, 0.7, 0.7], [0.05, 0.7, 0.7], [0.05, 0.09, 0.7], [0.04, 0.05, 0.7]])
    found = {(name, index): values for name, index, _, values in measured([curve])}
    assert found["accuracy", 0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3])
    assert found["steps", 0] == 15  # the median of 10 and 20
    assert found["stalled", 0] == pytest.approx(1 / 3)
    assert ("diverged", -1) not in found
    curve[2:, 2] = torch.nan
    broken = {name: steps for name, _, steps, _ in measured([curve])}
    assert broken["diverged"].tolist() == [20]


def test_networks_learn_and_the_frozen_base_does_not() -> None:
    settings = {"hidden": "4", "networks": 40, "steps": 800}
    found = take("naive", **settings)
    assert last(found, "accuracy") > 0.9
    assert 100 < last(found, "steps") < 700
    assert found.boundaries == (800,)
    frozen = take("frozen", **settings)
    assert last(frozen, "accuracy") == 0
    assert last(frozen, "stalled") == 1


def test_guided_networks_learn_more_slowly() -> None:
    settings = {"hidden": "8", "networks": 20, "steps": 400}
    assert last(take("gtl", **settings), "accuracy") < last(take("naive", **settings), "accuracy")
