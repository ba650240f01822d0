"""Full rehearsal against a plain loop over all examples met so far; the size of the reservoir."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from avalanche.training.plugins import ReplayPlugin, SupervisedPlugin
from torch.nn import functional

from gtl_bench.learner import Learner, stream_of
from gtl_bench.models import mlp
from gtl_bench.rehearsal import FullRehearsal, Reservoir


def test_each_epoch_passes_over_all_that_was_met() -> None:
    x = torch.rand(6, 5, generator=torch.Generator().manual_seed(0))
    y = torch.arange(6) % 3
    model = mlp((5, 4, 3), torch.Generator().manual_seed(1))
    plain = copy.deepcopy(model)
    learner = Learner(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        plugins=[FullRehearsal(2, torch.Generator().manual_seed(7))],
        epochs=2,
    )
    learner.train(stream_of([(x[i : i + 1], y[i : i + 1]) for i in range(6)]), eval_streams=[])

    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(7)
    for met in range(1, 7):
        for _ in range(2):
            order = torch.randperm(met, generator=generator) if met > 2 else torch.arange(met)
            for index in order.split(2):
                optimizer.zero_grad()
                functional.cross_entropy(plain(x[index]), y[index]).backward()
                optimizer.step()
    for p, q in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(p, q)


def test_experiences_larger_than_a_mini_batch_are_kept_whole() -> None:
    x = torch.arange(10.0).unsqueeze(1)
    model = mlp((1, 2), torch.Generator().manual_seed(1))
    learner = Learner(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        plugins=[FullRehearsal(4, torch.Generator().manual_seed(7)), seen := Seen()],
        epochs=1,
        batch_size=3,
    )
    learner.train(stream_of([(part, part[:, 0].long() % 2) for part in x.split(5)]))
    assert sorted(torch.cat(seen.x[:2]).tolist()) == list(range(5))
    assert sorted(torch.cat(seen.x[2:]).tolist()) == list(range(10))


class Seen(SupervisedPlugin):
    """Keeps the inputs of each mini-batch."""

    def __init__(self) -> None:
        super().__init__()
        self.x: list[torch.Tensor] = []

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        self.x.append(strategy.mb_x[:, 0])


def test_the_reservoir_keeps_as_many_as_it_holds_and_warns_of_nothing() -> None:
    x = torch.rand(6, 5, generator=torch.Generator().manual_seed(0))
    y = torch.arange(6) % 3
    model = mlp((5, 4, 3), torch.Generator().manual_seed(1))
    reservoir = Reservoir(4)
    learner = Learner(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        plugins=[ReplayPlugin(4, 1, 2, storage_policy=reservoir)],
        epochs=1,
    )
    sizes = []
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        for experience in stream_of([(x[i : i + 1], y[i : i + 1]) for i in range(6)]):
            learner.train(experience, eval_streams=[])
            sizes.append(len(reservoir.buffer))
    assert sizes == [1, 2, 3, 4, 4, 4]
    kept = {tuple(reservoir.buffer[index][0].tolist()) for index in range(4)}
    assert len(kept) == 4
    assert kept <= {tuple(row) for row in x.tolist()}
