"""The learner against a plain PyTorch loop, and with Avalanche's own plugins and modules."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import SupervisedPlugin
from avalanche.models import IncrementalClassifier
from avalanche.training.plugins import LwFPlugin, ReplayPlugin
from torch import Tensor, nn
from torch.nn import functional

from gtl_bench.learner import Learner, Minibatches, experience_of, stream_of
from gtl_bench.models import mlp

X = torch.rand(12, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3


def make_model() -> nn.Module:
    return mlp((6, 8, 3), torch.Generator().manual_seed(1))


def make_learner(model: nn.Module, *plugins: Any, **kwargs: Any) -> Learner:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return Learner(model=model, optimizer=optimizer, plugins=plugins, **{"epochs": 3, **kwargs})


def singles() -> list[tuple[Tensor, Tensor]]:
    return [(X[i : i + 1], Y[i : i + 1]) for i in range(len(Y))]


def equal(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return all(torch.equal(p, q) for p, q in pairs)


def test_single_examples_as_a_plain_loop_bit_for_bit() -> None:
    plain = make_model()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    for x, y in singles():
        for _ in range(3):
            optimizer.zero_grad()
            functional.cross_entropy(plain(x), y).backward()
            optimizer.step()
    model = make_model()
    make_learner(model).train(stream_of(singles()), eval_streams=[])
    assert equal(model, plain)


def test_mini_batches_as_a_plain_loop_bit_for_bit() -> None:
    plain = make_model()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(7)
    for _ in range(3):
        order = torch.randperm(12, generator=generator)
        for index in order.split(5):
            optimizer.zero_grad()
            functional.cross_entropy(plain(X[index]), Y[index]).backward()
            optimizer.step()
    model = make_model()
    learner = make_learner(model, batch_size=5, generator=torch.Generator().manual_seed(7))
    learner.train(experience_of(X, Y), eval_streams=[])
    assert equal(model, plain)


def test_minibatches_cover_every_row_once() -> None:
    batches = list(Minibatches([X, Y], 5, torch.Generator().manual_seed(0)))
    assert [len(y) for _, y in batches] == [5, 5, 2] == [5] * 2 + [len(Y) - 10]
    assert len(Minibatches([X, Y], 5, None)) == 3
    assert torch.cat([y for _, y in batches]).sort().values.tolist() == sorted(Y.tolist())
    assert not torch.equal(torch.cat([y for _, y in batches]), Y)


def test_hooks_come_in_avalanches_order() -> None:
    class Spy(SupervisedPlugin):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

    def note(name: str) -> Any:
        return lambda self, strategy, **kwargs: self.seen.append(name)

    hooks = [
        "before_training",
        "before_training_exp",
        "before_training_epoch",
        "before_training_iteration",
        "before_forward",
        "after_forward",
        "before_backward",
        "after_backward",
        "before_update",
        "after_update",
        "after_training_iteration",
        "after_training_epoch",
        "after_training_exp",
        "after_training",
    ]
    for hook in hooks:
        setattr(Spy, hook, note(hook))
    spy = Spy()
    make_learner(make_model(), spy, epochs=1).train(experience_of(X[:1], Y[:1]), [])
    assert spy.seen == hooks


def test_global_random_state_is_neither_used_nor_changed() -> None:
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
        model = make_model()
        learner = make_learner(model, batch_size=4, generator=torch.Generator().manual_seed(3))
        learner.train(experience_of(X, Y), eval_streams=[])
        after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
        assert torch.equal(before[0], after[0])
        assert before[1:] == after[1:]
        results.append(model)
    assert equal(*results)


@pytest.mark.parametrize(
    "plugin", [LwFPlugin(alpha=1.0), ReplayPlugin(mem_size=4)], ids=["lwf", "replay"]
)
def test_avalanches_plugins_work_and_change_the_outcome(plugin: Any) -> None:
    plain, model = make_model(), make_model()
    make_learner(plain).train(stream_of(singles()), [])
    make_learner(model, plugin).train(stream_of(singles()), [])
    assert not equal(plain, model)


def test_a_growing_classifier_is_trained() -> None:
    model = nn.Sequential(nn.Linear(6, 4), IncrementalClassifier(4, initial_out_features=2))
    before = copy.deepcopy(model)
    learner = make_learner(model)
    learner.train(stream_of([(X[Y < 2], Y[Y < 2]), (X[Y == 2], Y[Y == 2])]), [])
    assert learner.model[1].classifier.out_features == 3
    assert not torch.equal(learner.model[1].classifier.weight[:2], before[1].classifier.weight)
