"""The source phase: one base for all, what plugins learn from it, and the cache."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor, nn
from torch.nn import functional

from gtl_bench.errors import RunError, UsageError
from gtl_bench.regularizers import EWC, SynapticIntelligence
from gtl_bench.rng import Rng
from gtl_bench.scenario import Examples, Pretraining, Scenario, Task
from gtl_bench.source import Cache, Source


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_base_is_plain_sgd_on_the_source_task(scenario: Scenario) -> None:
    model = scenario.model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    source = Source(scenario, Rng(3))  # copies the initial weights before the loop changes them
    generator = Rng(3)("pretraining")
    x, y = scenario.source
    for _ in range(3):
        for index in torch.randperm(len(y), generator=generator).split(8):
            optimizer.zero_grad()
            functional.cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()
    assert torch.equal(weights(source.model), weights(model))


def test_same_base_every_time_and_another_for_another_seed(scenario: Scenario) -> None:
    first, again, other = (Source(scenario, Rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(weights(first.model), weights(again.model))
    assert not torch.equal(weights(first.model), weights(other.model))


def test_models_are_copies(scenario: Scenario) -> None:
    source = Source(scenario, Rng(3))
    with torch.no_grad():
        source.model[1].weight.zero_()
    assert source.model[1].weight.abs().max() > 0


def test_without_a_source_phase_the_base_is_untrained_and_replay_calls_no_hook(
    scenario: Scenario,
) -> None:
    nothing = Examples(scenario.source.x[:0], scenario.source.y[:0])
    source = Source(Task(scenario.model, nothing, Pretraining(epochs=0)), Rng(3))
    plugin = EWC(10.0)
    source.replay(plugin)
    assert torch.equal(weights(source.model), weights(scenario.model))
    assert not plugin.importance
    assert source.n_classes == 0


def test_a_source_phase_ends_with_the_first_epoch_that_knows_enough(scenario: Scenario) -> None:
    def right(epochs: int, target: float | None = None) -> tuple[float, Tensor, Source]:
        how = Pretraining(epochs, 0.01, 0.0, 20, "adam", functional.multi_margin_loss, target)
        source = Source(Task(scenario.model, scenario.source, how), Rng(3))
        answers = source.model(source.examples.x).argmax(1)
        share = float((answers == source.examples.y).double().mean())
        return share, weights(source.model), source

    shares = [right(epochs)[0] for epochs in range(6)]
    target = (max(shares) + shares[0]) / 2
    first = next(epoch for epoch, share in enumerate(shares) if share >= target)
    share, found, source = right(6, target)
    assert share == shares[first]
    assert torch.equal(found, right(first)[1])
    source.replay(EWC(1.0))
    with pytest.raises(RunError, match="100% is asked for"):
        right(1, 1.0)


@pytest.mark.parametrize("plugin", [EWC(10.0), SynapticIntelligence(1.0)], ids=["ewc", "si"])
def test_replay_ends_in_the_base_and_leaves_importance(plugin: Any, scenario: Scenario) -> None:
    source = Source(scenario, Rng(3))
    source.replay(plugin)
    assert max(float(value.max()) for value in plugin.importance.values()) > 0
    base = dict(source.model.named_parameters())
    plugin.before_training_exp(SimpleNamespace(model=source.model))
    assert all(torch.equal(anchor, base[name]) for name, anchor in plugin.anchor.items())


def test_replay_refuses_a_plugin_that_changes_the_training(scenario: Scenario) -> None:
    class Shrink(SupervisedPlugin):  # type: ignore[type-arg]
        def before_backward(self, strategy: Any, **kwargs: Any) -> None:
            strategy.loss = strategy.loss / 2

    with pytest.raises(RunError, match="Shrink ends in another base"):
        Source(scenario, Rng(3)).replay(Shrink())


def counted(value: float) -> tuple[Callable[[], dict[str, Tensor]], list[int]]:
    calls: list[int] = []

    def compute() -> dict[str, Tensor]:
        calls.append(1)
        return {"x": torch.full((3,), value)}

    return compute, calls


def test_cache_computes_once(tmp_path: Path) -> None:
    compute, calls = counted(1.5)
    cache = Cache(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(cache.get, "key", compute) for _ in range(8)]
        found = [future.result() for future in asked]
    assert len(calls) == 1
    assert all(torch.equal(tensors["x"], torch.full((3,), 1.5)) for tensors in found)


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "other", "shape"])
def test_damaged_cache_entry_is_set_aside_and_computed_again(tmp_path: Path, damage: str) -> None:
    compute, calls = counted(1.5)
    cache = Cache(tmp_path)
    cache.get("key", compute)
    path = tmp_path / "key.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "truncate":
        content = content[:-4]
    elif damage == "flip":
        content[-1] ^= 1
    elif damage == "empty":
        content = bytearray()
    elif damage == "shape":
        content = content.replace(b'"shape":[3]', b'"shape":[1,3]').replace(b"  ", b"", 1)
    else:
        content = bytearray(b"not a tensor file at all")
    path.write_bytes(content)
    assert torch.equal(cache.get("key", compute)["x"], torch.full((3,), 1.5))
    assert len(calls) == 2
    assert cache.damaged == [tmp_path / "key.damaged"]
    assert cache.damaged[0].read_bytes() == content
    cache.get("key", compute)
    assert len(calls) == 2


def test_no_flipped_bit_of_a_cache_entry_is_believed(tmp_path: Path) -> None:
    compute, calls = counted(1.5)
    cache = Cache(tmp_path)
    expected = cache.get("key", compute)["x"]
    path = tmp_path / "key.safetensors"
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(
            content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]
        )
        found = cache.get("key", compute)
        assert list(found) == ["x"]
        assert found["x"].dtype == expected.dtype
        assert torch.equal(found["x"], expected)
    assert len(calls) == len(content) + 1


def test_leftovers_of_a_killed_process_do_no_harm(tmp_path: Path) -> None:
    compute, _ = counted(1.5)
    (tmp_path / "key.lock").touch()
    (tmp_path / ".key.safetensors.abc.tmp").write_bytes(b"half")
    Cache(tmp_path).get("key", compute)
    assert {path.name for path in tmp_path.iterdir()} == {"key.lock", "key.safetensors"}


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"can't write to .*file/cache: Not a directory"):
        Cache(tmp_path / "file" / "cache").get("key", counted(1.5)[0])


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"key.safetensors: No space left on device; make room"):
        Cache(tmp_path).get("key", counted(1.5)[0])
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


def test_cached_base_is_used_and_keyed(scenario: Scenario, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = Source(scenario, Rng(3), key="a", cache=cache)
    # Another seed under the same key: what is read is the cached base, not a new one.
    assert torch.equal(
        weights(Source(scenario, Rng(4), key="a", cache=cache).model), weights(first.model)
    )
    assert not torch.equal(
        weights(Source(scenario, Rng(4), key="b", cache=cache).model), weights(first.model)
    )
    compute, calls = counted(2.0)
    first.cached("scouts", {"n": 1}, compute)
    first.cached("scouts", {"n": 1}, compute)
    first.cached("scouts", {"n": 2}, compute)
    assert len(calls) == 2


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_computed_comes_in_the_order_in_which_it_is_read(
    kept: bool, scenario: Scenario, tmp_path: Path
) -> None:
    source = Source(scenario, Rng(3), key="a", cache=Cache(tmp_path) if kept else None)

    def compute() -> dict[str, Tensor]:
        return {"2.weight": torch.ones(2), "2.bias": torch.ones(1), "10.bias": torch.ones(3)}

    first, again = (source.cached("scouts", {}, compute) for _ in range(2))
    assert list(first) == list(again) == ["10.bias", "2.bias", "2.weight"]


def test_a_shuffled_guide_is_the_same_whoever_sent_the_scouts(
    scenario: Scenario, tmp_path: Path
) -> None:
    def shuffled(cache: Cache | None) -> list[Tensor]:
        source = Source(scenario, Rng(3), key="a", cache=cache)
        guide = source.scouts(n_scouts=2, n_classes=2, epochs=1, lr=0.1, batch_size=4)
        return list(guide.shuffled(source.rng("control")).values.values())

    cache = Cache(tmp_path)
    alone, computed, read = shuffled(None), shuffled(cache), shuffled(cache)
    assert all(torch.equal(*pair) for pair in zip(alone, computed, strict=True))
    assert all(torch.equal(*pair) for pair in zip(computed, read, strict=True))
