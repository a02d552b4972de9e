"""Training with masks held: pruned weights are zero before the first step, and exactly zero after every other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.errors import InvalidPlanError


def hold_masks(model: nn.Module, masks: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> None:
    """Zero what `masks` prune now, and keep it zero through every step of `optimizer`.

    Gradients are masked before each step, so that neither momentum nor weight decay ever sees a pruned weight, and weights after
    it. That costs two elementwise operations per masked tensor and step.

    Args:
        model: Network in training; changed in place.
        masks: `{parameter name: bool tensor of its shape}`, True where the weight stays.
        optimizer: Fresh: its momentum has seen no gradient yet.

    Raises:
        InvalidPlanError: A name or shape is not the model's.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, mask in masks.items():
        if name not in parameters or parameters[name].shape != mask.shape or mask.dtype != torch.bool:
            raise InvalidPlanError(
                f"mask {name!r} ({mask.dtype}, {list(mask.shape)}) fits no parameter of {type(model).__name__}"
            )
    weights = [parameters[name] for name in masks]
    keep = [mask.to(weight.device, weight.dtype) for weight, mask in zip(weights, masks.values(), strict=True)]
    drop = [~mask.to(weight.device) for weight, mask in zip(weights, masks.values(), strict=True)]

    def mask_gradients(*_: Any) -> None:
        pairs = [(weight.grad, factor) for weight, factor in zip(weights, keep, strict=True) if weight.grad is not None]
        if pairs:
            torch._foreach_mul_([gradient for gradient, _ in pairs], [factor for _, factor in pairs])

    def mask_weights(*_: Any) -> None:
        # Filled, not multiplied: an infinite gradient of a pruned weight is nan times zero, and stops here.
        for weight, gone in zip(weights, drop, strict=True):
            weight.data.masked_fill_(gone, 0)

    mask_weights()
    optimizer.register_step_pre_hook(mask_gradients)
    optimizer.register_step_post_hook(mask_weights)
