"""Full rehearsal against a plain loop over all examples met so far."""

from __future__ import annotations

import copy

import torch
from torch.nn import functional

from gtl_bench.learner import Learner, stream_of
from gtl_bench.models import mlp
from gtl_bench.rehearsal import FullRehearsal


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
