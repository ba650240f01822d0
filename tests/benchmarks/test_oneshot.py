"""One-shot learning is what its description says."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gtl_bench.data import DataFolder, drawings_like_mnist
from gtl_bench.experiment import Measured, Trial
from gtl_bench.experiments.characters import Characters
from gtl_bench.experiments.oneshot import (
    BINS,
    OneShot,
    checkpoints,
    divergence,
    examined,
    guide_histogram,
)
from gtl_bench.gtl import GTLPlugin, Guide
from gtl_bench.recipes import LEARNER_DEFAULTS, discover, resolve
from gtl_bench.rng import Rng
from gtl_bench.scenario import Examples
from gtl_bench.source import Cache, Source

REGISTRY = discover()
NOWHERE = DataFolder(Path("/nonexistent"), download=False)


@pytest.fixture(scope="module")
def data(shared_data: Path) -> Any:
    """A data folder that reads each data set once."""
    folder = DataFolder(shared_data, download=False)
    return SimpleNamespace(
        mnist=functools.cache(folder.mnist), omniglot=functools.cache(folder.omniglot)
    )


@pytest.fixture(scope="module")
def omniglot(data: Any) -> OneShot:
    return build("oneshot-omniglot", data)


def build(name: str, data: Any, seed: int = 0, **settings: object) -> OneShot:
    built = REGISTRY.benchmark(name).build(data, Rng(seed), **settings)
    assert isinstance(built, OneShot)
    return built


def rows(x: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in x}


def test_counts(omniglot: OneShot) -> None:
    assert omniglot.task.source.y.bincount().tolist() == [100] * 10
    assert len(omniglot.draws) == 10
    for learned, tested in ((draw.learned, draw.tested) for draw in omniglot.draws):
        assert learned.y.tolist() == list(range(20))
        assert tested.y.bincount().tolist() == [10] * 20
        assert learned.x.shape == (20, 1, 28, 28)
    digits = build("oneshot-digits", NOWHERE)
    assert digits.task.source.y.unique().tolist() == [0, 1, 2, 3, 4]
    assert len(digits.task.source.y) == 901
    for draw in digits.draws:
        assert draw.learned.y.tolist() == list(range(5))
        assert draw.tested.y.bincount().tolist() == [10] * 5


def layers(model: nn.Module) -> list[tuple[int, ...]]:
    """Shapes of all weights."""
    return [tuple(value.shape) for name, value in model.named_parameters() if "weight" in name]


def test_networks_are_those_described(data: Any, omniglot: OneShot) -> None:
    cnn = [(16, 1, 3, 3), (32, 16, 3, 3), (128, 32 * 7 * 7), (10, 128)]
    assert layers(omniglot.task.model) == cnn
    perceptron = build("oneshot-omniglot", data, network="mlp", draws=1)
    assert layers(perceptron.task.model) == [(256, 784), (256, 256), (10, 256)]
    assert layers(build("oneshot-digits", NOWHERE).task.model) == [*cnn[:3], (5, 128)]
    assert omniglot.task.replaced == ("head.",)


@pytest.mark.parametrize(
    ("name", "scouts", "examples"),
    [("oneshot-omniglot", 120, 300), ("oneshot-digits", 10, None)],
)
def test_scouts_are_as_many_as_described_and_learn_three_classes(
    quick: OneShot, name: str, scouts: int, examples: int | None
) -> None:
    asked: list[dict[str, Any]] = []

    def sent(**settings: Any) -> Guide:
        asked.append(settings)
        return Guide({"w": torch.rand(3)})

    recipe = REGISTRY.benchmark(name).adapted(REGISTRY.strategy("gtl"))
    own = {key: value for key, value in recipe.defaults.items() if key not in LEARNER_DEFAULTS}
    recipe.build(SimpleNamespace(examples=quick.task.source, scouts=sent, rng=Rng(0)), **own)
    ((settings),) = asked
    assert settings["n_scouts"] == scouts
    assert settings["n_classes"] == 3
    assert settings["examples"] == examples
    assert settings["absent"] == "free"


def test_source_characters_to_learn_and_to_test_are_disjoint(omniglot: OneShot) -> None:
    for built in (omniglot, build("oneshot-digits", NOWHERE)):
        source = rows(built.task.source.x)
        learned = set().union(*(rows(draw.learned.x) for draw in built.draws))
        tested = set().union(*(rows(draw.tested.x) for draw in built.draws))
        assert source.isdisjoint(learned | tested)
        assert learned.isdisjoint(tested)


def test_drawings_are_of_the_character_that_their_label_says(data: Any, omniglot: OneShot) -> None:
    everything = data.omniglot().images
    known = {
        image.numpy().tobytes(): character
        for character, drawings in enumerate(everything)
        for image in drawings_like_mnist(drawings)
    }
    for draw in omniglot.draws[:2]:
        learned, tested = (
            [known[(x[0] * 255).round().to(torch.uint8).numpy().tobytes()] for x in part.x]
            for part in (draw.learned, draw.tested)
        )
        assert len(set(learned)) == 20
        assert tested == [character for character in learned for _ in range(10)]


def test_reported_runs_and_tuning_share_no_character(data: Any) -> None:
    report, tune = (Characters(data.omniglot(), split) for split in ("report", "tune"))
    assert sorted([*report.indices.tolist(), *tune.indices.tolist()]) == list(range(242))
    assert len(report.indices) == len(tune.indices) == 121
    assert sorted([*report.tested.tolist(), *report.spare.tolist()]) == list(range(20))
    seen = [
        set().union(*(rows(x) for x, _ in (*built.tested(), *(d.learned for d in built.draws))))
        for built in (build("oneshot-digits", NOWHERE, split=split) for split in ("report", "tune"))
    ]
    assert seen[0].isdisjoint(seen[1])


def test_a_hundred_ways(data: Any) -> None:
    (draw,) = build("oneshot-omniglot", data, ways=100, draws=1).draws
    assert draw.tested.y.bincount().tolist() == [10] * 100
    with pytest.raises(ValueError, match="ways is 122; it must lie between 1 and 121"):
        build("oneshot-omniglot", data, ways=122)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"network": "rnn"}, "network is 'rnn'; it must be cnn or mlp"),
        ({"split": "both"}, "it must be report or tune"),
        ({"draws": 0}, "draws is 0"),
        ({"epochs": 0}, "epochs is 0"),
    ],
)
def test_wrong_values_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("oneshot-digits", NOWHERE, **settings)


Take = Callable[..., Measured]


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory, quick: OneShot) -> Take:
    """Takes a strategy, by name, through a quick experiment; one base for all."""
    cache = Cache(tmp_path_factory.mktemp("cache"))

    def take(name: str, **settings: str) -> Measured:
        recipe = REGISTRY.strategy(name)
        values = resolve(recipe, settings)
        own = {key: value for key, value in values.items() if key not in LEARNER_DEFAULTS}
        rng = Rng(0)
        trial = Trial(
            name,
            values,
            lambda source: recipe.build(source, **own),
            lambda task, name="": Source(task, rng, key="quick", cache=cache),
            rng,
            torch.device("cpu"),
            True,
        )
        return quick.take(trial)

    return take


@pytest.fixture(scope="module")
def quick() -> OneShot:
    return build("oneshot-digits", NOWHERE, draws=2, epochs=12, network="mlp")


def course(measured: Measured, metric: str) -> list[float]:
    (values,) = (v for name, _, _, v in measured.series if name == metric)
    return [float(value) for value in values]


def test_learning_beats_chance_and_all_start_alike(take: Take) -> None:
    naive = take("naive", lr="0.3")
    last = take("last-layer", lr="0.3")
    frozen = take("frozen")
    assert naive.chance == 0.2
    assert naive.more == {"ways": 5, "draws": 2}
    assert course(naive, "accuracy")[-1] > 0.35
    assert course(naive, "learned_accuracy")[-1] >= 0.8
    for metric in ("accuracy", "loss", "learned_accuracy"):
        assert course(naive, metric)[0] == course(frozen, metric)[0]
        assert len(set(course(frozen, metric))) == 1
    assert course(last, "accuracy")[-1] > 0.3
    assert course(last, "accuracy") != course(naive, "accuracy")


def test_avalanches_regularizers_do_without_the_head_that_is_replaced(take: Take) -> None:
    held = course(take("ewc-avalanche", lr="0.1", ewc_lambda="10"), "loss")
    naive = course(take("naive", lr="0.1"), "loss")
    assert held[0] == naive[0]
    assert held != naive
    assert course(take("si-avalanche", lr="0.1"), "loss") == naive  # nothing, on the CPU


def test_guides_leave_the_new_head_free_and_their_histogram_is_recorded(take: Take) -> None:
    settings = {"lr": "0.1", "n_scouts": "3", "scout_examples": "30"}
    gtl, shuffled = (take(name, **settings) for name in ("gtl", "gtl-shuffled"))
    shares = course(gtl, "guide")
    assert len(shares) == BINS
    assert sum(shares) == pytest.approx(1)
    assert course(shuffled, "guide") == pytest.approx(shares)
    assert course(shuffled, "accuracy") != course(gtl, "accuracy") or course(
        shuffled, "loss"
    ) != course(gtl, "loss")
    assert course(gtl, "learned_accuracy")[-1] >= 0.8
    assert "guide" not in {name for name, *_ in take("frozen").series}


def test_divergence_counts_as_wrong(take: Take) -> None:
    broken = take("naive", lr="1e18")
    (step,) = (steps for name, _, steps, _ in broken.series if name == "diverged")
    assert course(broken, "accuracy")[-1] == 0
    assert course(broken, "loss")[-1] == np.inf
    assert step.tolist() == [checkpoints(12)[course(broken, "loss").index(np.inf)]]


def test_checkpoints() -> None:
    assert checkpoints(1) == [0, 1]
    assert checkpoints(12) == [0, 1, 2, 5, 10, 12]
    assert checkpoints(100) == [0, 1, 2, 5, 10, 20, 50, 100]


def test_the_first_checkpoint_of_any_draw_that_broke() -> None:
    losses = np.array([[1, 2, np.inf], [1, np.inf, np.inf], [1, 1, 1]])
    ((_, _, steps, values),) = divergence(np.array([0, 5, 9]), losses)
    assert (steps.tolist(), values.tolist()) == ([5], [1.0])
    assert divergence(np.array([0, 5, 9]), losses[2:]) == []


def test_histogram_by_hand() -> None:
    guide = Guide({"a": torch.tensor([0.0, 0.019, 0.02, 1.0]), "b": torch.tensor([[0.5]])})
    shares = guide_histogram([GTLPlugin(guide)])
    assert shares is not None
    expected = np.zeros(BINS)
    expected[[0, 1, 25, 49]] = [0.4, 0.2, 0.2, 0.2]
    assert shares.tolist() == pytest.approx(expected.tolist())
    assert guide_histogram([]) is None


def test_accuracy_and_loss_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 3.0]])
    model = nn.Identity()
    accuracy, loss = examined(model, Examples(logits, torch.tensor([0, 1, 1])), torch.device("cpu"))
    assert accuracy == pytest.approx(2 / 3)
    parts = [np.log1p(np.exp(-2)), np.log(2), np.log1p(np.exp(-3))]
    assert loss == pytest.approx(np.mean(parts), rel=1e-6)
    assert model.training


def test_seeds_draw_other_characters() -> None:
    first, again, other = (build("oneshot-digits", NOWHERE, seed, draws=1) for seed in (0, 0, 1))
    assert torch.equal(first.draws[0].learned.x, again.draws[0].learned.x)
    assert not torch.equal(first.draws[0].learned.x, other.draws[0].learned.x)
    assert torch.equal(first.task.source.x, other.task.source.x)
