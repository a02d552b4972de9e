"""Weights that are computed from parameters: normed, standardised, divided by their largest singular value."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from evoprune.space.tracing.labels import PlainNorm, Vector
from evoprune.space.tracing.rules.call import Call, Dims
from evoprune.space.tracing.rules.registry import rule


@rule("_weight_norm_interface")
def weight_norm(call: Call) -> None:
    """Direction times length: what is removed of the direction is zero in the masked network, and adds nothing to its length."""
    direction, length = call.arg("v"), call.arg("g")
    made = call.result if isinstance(call.result, Tensor) else call.result[0]
    dims = call.dims(direction)
    _note_sums(call, {dim: atoms for dim, atoms in dims.items() if dim >= length.dim() or length.shape[dim] == 1})
    for dim, atoms in call.dims(length).items():
        size = length.shape[dim]
        joined = call.join([(dims.pop(dim, None), size), (atoms, size)])
        if joined is not None:
            dims[dim] = joined
    call.put(dims, made)


def passes_sum(call: Call, dims: Dims) -> bool:
    """Whether an operation sums along `dims`, or sums powers of weights: what is zero in the masked network adds nothing.

    What is summed is zero there unless something has been added to it or made of it; the self-check finds out.
    """
    name = str(call.func)
    passes = name.startswith("aten.sum.") or (
        not call.active and name.startswith(("aten.linalg_vector_norm", "aten.norm"))
    )
    if passes:
        call.couplings.multiplied.extend(dims.values())
    return passes


def passes_statistics(call: Call, dims: Dims) -> bool:
    """Whether statistics are those of a layer's own weight over its inputs, taken over what is kept; it is noted that they are.

    Args:
        call: The operation.
        dims: Labels of the dimensions that it averages over.
    """
    if call.active or not dims:
        return False
    weight = _own_weight(call)
    read = {} if weight is None else {dim: atoms for dim, atoms in call.dims(weight).items() if dim > 0}
    if not read or not all(_inside(atoms, list(read.values())) for atoms in dims.values()):
        return False
    if weight is not None and 1 in read:
        call.couplings.plain_norms.append(PlainNorm(call.tracer.module, read[1]))
        if weight[0, 0].numel() == 1:  # of a single number there are no statistics
            call.couplings.pairs.append((read[1], f"stays, so that there are two to standardise, by {call.where}"))
    return True


def spectral_norm(call: Call, module: Any) -> None:
    """Torch's parametrization: the weight, with its vectors cut like the weight's rows and columns."""
    _spectral(call, next(iter(call.operands)), (module._u, module._v), module._reshape_weight_to_matrix)


def spectral_norm_hook(call: Call, hook: Any, module: nn.Module) -> None:
    """The old kind, by a hook."""
    weight, *vectors = (getattr(module, f"{hook.name}_{end}") for end in ("orig", "u", "v"))
    _spectral(call, weight, (vectors[0], vectors[1]), hook.reshape_weight_to_matrix)


def _spectral(call: Call, weight: Tensor, vectors: tuple[Tensor, Tensor], as_matrix: Any) -> None:
    """Rows and columns that are zero in the masked network don't change the product of weight and vectors."""
    dims = call.dims(weight)
    for dim, atoms in [(dim, atoms) for dim, atoms in dims.items() if dim < 2]:  # the others are a kernel's extents
        shape = [1] * weight.dim()
        shape[dim] = -1
        matrix = as_matrix(torch.from_numpy(atoms).reshape(shape).expand(weight.shape)).numpy()
        rows = bool((matrix[:, :1] == matrix).all())
        found = matrix[:, 0] if rows else matrix[0]
        other = call.dims(vectors[0] if rows else vectors[1]).get(0)
        if other is not None:
            call.couplings.tie(np.ascontiguousarray(found), other, f"is normed with a fixed vector in {call.where}")
        call.couplings.multiplied.append(atoms)
    call.put(dims, active=False)


def _note_sums(call: Call, dims: Dims) -> None:
    """Outputs that are summed over mustn't be filled with noise in the reference; inputs are zero there."""
    for dim, atoms in dims.items():
        if dim == 0 or call.tracer.runs(_ConvTransposeNd):
            call.couplings.multiplied.append(atoms)


def _own_weight(call: Call) -> Tensor | None:
    """The weight of the convolution or linear layer that is running; input channels are its second dimension."""
    if not (call.tracer.runs(_ConvNd) or call.tracer.runs(nn.Linear)) or call.tracer.runs(_ConvTransposeNd):
        return None
    parameters = call.tracer.attributes().get("_parameters")
    weight = parameters.get("weight") if isinstance(parameters, dict) else None
    return weight if isinstance(weight, Tensor) else None


def _inside(atoms: Vector, labels: list[Vector]) -> bool:
    return bool(np.isin(atoms, np.concatenate(labels)).all())
