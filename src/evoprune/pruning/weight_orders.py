"""Scores of single weights by classic criteria: where a search seeded with criteria begins.

A search without any rule (`search.seeding: none`) uses none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from evoprune.errors import ConfigError
from evoprune.pruning.maskable import MaskableWeight
from evoprune.space.calling import call_model

Loss = Callable[[Any, Any], Tensor]
Scores = NDArray[np.float32]

CHUNK_FLOATS: Final = 1 << 25
"""Per-sample gradients held at once, in numbers: 128 MiB of float32."""


@dataclass(frozen=True)
class _Evidence:
    """What a criterion may look at: [shape] tensors of one weight."""

    weight: Tensor
    fisher: Tensor


_CRITERIA: Final[dict[str, Callable[[_Evidence], Tensor]]] = {
    "magnitude": lambda one: one.weight.abs(),
    "lamp": lambda one: _lamp(one.weight),
    "fisher": lambda one: one.weight.square() * one.fisher,
    "root-fisher": lambda one: one.weight.square() * one.fisher.sqrt(),
}
_WITH_DATA: Final = frozenset({"fisher", "root-fisher"})
KNOWN: Final = tuple(_CRITERIA)


def weight_scores(
    model: nn.Module, weights: Sequence[MaskableWeight], criteria: Sequence[str], batches: Iterable[Any], loss: Loss
) -> dict[str, dict[str, Scores]]:
    """Score every weight by each criterion, higher is more important, comparable between layers.

    `magnitude` is |w|; `lamp` is w^2 over the sum of all squares in its layer that are at least as large; `fisher` is w^2 F, the
    rise of the loss that a diagonal Fisher matrix F predicts (twice of it); `root-fisher` is w^2 F^(1/2), half way to magnitude.

    Args:
        model: Trained network; left as it is.
        weights: Whose scores.
        criteria: Names of `KNOWN`.
        batches: Pairs (inputs, targets) for F, on the model's device; not read where no criterion needs it.
        loss: Mean loss of a batch.

    Returns:
        `{criterion: {weight name: scores of the weight's shape}}`.

    Raises:
        ConfigError: A criterion is unknown.
    Source:
        Lee et al. 2021, LAMP, arXiv:2010.07611; Theis et al. 2018, Fisher pruning, arXiv:1801.05787.
    """
    for name in criteria:
        if name not in _CRITERIA:
            raise ConfigError(f"{name!r} is no criterion for weights", f"known: {', '.join(KNOWN)}")
    parameters = {weight.name: dict(model.named_parameters())[weight.name].detach() for weight in weights}
    fisher = fisher_diagonal(model, list(parameters), batches, loss) if _WITH_DATA & set(criteria) else {}
    evidence = {name: _Evidence(value, fisher.get(name, value)) for name, value in parameters.items()}
    return {
        criterion: {
            name: _CRITERIA[criterion](one).float().cpu().contiguous().numpy() for name, one in evidence.items()
        }
        for criterion in criteria
    }


def fisher_diagonal(model: nn.Module, names: Sequence[str], batches: Iterable[Any], loss: Loss) -> Mapping[str, Tensor]:
    """Mean square of the gradient of single samples: the diagonal of the empirical Fisher matrix.

    Args:
        model: Network; run in eval mode, and left as it is.
        names: Of the parameters.
        batches: Pairs (inputs, targets) on the model's device.
        loss: Mean loss of a batch.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    chosen = {name: state[name].detach() for name in names}
    rest = {name: value.detach() for name, value in state.items() if name not in chosen}
    sums = {name: torch.zeros_like(value) for name, value in chosen.items()}
    samples = 0
    try:
        per_sample = _per_sample_gradients(model, rest, loss)
        size = max(1, CHUNK_FLOATS // sum(value.numel() for value in chosen.values()))
        for inputs, targets in batches:
            for start in range(0, len(targets), size):
                squares = per_sample(chosen, _part(inputs, start, size), _part(targets, start, size))
                for name, value in squares.items():
                    sums[name] += value
            samples += len(targets)
    finally:
        for module, training in modes:
            module.training = training
    return {name: value / max(1, samples) for name, value in sums.items()}


def _per_sample_gradients(
    model: nn.Module, rest: Mapping[str, Tensor], loss: Loss
) -> Callable[[Mapping[str, Tensor], Any, Any], Mapping[str, Tensor]]:
    """A function that sums the squared gradients of the samples it is given: all at once, or one by one where vmap can't."""

    def loss_of_one(chosen: Mapping[str, Tensor], inputs: Any, targets: Any) -> Tensor:
        batch = _map(inputs, lambda value: value.unsqueeze(0))
        wrapped = _Called(model)
        named = {f"model.{name}": value for name, value in {**rest, **chosen}.items()}
        return loss(functional_call(wrapped, named, (batch,)), _map(targets, lambda value: value.unsqueeze(0)))

    gradient = grad(loss_of_one)
    vectorised = vmap(gradient, in_dims=(None, 0, 0), randomness="different")
    works = True

    def summed(chosen: Mapping[str, Tensor], inputs: Any, targets: Any) -> Mapping[str, Tensor]:
        nonlocal works
        if works:
            try:
                return {name: value.square().sum(dim=0) for name, value in vectorised(chosen, inputs, targets).items()}
            except (RuntimeError, NotImplementedError, ValueError):  # some operations have no batching rule
                works = False
        total = {name: torch.zeros_like(value) for name, value in chosen.items()}
        for row in range(len(targets)):
            one = gradient(chosen, _map(inputs, lambda value, row=row: value[row]), targets[row])
            for name, value in one.items():
                total[name] += value.square()
        return total

    return summed


class _Called(nn.Module):
    """The model behind the one argument that batches have, whatever their kind."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Any) -> Any:
        """What the model makes of the batch."""
        return call_model(self.model, inputs)


def _map(tree: Any, function: Callable[..., Tensor]) -> Any:
    if isinstance(tree, dict):
        return {key: _map(value, function) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        return type(tree)(_map(value, function) for value in tree)
    return function(tree) if isinstance(tree, Tensor) else tree


def _part(tree: Any, start: int, size: int) -> Any:
    return _map(tree, lambda value: value[start : start + size])


def _lamp(weight: Tensor) -> Tensor:
    squares = weight.flatten().double().square()
    ascending, order = squares.sort(stable=True)
    at_least_as_large = ascending.flip(0).cumsum(0).flip(0)
    scores = torch.zeros_like(squares)
    scores[order] = ascending / at_least_as_large.clamp_min(torch.finfo(torch.float64).tiny)
    return scores.view_as(weight)
