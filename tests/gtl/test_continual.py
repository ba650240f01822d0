"""Guiding without a source task: after each experience its guide holds for the next."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from gtl_bench.gtl import Guide
from gtl_bench.gtl.continual import ContinualGTLPlugin
from gtl_bench.learner import Learner, stream_of


def test_the_first_experience_is_free_and_each_next_one_guided_by_the_one_before() -> None:
    model = nn.Linear(2, 2)
    met: list[list[int]] = []
    states: list[torch.Tensor] = []

    def send(base: nn.Module, dataset: Any) -> Guide:
        """Holds the bias; and the weights too, once the second experience was met."""
        met.append([int(y) for _, y, *_ in dataset])
        states.append(torch.cat([base.weight.detach().flatten(), base.bias.detach()]).clone())
        return Guide({"weight": torch.full((2, 2), float(len(met) == 1)), "bias": torch.zeros(2)})

    start = torch.cat([model.weight.detach().flatten(), model.bias.detach()]).clone()
    learner = Learner(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.1),
        plugins=[ContinualGTLPlugin(send)],
        epochs=2,
        batch_size=2,
    )
    x = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    learner.train(stream_of([(x, torch.full((4,), k % 2)) for k in range(3)]), eval_streams=[])
    assert met == [[0] * 4, [1] * 4, [0] * 4]
    assert (states[0] != start).all()
    assert (states[1] != states[0]).tolist() == [True] * 4 + [False] * 2
    assert torch.equal(states[2], states[1])
