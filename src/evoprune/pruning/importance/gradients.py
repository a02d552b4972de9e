"""Gradients of the loss by the parameters, without a trace in the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.errors import UsageError
from evoprune.pruning.importance.base import Examinee
from evoprune.space.calling import batch_size, map_tensors

Gradients = Mapping[str, Tensor]


def each_gradient(examinee: Examinee, name: str, use: Callable[[Gradients], None], *, per_sample: bool) -> int:
    """Call `use` with the parameters' gradients by name, batch by batch or sample by sample; zero where the loss doesn't depend.

    Args:
        examinee: Model, data and loss.
        name: Of the criterion, for messages.
        use: What to do with the gradients.
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
        for batch in examinee.batches:
            for inputs, targets in _parts(batch, device, per_sample=per_sample):
                use(_by_name(parameters, examinee.loss(examinee.model(inputs), targets), name))
                calls += 1
    if not calls:
        raise UsageError(f"{name} needs data: batches= yields none", "an iterator can be read only once: give a list")
    return calls


def _by_name(parameters: Gradients, value: Any, name: str) -> Gradients:
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        raise UsageError(f"{name} needs a loss that gives a scalar tensor and depends on the model's parameters")
    found = torch.autograd.grad(value.reshape(()), list(parameters.values()), allow_unused=True)
    return {
        key: torch.zeros_like(parameter) if gradient is None else gradient.detach()
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


def _parts(batch: Any, device: torch.device, *, per_sample: bool) -> Iterator[Any]:
    """The batch, or its samples as batches of one, on `device`."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise UsageError(f"batches= must yield (inputs, targets) pairs, not {type(batch).__name__}")
    pair = map_tensors(tuple(batch), lambda tensor: tensor.to(device))
    if not per_sample:
        yield pair
        return
    for place in range(batch_size(pair)):
        yield map_tensors(pair, partial(_sample, place))


def _sample(place: int, tensor: Tensor) -> Tensor:
    return tensor[place : place + 1] if tensor.dim() else tensor
