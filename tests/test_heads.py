"""Computed heads against Avalanche, scikit-learn and numpy."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.models import NCMClassifier
from avalanche.training.supervised import StreamingLDA as AvalanchesLDA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid
from torch import Tensor, nn

from gtl_bench.heads import StreamingLDA, features, last_layer
from gtl_bench.learner import Learner, stream_of
from gtl_bench.models import mlp
from gtl_bench.scenario import Examples

CLASSES, INPUTS, FEATURES = 3, 6, 5


def drawn(n: int, seed: int) -> Examples:
    """Three classes around means of their own, n of each."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(CLASSES).repeat(n)
    x = torch.rand(len(y), INPUTS, generator=generator)
    return Examples(x + torch.eye(CLASSES, INPUTS)[y], y)


@pytest.fixture
def base() -> nn.Module:
    return mlp((INPUTS, FEATURES, CLASSES), torch.Generator().manual_seed(0))


@pytest.fixture
def source() -> Examples:
    return drawn(10, 1)


@pytest.fixture
def stream() -> Examples:
    return drawn(4, 2)


def learn(model: nn.Module, plugin: StreamingLDA, stream: Examples, epochs: int = 3) -> nn.Module:
    """A copy of the model, taken through the stream one example after another."""
    model = copy.deepcopy(model)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    learner = Learner(model=model, optimizer=sgd, plugins=[plugin], epochs=epochs)
    one_by_one = [(stream.x[i : i + 1], stream.y[i : i + 1]) for i in range(len(stream.y))]
    learner.train(stream_of(one_by_one), eval_streams=[])
    return model


@pytest.mark.parametrize("shrinkage", [1e-4, 0.3])
def test_slda_equals_avalanches(
    base: nn.Module, source: Examples, stream: Examples, shrinkage: float
) -> None:
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        theirs = AvalanchesLDA(
            slda_model=base[:-1],
            criterion=None,
            input_size=FEATURES,
            num_classes=CLASSES,
            shrinkage_param=shrinkage,
            evaluator=None,
        )
        theirs.fit_base(features(base, source.x).float(), source.y)
    for z, y in zip(features(base, stream.x).float(), stream.y):
        theirs.fit(z.unsqueeze(0), y.unsqueeze(0))
    learned = learn(base, StreamingLDA(base, source, shrinkage), stream)
    expected = theirs.predict(features(base, stream.x).float())
    torch.testing.assert_close(learned(stream.x), expected, rtol=1e-3, atol=1e-3)


def test_slda_before_the_stream_is_scikit_learns_with_its_covariance_shrunk(
    base: nn.Module, source: Examples
) -> None:
    plugin = StreamingLDA(base, source, 0.2)
    z, y = features(base, source.x).numpy(), source.y.numpy()

    class Shrunk:
        """What scikit-learn asks of an estimator of covariance; given one class at a time."""

        def fit(self, x: Any) -> None:
            shrunk = 0.8 * plugin.covariance + 0.2 * torch.eye(FEATURES)
            self.covariance_ = shrunk.numpy()

    theirs = LinearDiscriminantAnalysis(
        solver="lsqr", covariance_estimator=Shrunk(), priors=[1 / 3, 1 / 3, 1 / 3]
    ).fit(z, y)
    weight, bias = plugin.classifier()
    ours = z @ weight.numpy().T + bias.numpy()
    # Scores may differ by what is the same for all classes, here the logarithm of the prior.
    np.testing.assert_allclose(ours, theirs.decision_function(z) - np.log(1 / 3), atol=1e-9)


def test_the_first_covariance_is_that_within_classes_shrunk_towards_its_mean_variance(
    base: nn.Module, source: Examples
) -> None:
    z, y = features(base, source.x).numpy(), source.y.numpy()
    centred = np.concatenate([z[y == label] - z[y == label].mean(0) for label in range(CLASSES)])
    plain = centred.T @ centred / len(z)
    # Chen et al., "Shrinkage algorithms for MMSE covariance estimation", 2010, equation 23, as
    # scikit-learn has it, without the terms of order 1/p.
    mean, square = np.trace(plain) / FEATURES, (plain**2).mean()
    rho = min(1.0, (square + mean**2) / ((len(z) + 1) * (square - mean**2 / FEATURES)))
    expected = (1 - rho) * plain + rho * mean * np.eye(FEATURES)
    np.testing.assert_allclose(StreamingLDA(base, source, 0.1).covariance.numpy(), expected)


@pytest.mark.parametrize("weight", [1.0, 0.05])
def test_means_are_those_of_all_examples_by_weight(
    base: nn.Module, source: Examples, stream: Examples, weight: float
) -> None:
    plugin = StreamingLDA(base, source, 0.1, weight)
    learn(base, plugin, stream)
    for label in range(CLASSES):
        before, after = (features(base, e.x[e.y == label]) for e in (source, stream))
        total = weight * before.sum(0) + after.sum(0)
        torch.testing.assert_close(plugin.mean[label], total / (weight * 10 + 4))
    assert plugin.total == pytest.approx(weight * 30 + 12)


