"""Training scouts side by side: one stack of weights, and one step for all of them.

`torch.func.vmap` runs the model's own code over stacked weights. On a CPU that alone gains nothing:
a step is bound by reading the weights, writing their gradients, and reading both again. So linear
layers, which hold nearly all weights of a perceptron, take their step in another form, with the
same result up to rounding:

- The gradient of a linear layer is a product of two thin matrices: the gradients at its outputs and
  its inputs. It is added to the weights as that product and never written down (`_Linear`).
- A layer that is fed by the data sees the same few inputs again and again, and its weights only
  move within their span: W = W₀ + AᵀX with one row of A an example. A step changes a few rows of A;
  an output is W₀x plus Aᵀ times inner products of inputs, which are computed once (`_InputLayer`).

Biases, and the weights of all other layers, get ordinary gradients.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from gtl_bench.gtl.displacement import length
from gtl_bench.gtl.guide import ScoutRecord
from gtl_bench.gtl.subproblems import SubProblem
from gtl_bench.gtl.training import (
    EVALUATION_BATCH,
    Snapshot,
    Training,
    missing,
    own_random_state,
)

# Weights stacked at once: about what the last cache of a CPU holds, and what keeps a GPU busy.
_STACK_BYTES = {"cpu": 12 * 2**20, "cuda": 2**30}


class _LinearTap(nn.Module):
    """Stands in for a linear layer: weights and biases are set from outside, inputs are kept."""

    weights: Tensor
    offset: Tensor
    seen: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return x @ self.weights.mT + self.offset


class _InputTap(nn.Module):
    """Stands in for a linear layer that is fed by the data: its outputs are set from outside."""

    offset: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return self.offset


class _Layer(NamedTuple):
    """A linear layer that is taken apart.

    Attributes:
        module: the layer.
        outputs: shape of its outputs for one example.
        fed: whether its inputs are the data themselves, flattened.
    """

    module: nn.Linear
    outputs: torch.Size
    fed: bool


class StackableModel:
    """A base taken apart for stacked training.

    Args:
        model: the base.
        x: a few inputs, of the source's kind (n × …), on the model's device.
        most_examples: of the largest sub-problem. A layer fed by the data is cheaper as an
            `_InputLayer` if the examples are fewer than its inputs.

    Attributes:
        linear: name -> linear layer that is taken apart.
        inputs: likewise, for layers fed by the data.
        dense: name -> trainable parameter, other than the weights of these layers.
        names: all trainable parameters, in the model's order.
        outputs: number of logits.
        reads_data: whether anything but the layers of `inputs` looks at the data.
    """

    reads_data = True

    def __init__(self, model: nn.Module, x: Tensor, most_examples: int) -> None:
        layers, logits = _linear_layers(model, x)
        self.outputs = logits.shape[1]
        self.inputs = {
            name: layer
            for name, layer in layers.items()
            if layer.fed and most_examples < layer.module.in_features
        }
        self.linear = {name: layer for name, layer in layers.items() if name not in self.inputs}
        trainable = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
        weights = {_join(name, "weight") for name in layers}
        self.names = list(trainable)
        self.dense = {name: value for name, value in trainable.items() if name not in weights}
        apart = {_join(name, "bias") for name in layers}
        self._others = [name for name in self.dense if name not in apart]
        # An only child, so that even a model that is a single linear layer has a parent.
        self._network = nn.Sequential(copy.deepcopy(model).train())
        self._taps = {name: _LinearTap() for name in self.linear}
        self._input_taps = {name: _InputTap() for name in self.inputs}
        for name, tap in (*self._taps.items(), *self._input_taps.items()):
            parent, _, leaf = _join("0", name).rpartition(".")
            setattr(self._network.get_submodule(parent), leaf, tap)
        self._run = vmap(self._run_one)

    def __call__(
        self,
        x: Tensor,
        dense: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
        offsets: Mapping[str, Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Run scouts side by side.

        Args:
            x: inputs (scouts × batch × …).
            dense: the parameters of `dense`, by name (scouts × …).
            weights: the weights of the layers of `linear`, in order (scouts × out × in).
            offsets: for the layers of `linear`, what is added to their outputs; then, for those of
                `inputs`, their outputs; in order (scouts × batch × … × out).

        Returns:
            Logits (scouts × batch × classes), and what each layer of `linear` was fed, by name
            (scouts × batch × … × in).
        """
        others = [dense[name] for name in self._others]
        # Flat, since what vmap does to each dictionary takes longer than a small step.
        logits, *seen = self._run(x, *others, *weights.values(), *offsets.values())
        return logits, dict(zip(self.linear, seen))

    def stack_bytes(self, examples: int) -> int:
        """Size of what a scout with this many examples changes in a step."""
        sizes = [value.numel() for value in self.dense.values()]
        sizes += [layer.module.weight.numel() for layer in self.linear.values()]
        sizes += [layer.module.out_features * examples for layer in self.inputs.values()]
        return 4 * sum(sizes)

    @property
    def faster(self) -> bool:
        """Whether stacking is worth while.

        On a GPU it is: one scout alone leaves it idle. On a CPU it is where most parameters are in
        the layers whose step it makes cheaper; stacked convolutions may well be slower.
        """
        apart = [layer.module.weight for layer in (*self.linear.values(), *self.inputs.values())]
        others = sum(value.numel() for value in self.dense.values())
        on_gpu = any(value.is_cuda for value in (*apart, *self.dense.values()))
        return on_gpu or sum(weight.numel() for weight in apart) > others

    def _run_one(self, x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        rest = iter(parameters)
        others = {_join("0", name): next(rest) for name in self._others}
        for tap in self._taps.values():
            tap.weights = next(rest)
        for any_tap in (*self._taps.values(), *self._input_taps.values()):
            any_tap.offset = next(rest)
        logits = functional_call(self._network, others, (x,)) if others else self._network(x)
        return logits, *(tap.seen for tap in self._taps.values())


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _linear_layers(model: nn.Module, x: Tensor) -> tuple[dict[str, _Layer], Tensor]:
    """The linear layers that can be taken apart, by name, and the logits for a batch x.

    Each layer is called once, with the batch as its first dimension, and nothing of it is frozen or
    shared.
    """
    owners = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {}
    observed = copy.deepcopy(model).train()
    for name, module in observed.named_modules():
        if type(module) is nn.Linear:
            calls[name] = []
            module.register_forward_hook(
                lambda _, args, out, kept=calls[name]: kept.append((args[0], out))
            )
    logits: Tensor = observed(x)
    layers = {}
    for name, kept in calls.items():
        module = model.get_submodule(name)
        assert isinstance(module, nn.Linear)
        own = all(p.requires_grad and owners[id(p)] == 1 for p in module.parameters())
        if own and len(kept) == 1 and len(kept[0][1]) == len(x):
            seen, out = kept[0]
            fed = seen.ndim == 2 and torch.equal(seen, x.flatten(1))
            layers[name] = _Layer(module, out.shape[1:], fed)
    return layers, logits


class _Linear:
    """The weights of a linear layer, stacked (scouts × out × in)."""

    def __init__(self, layer: _Layer, size: int, how: Training) -> None:
        self.base = layer.module.weight.detach()
        self.outputs = layer.outputs
        self.how = how
        self.weights = _repeated(self.base, size)
        self.velocity = torch.zeros_like(self.weights) if how.momentum else None

    def offset(self, positions: Tensor, bias: Tensor | None) -> Tensor:
        """What is added to the outputs (scouts × batch × … × out): the biases (scouts × out)."""
        n, batch = positions.shape
        if bias is None:
            return self.base.new_zeros(n, batch, *self.outputs).requires_grad_()
        return bias.view(n, *[1] * len(self.outputs), -1).expand(n, batch, *self.outputs)

    def step(self, gradient: Tensor, seen: Tensor) -> None:
        """Step by the gradient at the outputs (scouts × batch × … × out) and what was fed."""
        left, right = gradient.flatten(1, -2).mT, seen.flatten(1, -2)
        weights = self.weights[: len(seen)]
        if self.velocity is None:
            weights.baddbmm_(left, right, alpha=-self.how.lr)
        else:
            velocity = self.velocity[: len(seen)]
            weights.add_(velocity.baddbmm_(left, right, beta=self.how.momentum), alpha=-self.how.lr)

    def displacement(self, index: int) -> Tensor:
        """scout − base for one scout (out × in)."""
        return self.weights[index] - self.base

    def keep(self, index: Tensor) -> None:
        """Go on with some of the scouts only."""
        self.weights = self.weights[index]
        self.velocity = None if self.velocity is None else self.velocity[index]


class _InputLayer:
    """The weights of a layer fed by the data, stacked, as W = W₀ + AᵀX.

    Args:
        x: inputs of the source, flattened (n × in).
        base_outputs: W₀x (n × out), for the rows in use.
        rows: the rows of x at a scout's positions (scouts × positions), those it trains on first.
        most: how many those are (examples).
        how: learning rate and momentum.
    """

    def __init__(
        self, x: Tensor, base_outputs: Tensor, rows: Tensor, most: int, how: Training
    ) -> None:
        self.base_outputs, self.rows, self.how = base_outputs, rows, how
        inputs = x[rows]
        self.x = inputs[:, :most]  # scouts × examples × in
        self.products = inputs @ self.x.mT  # scouts × positions × examples
        self.a = x.new_zeros(len(rows), most, base_outputs.shape[1])  # scouts × examples × out
        self.velocity = torch.zeros_like(self.a) if how.momentum else None

    def offset(self, positions: Tensor, bias: Tensor | None) -> Tensor:
        """The outputs (scouts × batch × out), biases (scouts × out) included."""
        scouts = _column(positions)
        outputs = torch.baddbmm(
            self.base_outputs[self.rows[scouts, positions]],
            self.products[scouts, positions],
            self.a[: len(positions)],
        )
        return outputs.requires_grad_() if bias is None else outputs + bias[:, None]

    def step(self, gradient: Tensor, positions: Tensor) -> None:
        """Step by the gradient at the outputs (scouts × batch × out)."""
        scouts = _column(positions)
        if self.velocity is None:
            change = gradient * -self.how.lr
            self.a.index_put_((scouts, positions), change, accumulate=True)
        else:
            velocity = self.velocity[: len(positions)].mul_(self.how.momentum)
            velocity[scouts, positions] += gradient
            self.a[: len(positions)].add_(velocity, alpha=-self.how.lr)

    def displacement(self, index: int) -> Tensor:
        """scout − base for one scout (out × in)."""
        return self.a[index].mT @ self.x[index]

    def keep(self, index: Tensor) -> None:
        """Go on with some of the scouts only."""
        self.rows, self.products = self.rows[index], self.products[index]
        self.x, self.a = self.x[index], self.a[index]
        self.velocity = None if self.velocity is None else self.velocity[index]


class _Stack:
    """Scouts that are trained side by side, those with the most examples first.

    A scout's examples have positions: first those it trains on, then the held-out ones. Where a
    scout has fewer than another, either part is filled up with an example that counts for nothing.
    """

    def __init__(
        self,
        model: StackableModel,
        x: Tensor,
        y: Tensor,
        base_outputs: Mapping[str, Tensor],
        problems: Sequence[SubProblem],
        how: Training,
    ) -> None:
        self.model, self.x, self.y, self.how = model, x, y, how
        size = len(problems)
        sizes = [len(problem.train) for problem in problems]
        spare = [len(problem.held_out) for problem in problems]
        self.most = sizes[0]
        rows = torch.empty(size, self.most + max(spare), dtype=torch.int64)
        orders = torch.arange(self.most).repeat(size, len(problems[0].orders), 1)
        for index, problem in enumerate(problems):
            rows[index] = problem.train[0]
            rows[index, : sizes[index]] = problem.train
            rows[index, self.most : self.most + spare[index]] = problem.held_out
            orders[index, :, : sizes[index]] = problem.orders
        self.rows, self.orders = rows.to(x.device), orders.to(x.device)
        self.sizes, self.spare = (torch.tensor(n, device=x.device) for n in (sizes, spare))
        self.missing = torch.stack([missing(p.classes, model.outputs, x.device) for p in problems])
        self.dense = {name: _repeated(value, size) for name, value in model.dense.items()}
        self.velocity = {
            name: torch.zeros_like(stack) for name, stack in self.dense.items() if how.momentum
        }
        self.linear = {name: _Linear(layer, size, how) for name, layer in model.linear.items()}
        self.inputs = {
            name: _InputLayer(x.flatten(1), outputs, self.rows, self.most, how)
            for name, outputs in base_outputs.items()
        }
        self.layers: dict[str, _Linear | _InputLayer] = {**self.linear, **self.inputs}

    def epoch(self, index: int) -> None:
        """Every scout's pass over its examples, in their order for this epoch."""
        for start in range(0, self.most, self.how.batch_size):
            counts = (self.sizes - start).clamp(max=self.how.batch_size)
            n = int((counts > 0).sum())
            positions = self.orders[:n, index, start : start + self.how.batch_size]
            self.step(positions, counts[:n])

    @torch.enable_grad()
    def step(self, positions: Tensor, counts: Tensor) -> None:
        """One step of the first scouts.

        Args:
            positions: of the examples (scouts × batch).
            counts: how many of these are in the mini-batch (scouts); the rest fills up.
        """
        dense, offsets, logits, seen = self.forward(positions)
        losses = functional.cross_entropy(
            self._masked(logits).flatten(0, 1), self._labels(positions).flatten(), reduction="none"
        )
        inside = _first(counts, positions.shape[1]).to(losses.dtype)
        loss = (losses.view_as(inside) * inside / counts[:, None]).sum()
        leaves = [*dense.values(), *offsets.values()]
        gradients = iter(torch.autograd.grad(loss, leaves, allow_unused=True))
        with torch.no_grad():
            for name, gradient in zip(dense, gradients):
                if gradient is not None:
                    self._descend(name, gradient)
            for name, gradient in zip(offsets, gradients):
                if gradient is None:
                    continue
                if name in self.linear:
                    self.linear[name].step(gradient, seen[name])
                else:
                    self.inputs[name].step(gradient, positions)

    def forward(
        self, positions: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor, dict[str, Tensor]]:
        """Run the first scouts on their examples at positions (scouts × batch).

        Returns:
            The dense parameters and the offsets, by name, for gradients to be taken of; the logits
            (scouts × batch × classes); what each linear layer was fed, by name.
        """
        n = len(positions)
        dense = {name: stack[:n].detach().requires_grad_() for name, stack in self.dense.items()}
        offsets = {
            name: layer.offset(positions, dense.get(_join(name, "bias")))
            for name, layer in self.layers.items()
        }
        weights = {name: layer.weights[:n] for name, layer in self.linear.items()}
        if self.model.reads_data:
            x = self.x[self.rows[_column(positions), positions]]
        else:
            x = self.x.new_full((), torch.nan).expand(*positions.shape, *self.x.shape[1:])
        logits, seen = self.model(x, dense, weights, offsets)
        return dense, offsets, logits, seen

    @torch.no_grad()
    def accuracies(self) -> tuple[list[float], list[float]]:
        """Each scout's accuracy on its own examples, and on held-out ones (nan without any)."""
        right = []
        for part in torch.arange(self.rows.shape[1], device=self.x.device).split(EVALUATION_BATCH):
            positions = part.expand(len(self.rows), -1)
            logits = self._masked(self.forward(positions)[2])
            right.append(logits.argmax(2) == self._labels(positions))
        own, spare = torch.cat(right, 1).split([self.most, self.rows.shape[1] - self.most], 1)
        return _accuracy(own, self.sizes), _accuracy(spare, self.spare)

    def displacement(self, index: int) -> dict[str, Tensor]:
        """scout − base for one scout, name -> tensor."""
        moved = {name: stack[index] - self.model.dense[name] for name, stack in self.dense.items()}
        for name, layer in self.layers.items():
            moved[_join(name, "weight")] = layer.displacement(index)
        return {name: moved[name] for name in self.model.names}

    def keep(self, scouts: Sequence[int]) -> None:
        """Go on with some of the scouts only."""
        index = torch.tensor(scouts, device=self.x.device)
        self.sizes, self.spare = self.sizes[index], self.spare[index]
        self.rows, self.orders = self.rows[index], self.orders[index]
        self.missing = self.missing[index]
        self.dense = {name: stack[index] for name, stack in self.dense.items()}
        self.velocity = {name: stack[index] for name, stack in self.velocity.items()}
        for layer in self.layers.values():
            layer.keep(index)

    def _labels(self, positions: Tensor) -> Tensor:
        return self.y[self.rows[_column(positions), positions]]

    def _masked(self, logits: Tensor) -> Tensor:
        if self.how.absent == "free":
            return logits
        return logits.masked_fill(self.missing[: len(logits), None], -torch.inf)

    def _descend(self, name: str, gradient: Tensor) -> None:
        n = len(gradient)
        if self.how.momentum:
            gradient = self.velocity[name][:n].mul_(self.how.momentum).add_(gradient)
        self.dense[name][:n].add_(gradient, alpha=-self.how.lr)


def stackable(model: nn.Module, x: Tensor, most_examples: int) -> StackableModel | None:
    """The base taken apart for stacked training; None if it can only be trained in turn.

    Whether it can is tried out on a few inputs. It fails where `vmap` does (dropout, batch norm's
    running statistics, Python code that looks at values), and where an example's output depends on
    the others of its mini-batch (batch norm without them).

    Args:
        model: the base.
        x: inputs of the source (n × …), on the model's device.
        most_examples: of the largest sub-problem.
    """
    try:
        with own_random_state(0, x.device), torch.no_grad():
            # Random, since layers that alter the data could leave examples of zeros as they are.
            probe = torch.rand_like(x[:3]) if x.is_floating_point() else x[:3]
            form = StackableModel(model, probe, most_examples)
            alone = copy.deepcopy(model).train()
            expected = torch.cat([alone(example[None]) for example in probe])
            if not _close(form, probe, expected):
                return None
            if form.inputs:
                form.reads_data = False
                form.reads_data = not _close(form, probe, expected)
    except Exception:  # whatever is wrong with the model itself, training in turn will say so
        return None
    return form


def _close(form: StackableModel, x: Tensor, expected: Tensor) -> bool:
    """Whether two scouts at the base, side by side, put out what the base does."""
    rows = torch.arange(len(x))
    problem = SubProblem((), rows, rows[:0], rows[None], 0)
    how = Training(1, 0.0, 0.0, len(x), "free", None, False)
    stack = _Stack(form, x, rows, _base_outputs(form, x, rows), [problem, problem], how)
    logits = stack.forward(stack.orders[:, 0])[2]
    return torch.allclose(logits, expected.expand_as(logits), 1e-3, 1e-5)


def train_stacked(
    model: StackableModel, x: Tensor, y: Tensor, problems: Sequence[SubProblem], how: Training
) -> Iterator[Snapshot]:
    """Train scouts side by side, as many at a time as fit into fast memory.

    Args:
        model: the base.
        x: inputs of the source (n × …), on the model's device.
        y: labels of the source (n, int64), likewise.
        problems: a sub-problem for each scout.
        how: common to all.

    Yields:
        Each scout's snapshots, its last with its record; scouts in any order.
    """
    rows = torch.cat([rows for problem in problems for rows in (problem.train, problem.held_out)])
    base_outputs = _base_outputs(model, x, rows.unique())
    scouts = sorted(range(len(problems)), key=lambda scout: -len(problems[scout].train))
    size = model.stack_bytes(len(problems[scouts[0]].train)) * (2 if how.momentum else 1)
    room = _STACK_BYTES.get(x.device.type, _STACK_BYTES["cuda"]) // size
    n_stacks = math.ceil(len(scouts) / max(room, 1))
    for part in torch.tensor(scouts).tensor_split(n_stacks):
        stack = _Stack(model, x, y, base_outputs, [problems[i] for i in part.tolist()], how)
        yield from _train(stack, part.tolist(), problems, how)


def _train(
    stack: _Stack, scouts: list[int], problems: Sequence[SubProblem], how: Training
) -> Iterator[Snapshot]:
    for epoch in range(1, how.epochs + 1):
        stack.epoch(epoch - 1)
        last = epoch == how.epochs
        if last or how.target_accuracy is not None:
            own, spare = stack.accuracies()
            done = [last or how.reached(accuracy) for accuracy in own]
        else:
            done = [False] * len(scouts)
        for index, scout in enumerate(scouts):
            if done[index] or how.every_epoch:
                moved = stack.displacement(index)
                record = None
                if done[index]:
                    record = ScoutRecord(
                        classes=problems[scout].classes,
                        examples=len(problems[scout].train),
                        epochs=epoch,
                        train_accuracy=own[index],
                        held_out_accuracy=spare[index],
                        distance=length(moved),
                    )
                yield Snapshot(scout, moved, record)
        going = [index for index, finished in enumerate(done) if not finished]
        if not going:
            return
        if len(going) < len(scouts):
            stack.keep(going)
            scouts = [scouts[index] for index in going]


def _base_outputs(model: StackableModel, x: Tensor, rows: Tensor) -> dict[str, Tensor]:
    """W₀x for each layer fed by the data (n × out), computed for some rows of x only."""
    outputs = {}
    for name, layer in model.inputs.items():
        outputs[name] = x.new_zeros(len(x), layer.module.out_features)
        outputs[name][rows] = x.flatten(1)[rows] @ layer.module.weight.detach().mT
    return outputs


def _accuracy(right: Tensor, counts: Tensor) -> list[float]:
    """The share that is right of each row's first `counts` (rows × examples, bool)."""
    number = (right & _first(counts, right.shape[1])).sum(1)
    shares: list[float] = (number.cpu().double() / counts.cpu()).tolist()
    return shares


def _first(counts: Tensor, size: int) -> Tensor:
    """A row for each count: True at its first `count` places of `size` (counts × size)."""
    return torch.arange(size, device=counts.device) < counts[:, None]


def _repeated(value: Tensor, size: int) -> Tensor:
    return value.expand(size, *value.shape).clone()


def _column(positions: Tensor) -> Tensor:
    """The scout of each row of positions (scouts × batch), as an index beside them."""
    return torch.arange(len(positions), device=positions.device)[:, None]
