"""How far apart two networks' outputs are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.data.trees import tensors_in
from evoprune.errors import SurgeryError
from evoprune.nn_utils.calling import call_model, undisturbed

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


@dataclass(frozen=True)
class Verification:
    """How far apart the pruned and the masked network are.

    Attributes:
        max_abs_difference: Largest absolute difference of any output element.
        max_abs_reference: Largest absolute value of the masked network's outputs.
        dtype: Type of the numbers that were compared.
        tolerance: Accepted difference, as a fraction of `max_abs_reference`.
    """

    max_abs_difference: float
    max_abs_reference: float
    dtype: torch.dtype
    tolerance: float

    @property
    def relative(self) -> float:
        """The difference as a fraction of the largest reference value."""
        return self.max_abs_difference / self.max_abs_reference if self.max_abs_reference else self.max_abs_difference

    @property
    def agrees(self) -> bool:
        """Whether the difference is within tolerance."""
        return self.relative <= self.tolerance


def outputs_of(model: nn.Module, example_inputs: Any) -> list[Tensor]:
    """All output tensors of an undisturbed evaluation pass, detached."""
    with undisturbed(model):
        return [tensor.detach() for tensor in tensors_in(call_model(model, example_inputs))]


def compare(outputs: list[Tensor], reference: list[Tensor]) -> Verification:
    """Largest difference over all outputs.

    Raises:
        SurgeryError: Their number or shapes differ.
    """
    shapes, expected = [list(o.shape) for o in outputs], [list(r.shape) for r in reference]
    if shapes != expected:
        raise SurgeryError(f"the pruned network's outputs have shapes {shapes}, the dense one's {expected}")
    dtypes = [r.dtype for r in reference if r.is_floating_point()]
    dtype = min(dtypes, key=lambda kind: torch.finfo(kind).bits) if dtypes else torch.float32
    difference = scale = 0.0
    for output, target in zip(outputs, reference, strict=True):
        if target.numel():
            one, two = (_wide(tensor) for tensor in (output, target))
            gap = (one - two).abs()
            gap[(one == two) | (one.isnan() & two.isnan())] = 0
            difference = max(difference, float(gap.nan_to_num(nan=float("inf")).max()))
            finite = two[two.isfinite()]
            scale = max(scale, float(finite.abs().max()) if finite.numel() else 0.0)
    return Verification(difference, scale, dtype, TOLERANCE.get(dtype, 1e-9))


def _wide(tensor: Tensor) -> Tensor:
    return (
        torch.view_as_real(tensor.to(torch.complex128).resolve_conj())
        if tensor.is_complex()
        else tensor.to(torch.float64)
    )
