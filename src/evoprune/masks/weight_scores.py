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
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from evoprune.data.batches import Batch, as_batch
from evoprune.data.trees import map_tensors
from evoprune.errors import ConfigError
from evoprune.masks.maskable import MaskableWeight
from evoprune.metrics.losses import Loss, as_given, loss_value
from evoprune.nn_utils.calling import call_model, named_tensors
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.prune_hooks import effective_parameters
from evoprune.rng import preserved_generators

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
    "fisher": lambda one: one.weight.abs().square() * one.fisher,
    "root-fisher": lambda one: one.weight.abs().square() * one.fisher.sqrt(),
}
_CALM: Final = (_NormBase, _DropoutNd, nn.RNNBase, nn.MultiheadAttention, nn.RReLU)
"""What behaves otherwise in training."""
_WITH_DATA: Final = frozenset({"fisher", "root-fisher"})
KNOWN: Final = tuple(_CRITERIA)


def weight_scores(
    model: nn.Module, weights: Sequence[MaskableWeight], criteria: Sequence[str], batches: Iterable[Any], loss: Loss
) -> dict[str, dict[str, Scores]]:
    """Score every weight by each criterion, higher is more important, comparable between layers.

    `magnitude` is |w|; `lamp` is w^2 over the sum of this and all squares that follow it in its layer, in ascending order;
    `fisher` is w^2 F, the rise of the loss that a diagonal Fisher matrix F predicts (twice of it); `root-fisher` is w^2 F^(1/2),
    half way to magnitude.

    Args:
        model: Trained network; left as it is.
        weights: Weights to score.
        criteria: Names of `KNOWN`.
        batches: Pairs (inputs, targets) for F, on the model's device, tensors or containers of them; not read where no criterion
            needs it.
        loss: Mean loss of a batch.

    Returns:
        `{criterion: {weight name: scores of the weight's shape}}`.

    Raises:
        ConfigError: A criterion is unknown, or needs batches and there is none.

    Source:
        Lee et al. 2021, LAMP, arXiv:2010.07611; Theis et al. 2018, Fisher pruning, arXiv:1801.05787.
    """
    for name in criteria:
        if name not in _CRITERIA:
            raise ConfigError(f"{name!r} is no criterion for weights", f"known: {', '.join(KNOWN)}")
    named = effective_parameters(model)
    parameters = {weight.name: named[weight.name] for weight in weights}
    fisher = fisher_diagonal(model, list(parameters), batches, loss) if _WITH_DATA & set(criteria) else {}
    evidence = {name: _Evidence(value, fisher.get(name, value)) for name, value in parameters.items()}
    return {
        criterion: {
            name: _CRITERIA[criterion](one).float().cpu().contiguous().numpy() for name, one in evidence.items()
        }
        for criterion in criteria
    }


@torch.inference_mode(False)
def fisher_diagonal(model: nn.Module, names: Sequence[str], batches: Iterable[Any], loss: Loss) -> Mapping[str, Tensor]:
    """Mean square of the gradient of single samples: the diagonal of the empirical Fisher matrix.

    Args:
        model: Network; a copy runs, in eval mode. Where the loss can't take what it returns there, but only what it returns in
            training, as with auxiliary heads, all but normalisation and dropout is in train mode.
        names: Names of the parameters.
        batches: Pairs (inputs, targets) on the model's device.
        loss: Mean loss of a batch.

    Returns:
        `{name: values of the parameter's shape}`, in single precision or better.

    Raises:
        ConfigError: There are no batches.
    """
    gradients = _SampleGradients(clone(model).eval(), names, loss)
    samples = 0
    with preserved_generators():
        for number, pair in enumerate(batches):
            if number == 0:
                gradients.suit(as_batch(pair))
            samples += gradients.add(as_batch(pair))
    if not samples:
        raise ConfigError("the Fisher diagonal needs samples, and there are none", "use magnitude or lamp without data")
    return {name: value.detach() / samples for name, value in gradients.sums.items()}


