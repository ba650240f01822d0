"""The source phase: the base learns the source task once, and strategies prepare from it.

What is computed here is kept in a cache under a key of everything that shapes it, so that a seed's
base is trained once, whichever worker comes first, and is the same for every strategy bit for bit.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from avalanche.core import BasePlugin, SupervisedPlugin
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gtl_bench.errors import RunError
from gtl_bench.files import clear_leftovers, set_aside, unwritable, write_atomically
from gtl_bench.learner import Learner, experience_of
from gtl_bench.rng import Rng
from gtl_bench.scenario import Examples, SourceTask
from gtl_bench.stream import make_optimizer

if TYPE_CHECKING:
    from gtl_bench.gtl import Guide

#: What a strategy returns: Avalanche plugins, in the order in which their hooks are called.
Plugins = list[BasePlugin[Any]]


class Cache:
    """Tensors by key, computed once, however many processes ask.

    Args:
        folder: one file a key, in safetensors format; made when first needed.

    Attributes:
        damaged: entries that were not what had been written, set aside and computed again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: list[Path] = []

    def get(self, key: str, compute: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors under `key`; computed and kept if they are not there or are damaged.

        Raises:
            RunError: if the disk is full.
            UsageError: if the folder can't be written to.
        """
        path = self.folder / f"{key}.safetensors"
        with self._lock(path):
            if path.exists():
                found = _read(path)
                if found is not None:
                    return found
                self.damaged.append(set_aside(path))
            clear_leftovers(self.folder, path.name)
            made = {name: t.detach().cpu().contiguous() for name, t in compute().items()}
            write_atomically(path, save(made, metadata={"checksum": _checksum(made)}))
            return made

    @contextlib.contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        lock = FileLock(path.with_suffix(".lock"))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            raise unwritable(self.folder, error) from error
        try:
            yield
        finally:
            lock.release()


def _read(path: Path) -> dict[str, Tensor] | None:
    """The tensors of a file, or None where it is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            checksum = (file.metadata() or {}).get("checksum")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception:  # a damaged file can make its reader raise anything
        return None
    return tensors if checksum == _checksum(tensors) else None


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


class Source:
    """The source phase as a strategy sees it.

    Args:
        task: what the base is made from.
        rng: the cell's named generators.
        key: a key of everything that shapes the task; empty for no caching.
        cache: where bases and guides are kept.
        device: where models are trained.

    Attributes:
        examples: the source task's inputs and labels.
        n_classes: number of classes of source and target together.
    """

    def __init__(
        self,
        task: SourceTask,
        rng: Rng,
        *,
        key: str = "",
        cache: Cache | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.examples = task.source
        self.n_classes = task.n_classes
        self.rng = rng
        self.device = torch.device(device)
        self._task = task
        self._key = key
        self._cache = cache
        self._weights = self.cached("base", {}, lambda: self._pretrained().state_dict())

    @property
    def model(self) -> nn.Module:
        """A copy of the pretrained base, in training mode."""
        model = copy.deepcopy(self._task.model)
        model.load_state_dict(self._weights)
        return model.to(self.device)

    def cached(
        self, name: str, settings: Mapping[str, Any], compute: Callable[[], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """What `compute` returns, computed once for this base, `name` and `settings`.

        Args:
            name: what is computed, such as "scouts".
            settings: everything that shapes it beside the base; has a JSON form.
            compute: called with no argument where nothing is kept; returns name -> tensor.
        """
        if self._cache is None:
            found = compute()
        else:
            text = json.dumps([self._key, name, settings], sort_keys=True)
            key = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
            found = self._cache.get(key, compute)
        # A file keeps names in an order of its own, and who draws for one after another sees it.
        return dict(sorted(found.items()))

    def guide(self, values: Mapping[str, Tensor]) -> Guide:
        """A guide of the base's parameters, less those that the target puts others in place of.

        Args:
            values: name -> values, of all parameters.
        """
        return self._task.guide(values)

    def scouts(self, **settings: Any) -> Guide:
        """The raw guide of scouts sent from this base, computed once.

        Args:
            settings: as for `gtl_bench.gtl.scout`.
        """
        values = self.cached(
            "scouts",
            settings,
            lambda: self._task.scouts(self.model, self.rng("scouts"), **settings),
        )
        return self._task.guide(values)

    def scouts_from(
        self, base: nn.Module, dataset: Any, generator: torch.Generator, **settings: Any
    ) -> Guide:
        """The raw guide of scouts sent from a model to a data set, where there is no source task.

        Args:
            base: where they start from.
            dataset: of (input, class, …).
            generator: where all that is random comes from.
            settings: as for `gtl_bench.gtl.scout`.
        """
        from gtl_bench.gtl import scout

        found = scout(base, dataset, generator=generator, **settings)
        return self._task.guide(found.values)

    def replay(self, *plugins: BasePlugin[Any]) -> None:
        """Repeat the source phase with plugins attached, so that they learn what is to be kept.

        To a plugin the source phase is experience 0: its hooks are called as for any other. Where
        there is no source phase (no epochs of pretraining), none is called.

        Raises:
            RunError: if the replay doesn't end in the base's weights bit for bit: a plugin changed
                the training, and what it learned belongs to another base.
        """
        weights = self._pretrained(*plugins).state_dict()
        for name, value in self._weights.items():
            if not torch.equal(weights[name].cpu(), value):
                names = ", ".join(type(plugin).__name__ for plugin in plugins)
                raise RunError(
                    f"replaying the source phase with {names} ends in another base ({name} "
                    "differs): a plugin must leave the training on the source task as it is."
                )

    def _pretrained(self, *plugins: BasePlugin[Any]) -> nn.Module:
        settings = self._task.pretraining
        model = copy.deepcopy(self._task.model).to(self.device)
        optimizer = {
            "optimizer": settings.optimizer,
            "lr": settings.lr,
            "momentum": settings.momentum,
            "weight_decay": 0.0,
        }
        target = _Target(settings.target_accuracy, self.examples)
        learner = Learner(
            model=model,
            optimizer=make_optimizer(model, optimizer),
            plugins=[*plugins, target] if settings.target_accuracy else plugins,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            generator=self.rng("pretraining"),
            device=self.device,
            criterion=settings.criterion,
        )
        if settings.epochs:
            learner.train(experience_of(*self.examples), eval_streams=[])
        if settings.target_accuracy and target.accuracy < settings.target_accuracy:
            raise RunError(
                f"the base classifies {target.accuracy:.1%} of the source task right after "
                f"{settings.epochs} epochs, where {settings.target_accuracy:.0%} is asked for: "
                "give it more epochs, or another learning rate."
            )
        return model


class _Target(SupervisedPlugin):
    """Ends the source phase once the base knows as much of it as is asked for."""

    def __init__(self, target: float | None, examples: Examples) -> None:
        super().__init__()
        self.target = target
        self.examples = examples
        self.accuracy = 0.0

    def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        x, y = (column.to(strategy.device) for column in self.examples)
        strategy.model.eval()
        with torch.inference_mode():
            self.accuracy = float((strategy.model(x).argmax(1) == y).double().mean())
        strategy.model.train()
        if self.target is not None and self.accuracy >= self.target:
            strategy.stop_training()
