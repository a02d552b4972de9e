"""Re-estimate BatchNorm statistics of a pruned network: the cheapest recovery there is."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from evoprune.sources.base import Source
from evoprune.space.calling import call_model


def recalibrate_batch_norm(
    model: nn.Module, source: Source, *, batches: int, batch_size: int, device: torch.device, seed: int
) -> int:
    """Replace running statistics by averages over a few batches; weights stay as they are.

    Args:
        model: Pruned network on `device`; modified in place.
        source: Training samples.
        batches: Batches to average over.
        batch_size: Samples per batch.
        device: Where the batches go.
        seed: Order of the samples.

    Returns:
        Number of BatchNorm layers updated.
    Source:
        Li et al. 2020, EagleEye, section 3.3, arXiv:2007.02491.
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not layers or batches == 0:
        return 0
    modes = [(module, module.training) for module in model.modules()]
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.training = True
    try:
        with torch.no_grad():
            for inputs, targets in itertools.islice(source.batches(batch_size, device=device, seed=seed), batches):
                # BatchNorm has no variance to take from a single sample left over at the end.
                if len(targets) > 1 or batch_size == 1:
                    call_model(model, inputs)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, training in modes:
            module.training = training
    return len(layers)