class _SampleGradients:
    """Adds up squared gradients of single samples: many at a time, or one by one where vmap can't.

    Args:
        model: Network in eval mode, of which nobody else has a part.
        names: Names of the parameters.
        loss: Mean loss of a batch.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], loss: Loss) -> None:
        self._model = model
        self._loss = as_given(loss)
        tensors = {name: value.detach() for name, value in named_tensors(model).items()}
        self._chosen = {name: tensors[name] for name in names}
        self._rest = {f"model.{name}": value for name, value in tensors.items() if name not in self._chosen}
        self._called = _Called(model)
        self._size = max(1, CHUNK_FLOATS // sum(value.numel() for value in self._chosen.values()))
        self._works = True
        self.sums = {name: torch.zeros_like(value.abs(), dtype=_wide(value)) for name, value in self._chosen.items()}

    def suit(self, batch: Batch) -> None:
        """Bring the network into the mode whose outputs the loss takes, by a trial on a sample."""
        inputs, targets = batch.part(0, 1) if batch.samples > 1 else batch
        try:
            with torch.no_grad():
                loss_value(self._loss, call_model(self._model, inputs), targets)
        except Exception:  # whatever a loss of the user's may raise
            for module in self._model.modules():
                module.training = not isinstance(module, _CALM)

    def add(self, batch: Batch) -> int:
        """Take in a batch; its number of samples."""
        size = self._size if batch.leads else 1
        for start in range(0, batch.samples, size):
            for name, value in self._squares(batch.part(start, min(batch.samples, start + size))).items():
                self.sums[name] += value
        return batch.samples

    def _squares(self, batch: Batch) -> dict[str, Tensor]:
        if self._works and batch.leads:
            try:
                vectorised = vmap(grad(self._loss_of_one), in_dims=(None, 0, 0), randomness="different")
                return {name: _square(one).sum(0) for name, one in vectorised(self._chosen, *batch).items()}
            except (RuntimeError, NotImplementedError, ValueError):  # some operations have no batching rule
                self._works = False
        total = {name: torch.zeros_like(value) for name, value in self.sums.items()}
        for row in range(batch.samples):
            for name, value in self._gradients(*batch.part(row, row + 1)).items():
                total[name] += _square(value)
        return total

    def _loss_of_one(self, chosen: Mapping[str, Tensor], inputs: Any, targets: Any) -> Tensor:
        inputs, targets = map_tensors((inputs, targets), lambda value: value.unsqueeze(0))
        named = self._rest | {f"model.{name}": value for name, value in chosen.items()}
        return loss_value(self._loss, functional_call(self._called, named, (inputs,)), targets)

    @torch.enable_grad()
    def _gradients(self, inputs: Any, targets: Any) -> dict[str, Tensor]:
        """Gradients of one sample, by plain autograd: what torch.func can't do comes out right, too."""
        parameters = {
            name: value.requires_grad_() for name, value in named_tensors(self._model).items() if name in self.sums
        }
        loss = loss_value(self._loss, call_model(self._model, inputs), targets)
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
        dense = [gradient.to_dense() if gradient.is_sparse else gradient for gradient in found]
        return dict(zip(parameters, dense, strict=True))


class _Called(nn.Module):
    """The model behind the one argument that batches have, whatever their kind."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Any) -> Any:
        """What the model makes of the batch."""
        return call_model(self.model, inputs)


def _wide(value: Tensor) -> torch.dtype:
    """Half precision can't hold sums of squares."""
    return torch.promote_types(value.abs().dtype, torch.float32)


def _square(gradient: Tensor) -> Tensor:
    return gradient.abs().to(_wide(gradient)).square()


def _lamp(weight: Tensor) -> Tensor:
    squares = weight.flatten().abs().double().square()
    ascending, order = squares.sort(stable=True)
    at_least_as_large = ascending.flip(0).cumsum(0).flip(0)
    scores = torch.zeros_like(squares)
    scores[order] = ascending / at_least_as_large.clamp_min(torch.finfo(torch.float64).tiny)
    return scores.view_as(weight)
