"""FLOPs of single operations: torch's own formulas, and ours for what its registry counts as nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

Formula = Callable[..., int]


def flop_formula(func: Any) -> Formula | None:
    """What gives the FLOPs of an operation from its arguments and `out_val=result`; None where it counts as nothing."""
    return OWN.get(func.overloadpacket) or flop_registry.get(func.overloadpacket)


def _recurrent_layer(source: Tensor, input_weight: Tensor, hidden_weight: Tensor, *_: Any, **__: Any) -> int:
    """`mkldnn_rnn_layer`, one layer and direction of an LSTM: [t, n, i], [4h, i], [4h, h] -> FLOPs."""
    return 2 * source.shape[0] * source.shape[1] * (input_weight.numel() + hidden_weight.numel())


def _recurrent_stack(source: Tensor, weights: list[Tensor], *_: Any, **__: Any) -> int:
    """`_cudnn_rnn` and `miopen_rnn`, all layers and directions: every weight matrix once per token."""
    return 2 * source.numel() // source.shape[-1] * sum(weight.numel() for weight in weights if weight.dim() == 2)


def _with_vector(matrix: Tensor, *_: Any, **__: Any) -> int:
    """`mv`, `dot`, `vdot`."""
    return 2 * matrix.numel()


def _added_with_vector(_added: Tensor, matrix: Tensor, *_: Any, **__: Any) -> int:
    """`addmv`: [m] + [m, n] @ [n]."""
    return 2 * matrix.numel()


def _batches_added(_added: Tensor, first: Tensor, second: Tensor, *_: Any, **__: Any) -> int:
    """`addbmm`: [b, m, k] @ [b, k, n], summed over b."""
    return 2 * first.numel() * second.shape[-1]


_FORMULAS: dict[str, Formula] = {
    "mkldnn_rnn_layer": _recurrent_layer,
    "_cudnn_rnn": _recurrent_stack,
    "miopen_rnn": _recurrent_stack,
    "mv": _with_vector,
    "dot": _with_vector,
    "vdot": _with_vector,
    "addmv": _added_with_vector,
    "addbmm": _batches_added,
}
OWN: dict[Any, Formula] = {
    getattr(torch.ops.aten, name): formula for name, formula in _FORMULAS.items() if hasattr(torch.ops.aten, name)
}
"""FLOPs of operations that torch's registry counts as nothing."""
