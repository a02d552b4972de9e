"""The layers of a model that have weights to mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from evoprune.masks.maskable import maskable_weights


@dataclass(frozen=True)
class LayerRow:
    """One weight tensor.

    Attributes:
        layer: Name of the module, or of the parameter where the model itself holds it.
        name: Name of the parameter.
        kind: `conv`, `linear` and so on.
        shape: Shape of the parameter.
        weights: Number of weights.
        share: Share of all weights listed, 0 to 1.
    """

    layer: str
    name: str
    kind: str
    shape: tuple[int, ...]
    weights: int
    share: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def layers_of(
    model: nn.Module, patterns: Sequence[str] | None = None, *, include_norm_scales: bool = False
) -> list[LayerRow]:
    """The weights that a mask run may prune, in the order of the model.

    Args:
        model: Any module.
        patterns: Names of layers or parameters, or patterns such as `layer1.*`; all when None.
        include_norm_scales: The scales of normalisation layers as well.

    Raises:
        UsageError: A pattern fits no layer, or the model has no weights to mask.
    """
    weights = maskable_weights(model, layers=patterns, include_norm_scales=include_norm_scales)
    total = sum(weight.size for weight in weights)
    return [
        LayerRow(weight.layer, weight.name, weight.kind, weight.shape, weight.size, weight.size / total)
        for weight in weights
    ]
