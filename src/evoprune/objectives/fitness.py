"""One number to breed by: accuracy weighed against the share of MACs saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class WeightedFitness:
    """`w_acc * accuracy + w_macs * (1 - macs / baseline macs)`, higher is better.

    Attributes:
        w_acc: Weight of the metric on the select set, at least 0.
        w_macs: Weight of the fraction of MACs saved, at least 0; not both 0.
        baseline_macs: MACs of the dense network.
    """

    w_acc: float
    w_macs: float
    baseline_macs: float

    def __call__(self, values: Mapping[str, float]) -> float:
        """Fitness of a candidate with these `accuracy` and `macs`."""
        return self.w_acc * values["accuracy"] + self.w_macs * (1 - values["macs"] / self.baseline_macs)


@dataclass(frozen=True)
class MaskFitness:
    """`w_acc * accuracy + w_sparsity * layer_sparsity - w_loss * loss`, higher is better.

    Attributes:
        w_acc: Weight of the metric on the select set, at least 0.
        w_sparsity: Weight of the fraction of zeros among the weights that are searched, at least 0.
        w_loss: Weight of the loss on the select set, at least 0; not all three 0.
    """

    w_acc: float
    w_sparsity: float
    w_loss: float

    def __call__(self, values: Mapping[str, float]) -> float:
        """Fitness of a candidate with these `accuracy`, `layer_sparsity` and `loss`."""
        gain = self.w_acc * values["accuracy"] + self.w_sparsity * values["layer_sparsity"]
        return gain - self.w_loss * values["loss"]
