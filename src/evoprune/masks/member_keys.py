"""How a member of a population ranks weights: magnitude against what the loss says, and a factor for each tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evoprune.masks.member_genes import MemberGenes


def member_keys(
    weights: Mapping[str, Tensor], fisher: Mapping[str, Tensor], genes: MemberGenes
) -> dict[str, NDArray[np.float32]]:
    """Importance w^2 F^exponent of single weights, times the scale of their tensor.

    Args:
        weights: Weight tensors by name, in the order of the scales.
        fisher: Mean squared gradients of single samples, of the same names and shapes.
        genes: Exponent and scales.

    Returns:
        `{name: scores of the weight's shape}`, higher stays longer. F is divided by its mean over all weights first: the order is
        the same, and small exponents leave the scores in the range of single precision.
    """
    total = sum(float(one.double().sum()) for one in fisher.values())
    mean = max(total / sum(one.numel() for one in fisher.values()), torch.finfo(torch.float64).tiny)
    return {
        name: (scale * weight.detach().abs().double().square() * (fisher[name].double() / mean) ** genes.exponent)
        .float()
        .cpu()
        .numpy()
        for (name, weight), scale in zip(weights.items(), genes.scales, strict=True)
    }
