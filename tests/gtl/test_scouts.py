"""Scouts: their sub-problems, what they are trained on, and that stacking changes nothing."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

from gtl_bench.gtl import Guide, scout
from gtl_bench.gtl.scouts import send
from gtl_bench.gtl.stacked import stackable
from gtl_bench.gtl.subproblems import class_subsets, draw


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def source(n_classes: int = 6, per_class: int = 12, size: tuple[int, ...] = (1, 4, 4)) -> Any:
    """Noisy prototypes: inputs (n × size) and labels (n)."""
    generator = seeded(1)
    y = torch.arange(n_classes).repeat(per_class)
    prototypes = torch.randn(n_classes, *size, generator=generator, dtype=torch.float64)
    noise = torch.randn(len(y), *size, generator=generator, dtype=torch.float64)
    return prototypes[y] + 0.5 * noise, y


def perceptron(outputs: int = 6) -> nn.Module:
    torch.manual_seed(2)
    layers = nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(8, outputs)).double()


OPTIONS: dict[str, Any] = {"n_scouts": 7, "n_classes": 3, "epochs": 3, "lr": 0.1, "batch_size": 4}


# --- sub-problems --------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k", "count"), [(10, 3, 120), (5, 2, 7), (4, 4, 3), (100, 50, 20)])
def test_class_subsets_differ_while_that_is_possible(n: int, k: int, count: int) -> None:
    subsets = class_subsets(n, k, count, seeded())
    assert all(len(set(subset)) == k and set(subset) <= set(range(n)) for subset in subsets)
    times = Counter(subsets)
    assert max(times.values()) == math.ceil(count / math.comb(n, k))
    assert len(times) == min(count, math.comb(n, k))


@pytest.mark.parametrize("examples", [None, 4, 10, 36])
def test_sub_problems_hold_their_classes_examples(examples: int | None) -> None:
    y = torch.arange(6).repeat(12)
    problems = draw(y, n_scouts=5, n_classes=3, examples=examples, epochs=2, generator=seeded())
    for problem in problems:
        counts = Counter(y[problem.train].tolist())
        assert tuple(sorted(counts)) == problem.classes
        assert sum(counts.values()) == (36 if examples is None else examples)
        assert max(counts.values()) - min(counts.values()) <= 1
        both = torch.cat([problem.train, problem.held_out])
        assert len(both.unique()) == len(both)
        assert set(y[both].tolist()) == set(problem.classes)
        assert problem.orders.shape == (2, len(problem.train))
        assert examples == 4 or not torch.equal(*problem.orders)
        for order in problem.orders:
            assert torch.equal(order.sort().values, torch.arange(len(problem.train)))


def test_a_class_with_too_few_examples_gives_all_it_has() -> None:
    y = torch.tensor([0] * 2 + [1] * 20)
    (problem,) = draw(y, n_scouts=1, n_classes=2, examples=10, epochs=1, generator=seeded())
    assert Counter(y[problem.train].tolist()) == {0: 2, 1: 5}
    assert Counter(y[problem.held_out].tolist()) == {1: 5}


# --- what a scout is -----------------------------------------------------------------------------


def plain_loop(
    model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, masked: bool, **o: Any
) -> list[nn.Module]:
    """Scouts as anyone would train them."""
    problems = draw(
        y,
        n_scouts=o["n_scouts"],
        n_classes=o["n_classes"],
        examples=o.get("examples"),
        epochs=o["epochs"],
        generator=generator,
    )
    scouts = []
    for problem in problems:
        one = copy.deepcopy(model)
        momentum = o.get("momentum", 0.0)
        optimizer = torch.optim.SGD(one.parameters(), lr=o["lr"], momentum=momentum)
        for order in problem.orders:
            for batch in problem.train[order].split(o["batch_size"]):
                logits, labels = one(x[batch]), y[batch]
                if masked:
                    logits = logits[:, list(problem.classes)]
                    labels = torch.tensor([problem.classes.index(int(c)) for c in labels])
                optimizer.zero_grad()
                functional.cross_entropy(logits, labels).backward()
                optimizer.step()
        scouts.append(one)
    return scouts


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("absent", ["free", "masked"])
@pytest.mark.parametrize("more", [{}, {"momentum": 0.7}, {"examples": 10}, {"batch_size": 50}])
def test_scouts_are_plain_sgd_on_their_examples(
    stacked: bool, absent: Any, more: dict[str, Any]
) -> None:
    x, y = source()
    options = {**OPTIONS, **more}
    expected = Guide.from_scouts(
        perceptron(), plain_loop(perceptron(), x, y, seeded(3), absent == "masked", **options)
    )
    model = perceptron()
    guide = scout(model, (x, y), generator=seeded(3), absent=absent, stacked=stacked, **options)
    for name, value in expected.values.items():
        torch.testing.assert_close(guide.values[name], value, rtol=1e-5, atol=0)
    for name, parameter in perceptron().named_parameters():
        assert torch.equal(model.get_parameter(name), parameter)


class Residual(nn.Module):
    """Looks at the data twice, and shares a layer with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.shared = nn.Linear(16, 16)
        self.head = nn.Linear(16, 6, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        x = torch.tanh(self.first(x)) + x
        return self.head(self.shared(torch.tanh(self.shared(x))))


class Tokens(nn.Module):
    """Linear layers over the second of three dimensions, and a layer that isn't linear."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 8)
        self.norm = nn.LayerNorm(8)
        self.mlp = nn.Linear(8, 8)
        self.head = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.embed(x.flatten(1, 2)))
        return self.head((x + functional.gelu(self.mlp(x))).mean(1))


class Tied(nn.Module):
    """Two layers of one weight, and a layer whose output leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.second = nn.Linear(16, 16, bias=False)
        self.second.weight = self.first.weight
        self.idle = nn.Linear(16, 3)
        self.head = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x.view(x.size(0), -1)))
        self.idle(x)
        return self.head(torch.tanh(self.second(x)))