def test_the_covariance_by_hand(base: nn.Module, source: Examples) -> None:
    plugin = StreamingLDA(base, source, 0.1)
    before, mean = plugin.covariance.clone(), plugin.mean[1].clone()
    z = torch.full((FEATURES,), 2.0, dtype=torch.float64)
    plugin.see(z, 1)
    scatter = 30 / 31 * torch.outer(z - mean, z - mean)
    torch.testing.assert_close(plugin.covariance, (30 * before + scatter) / 31)


@pytest.mark.parametrize("weight", [1.0, 0.01])
def test_ncm_is_the_nearest_mean(
    base: nn.Module, source: Examples, stream: Examples, weight: float
) -> None:
    plugin = StreamingLDA(base, source, 1.0, weight)
    model = learn(base, plugin, stream)
    x = drawn(50, 3).x
    distances = torch.cdist(features(base, x), plugin.mean)
    assert torch.equal(model(x).argmax(1), distances.argmin(1))
    theirs = NCMClassifier(normalize=False)
    theirs.update_class_means_dict(dict(enumerate(plugin.mean.float())))
    assert torch.equal(model(x).argmax(1), theirs(features(base, x).float()).argmax(1))


def test_ncm_is_scikit_learns_nearest_centroid(
    base: nn.Module, source: Examples, stream: Examples
) -> None:
    model = learn(base, StreamingLDA(base, source, 1.0), stream)
    both = Examples(torch.cat([source.x, stream.x]), torch.cat([source.y, stream.y]))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="self.within_class_std_dev_")
        theirs = NearestCentroid().fit(features(base, both.x).numpy(), both.y.numpy())
    x = drawn(50, 3).x
    assert model(x).argmax(1).tolist() == theirs.predict(features(base, x).numpy()).tolist()


def test_examples_are_seen_once_and_features_stay(
    base: nn.Module, source: Examples, stream: Examples
) -> None:
    once, often = (
        learn(base, StreamingLDA(base, source, 0.1), stream, epochs) for epochs in (1, 5)
    )
    for (name, p), q, before in zip(once.named_parameters(), often.parameters(), base.parameters()):
        assert torch.equal(p, q)
        assert torch.equal(p, before) == (not name.startswith("3"))


def test_a_class_that_was_never_seen_is_never_answered(base: nn.Module, stream: Examples) -> None:
    known = drawn(10, 1)
    model = learn(
        base,
        StreamingLDA(base, known.take(known.y != 2), 0.1),
        stream.take(stream.y != 2),
    )
    answers = model(drawn(50, 3).x)
    assert answers.isfinite().all()
    assert set(answers.argmax(1).tolist()) == {0, 1}


def test_another_last_layer_has_classes_of_its_own(
    base: nn.Module, source: Examples, stream: Examples
) -> None:
    plugin = StreamingLDA(base, source, 0.1)
    covariance = plugin.covariance.clone()
    other = copy.deepcopy(base)
    other[-1] = nn.Linear(FEATURES, 4)
    first = stream.take(torch.tensor([0, 1]))
    model = learn(other, plugin, Examples(first.x, first.y + 2))
    assert plugin.count.tolist() == [0, 0, 1, 1]
    torch.testing.assert_close(plugin.mean[2:], features(base, first.x))
    assert set(model(stream.x).argmax(1).tolist()) == {2, 3}
    assert not torch.equal(plugin.covariance, covariance)


def test_without_a_source_the_stream_gives_everything(base: nn.Module, stream: Examples) -> None:
    plugin = StreamingLDA(base, stream.take(torch.arange(0)), 0.5)
    model = learn(base, plugin, stream)
    assert plugin.total == len(stream.y)
    for label in range(CLASSES):
        mean = features(base, stream.x[stream.y == label]).mean(0)
        torch.testing.assert_close(plugin.mean[label], mean)
    assert (model(stream.x).argmax(1) == stream.y).float().mean() > 0.6


def test_features_are_the_same_however_many_at_once(
    base: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = drawn(5, 0).x
    whole = features(base, x)
    monkeypatch.setattr("gtl_bench.heads._AT_ONCE", 4)
    torch.testing.assert_close(features(base, x), whole)
    assert whole.shape == (15, FEATURES)


class Doubled(nn.Module):
    """Its last linear layer is not what is called last."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(2, 3), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x).relu()) * 2
        return out


def test_features_are_what_the_last_layer_is_given() -> None:
    model = Doubled()
    x = torch.rand(4, 2)
    assert last_layer(model) is model.head
    torch.testing.assert_close(features(model, x), model.body(x).relu().double())
    assert model.training


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (nn.Linear(INPUTS, CLASSES), (0.0,), "shrinkage is 0"),
        (nn.Linear(INPUTS, CLASSES), (1.1,), "shrinkage is 1.1"),
        (nn.Linear(INPUTS, CLASSES), (0.1, 0.0), "source_weight is 0"),
        (nn.Linear(INPUTS, CLASSES - 1), (0.1,), "no output for each class"),
        (nn.Linear(INPUTS, CLASSES, bias=False), (0.1,), "no last linear layer"),
        (nn.Flatten(), (0.1,), "no last linear layer"),
    ],
)
def test_wrong_values_are_refused(
    model: nn.Module, settings: tuple[float, ...], message: str, source: Examples
) -> None:
    with pytest.raises(ValueError, match=message):
        StreamingLDA(model, source, *settings)
