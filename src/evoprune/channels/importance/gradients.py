"""Gradients of the loss by the parameters, without a trace in the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from evoprune.channels.importance.base import Examinee
from evoprune.data.batches import Batch, as_batch
from evoprune.data.loaders import LoaderSource
from evoprune.errors import UsageError
from evoprune.nn_utils.calling import call_model

Gradients = Mapping[str, Tensor]


def each_gradient(examinee: Examinee, name: str, use: Callable[[Gradients], None], *, per_sample: bool) -> int:
    """Call `use` with the parameters' gradients by name, batch by batch or sample by sample; zero where the loss doesn't depend.

    Args:
        examinee: Model, data and loss.
        name: Name of the criterion, for messages.
        use: Called with the gradients of each batch.
        per_sample: Cut the batches into single samples.

    Returns:
        How often `use` was called, at least once.

    Raises:
        UsageError: Batches or loss are missing, there is no batch, or the loss is no scalar that depends on the parameters.
    """
    if examinee.batches is None or examinee.loss is None:
        raise UsageError(f"{name} needs data: pass batches= and loss=")
    device = next((tensor.device for tensor in examinee.model.parameters()), torch.device("cpu"))
    calls = 0
    with _differentiable(examinee.model) as parameters:
        for batch in _read(examinee.batches, device, examinee.seed):
            for inputs, targets in _singles(batch) if per_sample else [batch]:
                use(_by_name(parameters, examinee.loss(call_model(examinee.model, inputs), targets), name))
                calls += 1
    if not calls:
        raise UsageError(f"{name} needs data: batches= yields none", "an iterator can be read only once: give a list")
    return calls


def _by_name(parameters: Gradients, value: Any, name: str) -> Gradients:
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        raise UsageError(f"{name} needs a loss that gives a scalar tensor and depends on the model's parameters")
    found = torch.autograd.grad(value.reshape(()), list(parameters.values()), allow_unused=True)
    return {
        key: torch.zeros_like(parameter) if gradient is None else gradient.detach().to_dense()
        for (key, parameter), gradient in zip(parameters.items(), found, strict=True)
    }


@contextmanager
def _differentiable(model: nn.Module) -> Iterator[Gradients]:
    """The parameters, all of them open to gradients for a while; `.grad` is never written."""
    parameters = {name: tensor for name, tensor in model.named_parameters() if tensor.is_floating_point()}
    flags = {name: tensor.requires_grad for name, tensor in parameters.items()}
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        if any(isinstance(module, nn.RNNBase) for module in model.modules()):
            # cuDNN has no backward pass for recurrent layers in evaluation mode.
            stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        try:
            for tensor in parameters.values():
                tensor.requires_grad_(True)
            yield dict(parameters)
        finally:
            for name, tensor in parameters.items():
                tensor.requires_grad_(flags[name])


def _read(batches: Any, device: torch.device, seed: int) -> Iterator[Batch]:
    """The batches on `device`; a loader is read as a task's is, which knows how many samples each batch has."""
    if isinstance(batches, (DataLoader, Dataset)):
        yield from LoaderSource((batches,)).batches(1, device=device, seed=seed)
        return
    for pair in batches:
        yield as_batch(pair).on(device)


def _singles(batch: Batch) -> Iterator[Batch]:
    for place in range(batch.samples):
        yield batch.part(place, place + 1)