class Doubled(nn.Module):
    """Its first layer sees the data twice as large."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(2 * x.flatten(1))


def convolutional() -> nn.Module:
    layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 8), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(8, 6))


def partly_frozen() -> nn.Module:
    model = perceptron()
    model[1].bias.requires_grad_(False)
    model[3].requires_grad_(False)
    return model


def one_layer() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6))


@pytest.mark.parametrize(
    "build",
    [perceptron, Residual, Tokens, Tied, Doubled, convolutional, partly_frozen, one_layer],
)
@pytest.mark.parametrize("examples", [9, None])  # fewer and more than the data's 16 inputs
def test_stacked_or_in_turn_gives_the_same_scouts(
    build: Callable[[], nn.Module], examples: int | None
) -> None:
    torch.manual_seed(4)
    x, y = source()
    x, y = x[:-5], y[:-5]  # classes of 11 and 12 examples, so that scouts differ in size
    model = build().double()
    assert stackable(model, x, 9) is not None
    scouts = []
    for stacked in (True, False):
        snapshots = send(
            model,
            (x, y),
            generator=seeded(5),
            examples=examples,
            momentum=0.3,
            stacked=stacked,
            every_epoch=True,
            **{**OPTIONS, "batch_size": 5},
        )
        scouts.append(sorted(snapshots, key=lambda s: s.scout))
    assert len(scouts[0]) == len(scouts[1]) == OPTIONS["n_scouts"] * OPTIONS["epochs"]
    trainable = [name for name, p in model.named_parameters() if p.requires_grad]
    for side_by_side, in_turn in zip(*scouts):
        assert list(side_by_side.displacement) == list(in_turn.displacement) == trainable
        for name, moved in in_turn.displacement.items():
            torch.testing.assert_close(side_by_side.displacement[name], moved)
        assert (side_by_side.record is None) == (in_turn.record is None)
        if side_by_side.record is not None and in_turn.record is not None:
            assert repr(side_by_side.record[:-1]) == repr(in_turn.record[:-1])
            assert side_by_side.record.distance == pytest.approx(in_turn.record.distance)


def test_a_layer_fed_by_the_data_is_told_from_one_that_is_not() -> None:
    x = torch.zeros(20, 1, 4, 4)  # where doubled data look like the data
    doubled, plain = stackable(Doubled(), x, 5), stackable(one_layer(), x, 5)
    assert doubled is not None
    assert plain is not None
    assert (list(doubled.inputs), list(doubled.linear)) == ([], ["head"])
    assert (list(plain.inputs), list(plain.linear)) == (["1"], [])
    assert not plain.reads_data
    residual = stackable(Residual(), x, 5)
    assert residual is not None
    assert list(residual.inputs) == ["first"]
    assert list(residual.linear) == ["head"]
    assert residual.reads_data


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm1d(12), nn.BatchNorm1d(12, track_running_stats=False), nn.Dropout(0.3)]
)
def test_what_cannot_be_stacked_is_trained_in_turn(layer: nn.Module) -> None:
    x, y = source()
    model = perceptron()
    model[2] = layer.double()
    assert stackable(model, x, 9) is None
    torch.manual_seed(8)
    before = torch.get_rng_state()
    guide = scout(model, (x, y), generator=seeded(), **OPTIONS)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(9)
    assert scout(model, (x, y), generator=seeded(), stacked=True, **OPTIONS) == guide
    assert "2.running_mean" not in guide.values
    assert len(guide.scouts) == OPTIONS["n_scouts"]


class DrawsAtRandom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.dropout(x.flatten(1)))


class LooksAtNeighbours(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1) - x.flatten(1).mean(0))


class LooksAtValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 6)

    def forward(self, x: Tensor) -> Tensor:
        out = self.head(x.flatten(1))
        return out if out.sum() > 0 else 2 * out


@pytest.mark.parametrize("build", [DrawsAtRandom, LooksAtNeighbours, LooksAtValues])
def test_models_that_only_the_attempt_shows_to_be_unstackable(
    build: Callable[[], nn.Module],
) -> None:
    x, y = source()
    model = build().double()
    assert stackable(model, x, 9) is None
    guide = scout(model, (x, y), generator=seeded(), stacked=True, **OPTIONS)
    assert scout(model, (x, y), generator=seeded(), **OPTIONS) == guide


# --- absent classes ------------------------------------------------------------------------------


@pytest.mark.parametrize("stacked", [True, False])
def test_masked_scouts_leave_absent_classes_alone(stacked: bool) -> None:
    x, y = source()
    options = {**OPTIONS, "momentum": 0.5, "generator": seeded(), "stacked": stacked}
    for snapshot in send(perceptron(), (x, y), absent="masked", **options):
        assert snapshot.record is not None
        rows = (
            snapshot.displacement["5.weight"].abs().sum(1) + snapshot.displacement["5.bias"].abs()
        )
        moved = torch.nonzero(rows).flatten().tolist()
        assert tuple(moved) == snapshot.record.classes
    for snapshot in send(perceptron(), (x, y), absent="free", **options):
        # Biases of absent classes are pushed down, and only down.
        assert snapshot.record is not None
        absent = [c for c in range(6) if c not in snapshot.record.classes]
        assert (snapshot.displacement["5.bias"][absent] < 0).all()


# --- randomness ----------------------------------------------------------------------------------


@pytest.mark.parametrize("stacked", [True, False])
def test_same_generator_same_bits_whatever_the_global_state(stacked: bool) -> None:
    x, y = source()
    x, model = x.float(), perceptron().float()
    guides = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        guides.append(scout(model, (x, y), generator=seeded(6), stacked=stacked, **OPTIONS))
        assert torch.equal(torch.get_rng_state(), before)
    assert guides[0] == guides[1]
    assert repr(guides[0].scouts) == repr(guides[1].scouts)
    assert scout(model, (x, y), generator=seeded(7), stacked=stacked, **OPTIONS) != guides[0]


# --- records, early stop, progress ---------------------------------------------------------------


@pytest.mark.parametrize("stacked", [True, False])
def test_records_report_the_scouts_accuracies(stacked: bool) -> None:
    x, y = source()
    options = {**OPTIONS, "examples": 9, "epochs": 20}
    guide = scout(perceptron(), (x, y), generator=seeded(), stacked=stacked, **options)
    problems = draw(y, n_scouts=7, n_classes=3, examples=9, epochs=20, generator=seeded())
    trained = plain_loop(perceptron(), x, y, seeded(), False, **options)
    for record, problem, one in zip(guide.scouts, problems, trained):

        def accuracy(rows: Tensor, one: nn.Module = one) -> float:
            return float((one(x[rows]).argmax(1) == y[rows]).double().mean())

        assert record[:3] == (problem.classes, 9, 20)
        assert record.train_accuracy == pytest.approx(accuracy(problem.train))
        assert record.held_out_accuracy == pytest.approx(accuracy(problem.held_out))
        ends = [nn.utils.parameters_to_vector(m.parameters()) for m in (one, perceptron())]
        assert record.distance == pytest.approx((ends[0] - ends[1]).norm().item())
    everything = scout(perceptron(), (x, y), generator=seeded(), stacked=stacked, **OPTIONS)
    assert all(math.isnan(record.held_out_accuracy) for record in everything.scouts)
    assert everything.focused().scouts is everything.scouts


@pytest.mark.parametrize("stacked", [True, False])
def test_scouts_stop_at_the_target_accuracy(stacked: bool) -> None:
    x, y = source()
    options = {**OPTIONS, "epochs": 12, "generator": seeded(), "stacked": stacked}
    stopped = scout(perceptron(), (x, y), target_accuracy=0.8, **options)
    epochs = [record.epochs for record in stopped.scouts]
    assert len(set(epochs)) > 1
    for record in stopped.scouts:
        assert (record.train_accuracy >= 0.8) or record.epochs == 12
    options["generator"] = seeded()
    paths: dict[int, list[dict[str, Tensor]]] = {}
    for snapshot in send(perceptron(), (x, y), every_epoch=True, **options):
        paths.setdefault(snapshot.scout, []).append(snapshot.displacement)
    expected = torch.stack([paths[i][n - 1]["1.weight"] ** 2 for i, n in enumerate(epochs)]).mean(0)
    torch.testing.assert_close(stopped.values["1.weight"], expected.float())


@pytest.mark.parametrize("stacked", [True, False])
def test_progress_counts_every_scout(stacked: bool) -> None:
    calls: list[tuple[int, int]] = []
    scout(
        perceptron(),
        source(),
        generator=seeded(),
        progress=lambda done, of: calls.append((done, of)),
        stacked=stacked,
        target_accuracy=0.8,
        **OPTIONS,
    )
    assert calls == [(done, 7) for done in range(1, 8)]


# --- what is given -------------------------------------------------------------------------------


class Rows(Dataset[tuple[Tensor, int, int]]):
    """As Avalanche's data sets: input, class, task."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        return self.x[index], int(self.y[index]), 0


