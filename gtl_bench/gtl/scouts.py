"""Scouts: copies of a base, each trained on an easy problem, that show where change is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from gtl_bench.gtl.displacement import MeanDisplacement, Measure, trainable
from gtl_bench.gtl.guide import Guide
from gtl_bench.gtl.stacked import stackable, train_stacked
from gtl_bench.gtl.subproblems import draw
from gtl_bench.gtl.training import Absent, Snapshot, Training, train_in_turn

Source: TypeAlias = Dataset[Any] | tuple[Tensor, Tensor]
Progress: TypeAlias = Callable[[int, int], object]


def scout(
    model: nn.Module,
    source_dataset: Source,
    *,
    generator: torch.Generator,
    n_scouts: int = 40,
    n_classes: int = 3,
    examples: int | None = None,
    epochs: int = 5,
    lr: float = 0.05,
    momentum: float = 0.0,
    batch_size: int = 8,
    absent: Absent = "free",
    measure: Measure = "squared",
    target_accuracy: float | None = None,
    progress: Progress | None = None,
    stacked: bool | None = None,
) -> Guide:
    """Send scouts from a base, and make the raw guide of where they had to go.

    A scout is a copy of the model trained on the examples of a few classes, by SGD on the
    cross-entropy, in mini-batches drawn in random order. The model itself stays as it is; one with
    its initial weights is scouted in the same way as a pretrained one.

    Args:
        model: the base: inputs (n × …) to logits (n × classes).
        source_dataset: a dataset of (input, class) or a pair of tensors (n × …, n). It is read
            once, in order.
        generator: where all that is random comes from (on the CPU). The same state gives the same
            guide; PyTorch's global state is neither used nor changed.
        n_scouts: how many scouts.
        n_classes: classes of each scout's sub-problem; no two scouts get the same ones while that
            is possible.
        examples: examples a scout, shared out evenly among its classes; all of its classes' where
            None.
        epochs: passes of a scout over its examples.
        lr: learning rate.
        momentum: in [0, 1).
        batch_size: examples a mini-batch.
        absent: "free", as the authors do it: the output layer keeps all classes, and those missing
            from the sub-problem are only pushed down. "masked": their logits are left out of the
            softmax, so that a scout learns to tell its classes apart and nothing of the others.
        measure: "squared" or "absolute" displacement.
        target_accuracy: a scout stops after the first epoch at whose end it classifies this share
            of its own examples right.
        progress: called with (scouts done, n_scouts) whenever a scout is done.
        stacked: whether scouts are trained side by side on stacked weights, or in turn; the guide
            is the same up to rounding. None for what is faster. A model that can't be stacked is
            trained in turn in any case: batch norm and dropout (which in training depend on the
            other examples or on chance), or Python code that looks at values.

    Returns:
        The raw guide, with a `ScoutRecord` of each scout in `guide.scouts`.

    Raises:
        ValueError: for a number out of range, more classes than the source has, a model without
            trainable parameters, or a scout that diverged.
    """
    mean = MeanDisplacement(measure)
    records = []
    for snapshot in send(
        model,
        source_dataset,
        generator=generator,
        n_scouts=n_scouts,
        n_classes=n_classes,
        examples=examples,
        epochs=epochs,
        lr=lr,
        momentum=momentum,
        batch_size=batch_size,
        absent=absent,
        target_accuracy=target_accuracy,
        progress=progress,
        stacked=stacked,
    ):
        assert snapshot.record is not None
        mean.add(snapshot.displacement, f"scout {snapshot.scout}")
        records.append((snapshot.scout, snapshot.record))
    return Guide(mean.mean(), (record for _, record in sorted(records)))


def send(
    model: nn.Module,
    source_dataset: Source,
    *,
    generator: torch.Generator,
    n_scouts: int = 40,
    n_classes: int = 3,
    examples: int | None = None,
    epochs: int = 5,
    lr: float = 0.05,
    momentum: float = 0.0,
    batch_size: int = 8,
    absent: Absent = "free",
    target_accuracy: float | None = None,
    progress: Progress | None = None,
    stacked: bool | None = None,
    every_epoch: bool = False,
) -> Iterator[Snapshot]:
    """The scouts of `scout` as they come back, and with `every_epoch` their snapshots on the way.

    Args and Raises: as `scout`.
    """
    how = Training(epochs, lr, momentum, batch_size, absent, target_accuracy, every_epoch)
    x, y = _gathered(source_dataset)
    _check(how, n_scouts, n_classes, examples, int(y.unique().numel()))
    if not trainable(model):
        raise ValueError("the model has no trainable parameter: there is nothing to scout")
    problems = draw(
        y,
        n_scouts=n_scouts,
        n_classes=n_classes,
        examples=examples,
        epochs=epochs,
        generator=generator,
    )
    device = next(model.parameters()).device
    x, y = x.to(device), y.to(device)
    most = max(len(problem.train) for problem in problems)
    form = None if stacked is False else stackable(model, x, most)
    if form is None or (stacked is None and not form.faster):
        snapshots = train_in_turn(model, x, y, problems, how)
    else:
        snapshots = train_stacked(form, x, y, problems, how)
    done = 0
    for snapshot in snapshots:
        yield snapshot
        if snapshot.record is not None and progress is not None:
            done += 1
            progress(done, n_scouts)


def _gathered(source: Source) -> tuple[Tensor, Tensor]:
    """Inputs (n × …) and labels (n, int64) of a whole data set."""
    if isinstance(source, TensorDataset):
        source = (source.tensors[0], source.tensors[1])
    if isinstance(source, tuple):
        x, y = source
    else:
        rows = [source[index] for index in range(len(source))]  # type: ignore[arg-type]
        x = torch.stack([torch.as_tensor(row[0]) for row in rows])
        y = torch.tensor([int(row[1]) for row in rows])
    if len(x) != len(y) or not len(y):
        raise ValueError(f"the source has {len(x)} inputs and {len(y)} labels: give one of each")
    return x, y.to("cpu", torch.int64)


def _check(
    how: Training, n_scouts: int, n_classes: int, examples: int | None, available: int
) -> None:
    counts = {
        "n_scouts": n_scouts,
        "n_classes": n_classes,
        "epochs": how.epochs,
        "batch_size": how.batch_size,
    }
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more")
    if n_classes > available:
        raise ValueError(f"n_classes is {n_classes}, but the source has {available} classes")
    if examples is not None and examples < n_classes:
        raise ValueError(f"examples is {examples}; {n_classes} classes need one each at least")
    if how.absent not in ("free", "masked"):
        raise ValueError(f"absent is {how.absent!r}; it must be free or masked")
    if how.absent == "masked" and n_classes == 1:
        raise ValueError("absent='masked' with one class leaves a scout nothing to learn")
    if not (how.lr > 0 and 0 <= how.momentum < 1):
        raise ValueError(f"lr is {how.lr} and momentum {how.momentum}; lr > 0 and 0 ≤ momentum < 1")
    if how.target_accuracy is not None and not 0 < how.target_accuracy <= 1:
        raise ValueError(f"target_accuracy is {how.target_accuracy}; it must be above 0, up to 1")
