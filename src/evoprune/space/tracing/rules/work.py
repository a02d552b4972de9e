"""The work of modules that are understood as a whole, as products of extents of their weights."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

from torch import Tensor, nn


class Product(NamedTuple):
    """MACs: `factor` times the sizes of some tensors' dimensions."""

    factor: int
    extents: tuple[tuple[Tensor, int], ...]


def module_work(module: nn.Module, args: Any, kwargs: Any) -> list[Product]:
    """What a module multiplies on these arguments; nothing for a kind without a formula."""
    recurrent = isinstance(module, (nn.RNNBase, nn.RNNCellBase))
    if not recurrent and (type(module) is not nn.MultiheadAttention or module.in_proj_weight is None):
        return []
    bound: dict[str, Any] = inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments
    if "input" not in bound and recurrent:
        return []
    return _recurrent(module, bound) if recurrent else _attention(module, bound)


def _recurrent(module: nn.Module, bound: dict[str, Any]) -> list[Product]:
    """Every matrix once per token."""
    source = bound["input"]
    source = source if isinstance(source, Tensor) else source.data  # a packed sequence
    tokens = source.numel() // max(1, source.shape[-1])
    weights = (tensor for name, tensor in module.named_parameters() if "weight_" in name)
    return [Product(tokens, ((weight, 0), (weight, 1))) for weight in weights]


def _attention(module: Any, bound: dict[str, Any]) -> list[Product]:
    """Three projections, scores, mixture, and the projection of the output.

    All heads together are as wide as the input of the last projection; the fused weight has three times as many rows.
    """
    projection, output = module.in_proj_weight, module.out_proj.weight
    tokens = [bound[name].numel() // max(1, bound[name].shape[-1]) for name in ("query", "key", "value")]
    query = bound["query"]
    samples = 1 if query.dim() == 2 else query.shape[0 if module.batch_first else 1]
    pairs = tokens[0] * tokens[1] // max(1, samples)
    return [
        *(Product(count, ((output, 1), (projection, 1))) for count in tokens),
        Product(2 * pairs, ((output, 1),)),
        Product(tokens[0], ((output, 0), (output, 1))),
    ]
