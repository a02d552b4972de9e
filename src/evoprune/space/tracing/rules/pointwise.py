"""Pointwise operations: element meets element, so labels meet position by position."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from evoprune.data.trees import tensors_in
from evoprune.space.tracing.labels import Vector
from evoprune.space.tracing.rules.call import Call, Dims
from evoprune.space.tracing.rules.registry import rule
from evoprune.space.tracing.rules.sizes import follow_width


@rule("hardswish", "hardswish_", "_prelu_kernel", "copy_", "threshold", "threshold_", "celu", "celu_", "rrelu", "softplus",
      "log_sigmoid_forward", "hardtanh", "leaky_relu", "addcmul", "addcdiv", "lerp", "bernoulli", "native_dropout",
      "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "normal", "bernoulli_", "normal_",
      "uniform_", "exponential_", "log_normal_", "cauchy_", "geometric_")  # fmt: skip
def pointwise(call: Call) -> None:
    """Union the labels of the operands, broadcast against each other."""
    first = next(tensors_in(call.result), None)
    if first is None:
        return
    dims: Dims = {}
    for dim in range(first.dim()):
        joined = call.join([part(call, tensor, dim - first.dim()) for tensor in call.operands])
        if joined is not None:
            dims[dim] = joined
            follow_fresh(call, call.operands, joined, dim - first.dim())
    call.put_all(dims)


@rule("new_empty", "new_zeros", "new_ones", "new_full", "new_empty_strided")
def fresh(call: Call) -> None:
    """A tensor of a size of its own takes over nothing but dtype and device."""
    call.put({}, active=False)


def part(call: Call, tensor: Tensor, from_end: int) -> tuple[Vector | None, int]:
    """Label and size of an operand's dimension for `Call.join`; of equal numbers along it any will do, as of a single one."""
    dim = tensor.dim() + from_end
    if dim < 0:
        return None, 1
    atoms = call.dims(tensor).get(dim)
    alike = atoms is None and (tensor.stride(dim) == 0 or call.tracer.maker(tensor) is not None)
    return atoms, 1 if alike else tensor.shape[dim]


def follow_fresh(call: Call, operands: Sequence[Tensor], atoms: Vector, from_end: int) -> None:
    """Where code makes a tensor of equal numbers that meets a label, let attributes that hold its size follow the label."""
    for tensor in operands:
        dim = tensor.dim() + from_end
        maker = call.tracer.maker(tensor)
        if maker is not None and dim >= 0 and dim not in call.dims(tensor) and tensor.shape[dim] == len(atoms):
            follow_width(call, maker, atoms)
