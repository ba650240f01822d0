"""The transfer matrix and its strategies are what their descriptions say."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from gtl_bench.data import DataFolder, like_mnist, weights
from gtl_bench.errors import DataError
from gtl_bench.experiment import Measured, Trial
from gtl_bench.experiments.transfer import Quadrant, Transfer
from gtl_bench.recipes import LEARNER_DEFAULTS, discover
from gtl_bench.rng import Rng
from gtl_bench.scenario import Examples, Pretraining
from gtl_bench.source import Source

REGISTRY = discover()
RECIPE = REGISTRY.benchmarks["transfer-matrix"]
CHOICES = ("feature-extraction", "partial-finetune", "finetune-low-lr", "from-scratch")

Build = Callable[..., Transfer]


@pytest.fixture(scope="module")
def build(shared_data: Path) -> Build:
    data = DataFolder(shared_data, download=False)

    @functools.cache
    def build(seed: int = 0, **settings: Any) -> Transfer:
        built = RECIPE.build(data, Rng(seed), **{"source_images": 200, **settings})
        assert isinstance(built, Transfer)
        return built

    return build


def take(
    built: Transfer, strategy: str, kept: list[nn.Module] | None = None, **settings: Any
) -> Measured:
    """A trial; `kept` receives the models that were trained."""
    recipe = RECIPE.adapted(REGISTRY.strategy(strategy))
    values = {**recipe.defaults, **settings}
    own = {key: value for key, value in values.items() if key not in LEARNER_DEFAULTS}
    rng = Rng(0)

    class Kept(Source):
        @property
        def model(self) -> nn.Module:
            found = super().model
            if kept is not None:
                kept.append(found)
            return found

    return built.take(
        Trial(
            strategy,
            values,
            lambda source: recipe.build(source, **own),
            lambda task, name="": Kept(task, rng),
            rng,
            torch.device("cpu"),
            True,
        )
    )


def quick(built: Transfer, epochs: int = 2) -> Transfer:
    """Few examples in all quadrants, and a base that knows little."""
    task = dataclasses.replace(built.task, pretraining=Pretraining(epochs=1))
    parts = tuple(
        Quadrant(every(q.learned, len(q.learned.y) // 50), every(q.tested, 10))
        for q in built.quadrants
    )
    return dataclasses.replace(built, task=task, quadrants=parts, epochs=epochs)


def every(examples: Examples, n: int) -> Examples:
    """Every n-th example: they are in the order of their classes."""
    return Examples(examples.x[::n], examples.y[::n])


def rows(x: Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in x}


def test_size_and_similarity_alone_differ(build: Build) -> None:
    few_near, few_far, many_near, many_far = build().quadrants
    for quadrant, per_class in ((few_near, 5), (few_far, 5), (many_near, 100), (many_far, 100)):
        assert quadrant.learned.y.bincount().tolist() == [per_class] * 10
        assert quadrant.tested.y.bincount().tolist() == [50] * 10
        assert rows(quadrant.learned.x).isdisjoint(rows(quadrant.tested.x))
    assert rows(few_near.learned.x) < rows(many_near.learned.x)
    assert torch.equal(few_near.tested.x, many_near.tested.x)
    for near, far in ((few_near, few_far), (many_near, many_far)):
        assert torch.equal(near.learned.y, far.learned.y)
        pixels, moved = near.learned.x.flatten(1), far.learned.x.flatten(1)
        assert torch.equal(pixels.sort(1).values, moved.sort(1).values)
        assert not torch.equal(pixels, moved)


def test_near_images_are_the_digits_and_source_images_are_mnist(build: Build) -> None:
    digits = DataFolder(Path("/nonexistent"), download=False).digits()
    known = rows(like_mnist(digits.images).float() / 255)
    built = build()
    for quadrant in (built.quadrants[0], built.quadrants[2]):
        assert rows(quadrant.learned.x[:, 0]) | rows(quadrant.tested.x[:, 0]) <= known
    assert rows(built.task.source.x[:, 0]).isdisjoint(known)
    assert built.task.source.y.bincount().tolist() == [20] * 10


def test_seeds_draw_other_examples_and_another_order_but_the_same_test_images(
    build: Build,
) -> None:
    first, other = build(), build(seed=1)
    assert torch.equal(first.quadrants[0].tested.x, other.quadrants[0].tested.x)
    assert not torch.equal(first.quadrants[1].tested.x, other.quadrants[1].tested.x)
    assert rows(first.quadrants[0].learned.x) != rows(other.quadrants[0].learned.x)


def test_records(build: Build) -> None:
    measured = take(quick(build()), "naive")
    by_experience = {e: values for _, e, _, values in measured.series}
    assert set(by_experience) == {-1, 0, 1, 2, 3}
    mean = sum(by_experience[e] for e in range(4)) / 4
    assert by_experience[-1].tolist() == pytest.approx(mean.tolist())
    frozen = {e: values for _, e, _, values in take(quick(build()), "frozen").series}
    for experience, values in frozen.items():
        assert values[0] == values[1] == by_experience[experience][0]


def test_divergence_is_a_result(build: Build) -> None:
    measured = take(quick(build()), "naive", optimizer="sgd", lr=1e30)
    rows = {metric: values for metric, e, _, values in measured.series if e == -1}
    assert rows["diverged"].tolist() == [1.0]
    assert rows["accuracy"][1] == 0


@pytest.mark.parametrize(
    ("strategy", "held", "moved"),
    [
        ("naive", (), ("1", "3")),
        ("feature-extraction", ("1", "3"), ()),
        ("partial-finetune", ("1",), ("3",)),
        ("finetune-low-lr", (), ("1", "3")),
        ("from-scratch", (), ("1", "3")),
    ],
)
def test_what_each_choice_trains(
    build: Build, strategy: str, held: tuple[str, ...], moved: tuple[str, ...]
) -> None:
    """Layers 1 and 3 of the features are linear; the head is new."""
    built = quick(build(), epochs=1)
    base = dict(Source(built.task, Rng(0)).model.named_parameters())
    kept: list[nn.Module] = []
    take(built, strategy, kept)
    states = [dict(model.named_parameters()) for model in kept]
    for layer in held:
        name = f"features.{layer}.weight"
        assert all(torch.equal(state[name], base[name]) for state in states)
    for layer in moved:
        name = f"features.{layer}.weight"
        assert any(not torch.equal(state[name], base[name]) for state in states)


def test_a_low_rate_goes_a_tenth_of_the_way_below_the_head(build: Build) -> None:
    """In a single step of plain gradient descent."""
    built = quick(build(), epochs=1)
    built = dataclasses.replace(
        built,
        batch_size=50,
        quadrants=(built.quadrants[0],) * 4,
    )
    base = dict(Source(built.task, Rng(0)).model.named_parameters())
    ways = {}
    for strategy in ("naive", "finetune-low-lr"):
        kept: list[nn.Module] = []
        take(built, strategy, kept, optimizer="sgd", lr=0.1)
        name = "features.1.weight"
        ways[strategy] = max(
            float((dict(model.named_parameters())[name].detach() - base[name].detach()).norm())
            for model in kept
        )
    assert ways["naive"] > 0
    assert ways["finetune-low-lr"] == pytest.approx(0.1 * ways["naive"], rel=1e-3)


def test_from_scratch_knows_nothing_of_the_base(build: Build) -> None:
    """Bases that were pretrained in other ways end in the same weights."""
    built = quick(build(), epochs=1)
    ends = []
    for epochs in (1, 2):
        task = dataclasses.replace(built.task, pretraining=Pretraining(epochs=epochs))
        measured = take(dataclasses.replace(built, task=task), "from-scratch")
        ends.append([float(values[-1]) for *_, values in measured.series])
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"model": "resnet"}, "mlp, resnet18 or vgg16"),
        ({"many": 1000}, "at most"),
        ({"few": 0}, "1 or more"),
    ],
)
def test_wrong_values_are_refused(build: Build, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        build(**settings)


def resnet_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Weights made here, in the place of the published ones."""
    state = models.resnet18().state_dict()
    made = folder / "made.pth"
    torch.save(state, made)
    digest = hashlib.sha256(made.read_bytes()).hexdigest()[:8]
    (folder / "torchvision").mkdir()
    made.rename(folder / "torchvision" / f"resnet18-{digest}.pth")
    monkeypatch.setitem(weights.FILES, "resnet18", f"resnet18-{digest}.pth")
    return state


