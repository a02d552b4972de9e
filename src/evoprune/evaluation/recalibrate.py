"""Re-estimate BatchNorm statistics of a pruned network: the cheapest recovery there is."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from evoprune.data.base import Source
from evoprune.data.batches import as_batch
from evoprune.nn_utils.calling import call_model
from evoprune.rng import isolated_rng


def recalibrate_batch_norm(
    model: nn.Module, source: Source, *, batches: int, batch_size: int, device: torch.device, seed: int
) -> int:
    """Replace running statistics by averages over a few batches; weights stay as they are.

    Args:
        model: Pruned network on `device`; modified in place.
        source: Training samples.
        batches: Batches to average over.
        batch_size: Samples per batch.
        device: Device that the batches go to.
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
        with torch.no_grad(), isolated_rng(seed):
            singles = batch_size == 1 or source.batch_count(batch_size) >= len(source)
            for pair in itertools.islice(source.batches(batch_size, device=device, seed=seed), batches):
                batch = as_batch(pair)
                # BatchNorm has no variance to take from a single sample left over at the end.
                if batch.samples > 1 or singles:
                    call_model(model, batch[0])
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        for module, training in modes:
            module.training = training
    return len(layers)