def test_any_form_of_the_source_gives_the_same_guide() -> None:
    x, y = source()
    forms = ((x, y), TensorDataset(x, y), Rows(x, y))
    guides = [scout(perceptron(), form, generator=seeded(), **OPTIONS) for form in forms]
    assert guides[0] == guides[1] == guides[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_classes": 7}, "n_classes is 7, but the source has 6 classes"),
        ({"n_scouts": 0}, "n_scouts is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"examples": 2}, "examples is 2"),
        ({"absent": "hidden"}, "absent is 'hidden'"),
        ({"absent": "masked", "n_classes": 1}, "nothing to learn"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"momentum": 1.0}, "momentum 1.0"),
        ({"target_accuracy": 1.5}, "target_accuracy is 1.5"),
        ({"measure": "cubed"}, "measure is 'cubed'"),
        ({"lr": 1e30}, "diverged .* lower its learning rate"),
    ],
)
def test_options_out_of_range_are_one_line_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        scout(perceptron(), source(), generator=seeded(), **{**OPTIONS, **options})
    assert "\n" not in str(error.value)


def test_a_model_without_trainable_parameters_is_an_error() -> None:
    with pytest.raises(ValueError, match="no trainable parameter"):
        scout(perceptron().requires_grad_(False), source(), generator=seeded(), **OPTIONS)


def test_scouting_works_where_gradients_are_off() -> None:
    guide = scout(perceptron(), source(), generator=seeded(), **OPTIONS)
    with torch.no_grad():
        assert scout(perceptron(), source(), generator=seeded(), **OPTIONS) == guide


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("stacked", [True, False])
def test_a_gpu_gives_the_same_guide(stacked: bool) -> None:
    x, y = source()
    on_cpu = scout(perceptron(), (x, y), generator=seeded(), stacked=stacked, **OPTIONS)
    on_gpu = scout(perceptron().cuda(), (x, y), generator=seeded(), stacked=stacked, **OPTIONS)
    for name, value in on_cpu.values.items():
        torch.testing.assert_close(on_gpu.values[name], value, rtol=1e-4, atol=1e-8)
