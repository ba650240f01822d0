"""The learner: an Avalanche training template for data that already lie in memory.

It runs the loops and the plugin hooks of Avalanche's own `SupervisedTemplate`, so any Avalanche
plugin works on it. What it leaves out is what costs more than the learning itself when an
experience is a single example: data loaders, periodic evaluation, loggers, and the rebuilding of
the optimizer before each experience.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from avalanche.benchmarks.scenarios import DatasetExperience
from avalanche.core import BasePlugin, SupervisedPlugin
from avalanche.models import DynamicModule
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor, nn

#: The loss of outputs and labels.
Criterion: TypeAlias = Callable[[Tensor, Tensor], Tensor]


class Minibatches:
    """Shuffled mini-batches of tensors; each pass draws a new order.

    Args:
        columns: tensors of one length n, such as inputs (n × …), labels (n) and task labels (n).
        batch_size: examples a mini-batch; the last may be smaller.
        generator: where the orders are drawn from; None keeps the order given.
    """

    def __init__(
        self, columns: Sequence[Tensor], batch_size: int, generator: torch.Generator | None
    ) -> None:
        self.columns = columns
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self) -> int:
        return -(-len(self.columns[0]) // self.batch_size)

    def __iter__(self) -> Iterator[list[Tensor]]:
        n = len(self.columns[0])
        if n <= self.batch_size:
            yield list(self.columns)
            return
        order = torch.arange(n)
        if self.generator is not None:
            order = torch.randperm(n, generator=self.generator)
        for index in order.to(self.columns[0].device).split(self.batch_size):
            yield [column[index] for column in self.columns]


class Learner(SupervisedTemplate):
    """An Avalanche strategy over tensors in memory.

    Args:
        model: trained in place.
        optimizer: over the model's parameters.
        plugins: Avalanche plugins, called in this order; a plugin that guides the update comes
            after those that add to the loss.
        epochs: passes over each experience.
        batch_size: examples a mini-batch.
        generator: the order of the examples within an epoch; unused where an experience fits into
            one mini-batch.
        device: where model and mini-batches live.
        criterion: the loss of outputs and labels; cross-entropy if None.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        plugins: Sequence[BasePlugin[Any]] = (),
        epochs: int,
        batch_size: int = 1,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
        criterion: Criterion | None = None,
    ) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No loggers specified")
            super().__init__(
                model=model,
                optimizer=optimizer,
                criterion=criterion or nn.CrossEntropyLoss(),
                train_epochs=epochs,
                train_mb_size=batch_size,
                plugins=list(plugins),
                evaluator=None,
                device=device,
            )
        # The template appends an evaluator and a periodic evaluation, both idle here and called at
        # every hook; the clock stays last, as Avalanche requires.
        self.plugins = [*plugins, self.clock]
        self.generator = generator
        self._known_parameters: list[int] = []
        self._skip_idle_hooks()

    def _skip_idle_hooks(self) -> None:
        """Replace the trigger of every hook that no plugin implements by a function of nothing."""
        hooks = [name for name in dir(SupervisedPlugin) if name.startswith(("before_", "after_"))]
        for hook in hooks:
            if not any(_implements(plugin, hook) for plugin in self.plugins):
                setattr(self, f"_{hook}", _nothing)

    def train_dataset_adaptation(self, **kwargs: Any) -> None:
        self.adapted_dataset = self.experience.dataset

    def make_train_dataloader(self, **kwargs: Any) -> None:
        columns = [column.to(self.device) for column in _columns(self.adapted_dataset)]
        self.dataloader = Minibatches(columns, self.train_mb_size, self.generator)

    def check_model_and_optimizer(self, **kwargs: Any) -> None:
        """Adapt the model, and tell the optimizer, only where there is something to adapt."""
        parameters = [id(parameter) for parameter in self.model.parameters()]
        dynamic = any(isinstance(module, DynamicModule) for module in self.model.modules())
        if dynamic or parameters != self._known_parameters:
            super().check_model_and_optimizer(**kwargs)
            self._known_parameters = [id(parameter) for parameter in self.model.parameters()]

    def training_epoch(self, **kwargs: Any) -> None:
        """One pass over the experience: the order of events of Avalanche's `SGDUpdate`."""
        for self.mbatch in self.dataloader:  # noqa: B020 - as Avalanche's own loop
            if self._stop_training:
                break
            self._unpack_minibatch()
            self._before_training_iteration(**kwargs)
            self.optimizer.zero_grad()
            self._before_forward(**kwargs)
            self.mb_output = self.forward()
            self._after_forward(**kwargs)
            self.loss = self.criterion()
            self._before_backward(**kwargs)
            self.backward()
            self._after_backward(**kwargs)
            self._before_update(**kwargs)
            self.optimizer_step()
            self._after_update(**kwargs)
            self._after_training_iteration(**kwargs)

    def _unpack_minibatch(self) -> None:
        """Mini-batches of our own are on the device; a plugin's data loader may yield others."""
        if not isinstance(self.dataloader, Minibatches):
            super()._unpack_minibatch()


def _implements(plugin: BasePlugin[Any], hook: str) -> bool:
    """Whether a plugin does anything at a hook (plugins of no base class included)."""
    method = getattr(type(plugin), hook, None)
    return method is not None and method is not getattr(SupervisedPlugin, hook)


def _nothing(**kwargs: Any) -> None:
    pass


def _columns(dataset: Any) -> list[Tensor]:
    """The whole of an Avalanche data set: inputs, labels, task labels, as tensors of n rows.

    Not through a data loader, which draws from the global random state even where it doesn't
    shuffle, and takes fifty times as long for a single example.
    """
    rows = [dataset[index] for index in range(len(dataset))]
    return [torch.stack([torch.as_tensor(value) for value in column]) for column in zip(*rows)]


def experience_of(x: Tensor, y: Tensor) -> DatasetExperience[Any]:
    """One Avalanche experience of inputs x (n × …) and labels y (n)."""
    return stream_of([(x, y)])[0]


def stream_of(
    examples: Sequence[tuple[Tensor, Tensor]], task_labels: bool = False
) -> list[DatasetExperience[Any]]:
    """An Avalanche training stream, an experience for each pair of inputs and labels.

    With `task_labels` each experience is a task of its own, numbered from 0.
    """
    from avalanche.benchmarks import (
        benchmark_from_datasets,
        with_classes_timeline,
        with_task_labels,
    )
    from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset

    datasets = [
        _make_taskaware_tensor_classification_dataset(x, y, task_labels=index * task_labels)
        for index, (x, y) in enumerate(examples)
    ]
    benchmark = with_classes_timeline(benchmark_from_datasets(train=datasets))
    if task_labels:
        benchmark = with_task_labels(benchmark)
    return list(benchmark.train_stream)
