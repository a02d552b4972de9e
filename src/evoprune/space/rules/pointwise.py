"""Pointwise operations: element meets element, so labels meet position by position."""

from __future__ import annotations

from torch import Tensor

from evoprune.space.calling import tensors_in
from evoprune.space.labels import Vector
from evoprune.space.rules.call import Call, Dims
from evoprune.space.rules.registry import rule


@rule("hardswish", "hardswish_", "_prelu_kernel", "copy_", "threshold", "threshold_", "celu", "celu_", "rrelu", "softplus",
      "log_sigmoid_forward", "hardtanh", "leaky_relu", "addcmul", "addcdiv", "lerp", "bernoulli", "native_dropout",
      "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like")  # fmt: skip
def pointwise(call: Call) -> None:
    """Union the labels of the operands, broadcast against each other."""
    first = next(tensors_in(call.result), None)
    if first is None:
        return
    dims: Dims = {}
    for dim in range(first.dim()):
        joined = call.join([_part(call, tensor, dim - first.dim()) for tensor in call.operands])
        if joined is not None:
            dims[dim] = joined
    call.put_all(dims)


def _part(call: Call, tensor: Tensor, from_end: int) -> tuple[Vector | None, int]:
    dim = tensor.dim() + from_end
    if dim < 0:
        return None, 1
    return call.dims(tensor).get(dim), tensor.shape[dim]