def test_a_published_network_as_the_base(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = resnet_of(tmp_path, monkeypatch)
    mnist = DataFolder(shared_data, download=False).mnist()
    monkeypatch.setattr(DataFolder, "mnist", lambda self: mnist)
    data = DataFolder(tmp_path, download=False)
    built = RECIPE.build(data, Rng(0), model="resnet18", source_images=20, few=1, many=2, epochs=1)
    model = Source(built.task, Rng(0)).model
    conv = dict(model.named_parameters())["features.network.conv1.weight"]
    assert torch.equal(conv, state["conv1.weight"])
    assert model(built.task.source.x[:3]).shape == (3, 10)
    built = dataclasses.replace(
        built,
        quadrants=tuple(Quadrant(q.learned, every(q.tested, 25)) for q in built.quadrants),
    )
    measured = take(built, "feature-extraction")
    assert all(0 <= float(values[-1]) <= 1 for *_, values in measured.series)


def test_vgg16_as_the_base(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built and asked alone: 138 million parameters, of which each tensor is one number here."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in models.vgg16().state_dict().items()}
    state = {
        name: torch.tensor(0.01 if name.endswith("weight") else 0.1).expand(shape)
        for name, shape in shapes.items()
    }
    monkeypatch.setattr(weights, "published_weights", lambda folder, name: state)
    model = build(model="vgg16").task.model
    parameters = dict(model.named_parameters())
    assert len(parameters) == len(state)  # less its last layer, and with a head
    assert parameters["features.network.classifier.3.weight"].shape == (4096, 4096)
    assert "features.network.classifier.6.weight" not in parameters
    assert parameters["head.weight"].shape == (10, 4096)
    with torch.inference_mode():
        assert model(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_without_weights_and_network_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(DataError) as raised:
        weights.published_weights(tmp_path, "vgg16")
    text = str(raised.value)
    assert raised.value.exit_status == 3
    assert "\n" not in text
    assert "https://download.pytorch.org/models/vgg16-397923af.pth" in text
    assert str(tmp_path / "torchvision") in text


@pytest.mark.parametrize("content", ["damaged", "pickle"])
def test_a_file_that_is_not_the_published_one_is_refused(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong checksum; and, with the right one, anything but tensors."""
    (tmp_path / "torchvision").mkdir()
    path = tmp_path / "torchvision" / "resnet18-f37072fd.pth"
    torch.save({"conv1.weight": Path("x")}, path)
    if content == "pickle":
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        path = path.rename(path.with_name(f"resnet18-{digest}.pth"))
        monkeypatch.setitem(weights.FILES, "resnet18", path.name)
    with pytest.raises(DataError, match=r"remove it and download"):
        weights.published_weights(tmp_path, "resnet18")
