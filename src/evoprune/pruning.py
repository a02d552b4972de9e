"""Any plan on a model: channels are cut out, single weights are zeroed."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from evoprune.channels import reference as masks
from evoprune.channels import surgery as structured
from evoprune.channels import verify as surgery
from evoprune.data.used_outputs import Outputs, UsedOutputs
from evoprune.errors import SurgeryError
from evoprune.mask_plan import MaskPlan
from evoprune.masks.apply import apply_masks, masks_as_tensors
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.comparison import Verification, compare
from evoprune.nn_utils.independence import check_independent, run_through
from evoprune.nn_utils.keeping import state_kept
from evoprune.plan import PruningPlan

AnyPlan = PruningPlan | MaskPlan


def prune(model: nn.Module, plan: AnyPlan) -> nn.Module:
    """A network with what `plan` removes gone, as a new module: smaller for a `PruningPlan`, with zeros for a `MaskPlan`.

    Args:
        model: The dense network the plan was made for; untouched.
        plan: Says what stays.

    Returns:
        A module that shares nothing with `model`: same classes, dtype, device, memory format, `requires_grad`, gradients, hooks,
        shared parameters and training mode.

    Raises:
        InvalidPlanError: The plan is for another structure, or names what the model doesn't have.
    """
    return apply_masks(model, plan) if isinstance(plan, MaskPlan) else structured.prune(model, plan)


def mask(model: nn.Module, plan: AnyPlan) -> nn.Module:
    """`model` at full size with everything zeroed that `plan` removes; for a `MaskPlan` the same as `prune`.

    Layers that normalise over channels take their statistics over the channels that a `PruningPlan` keeps.

    Raises:
        InvalidPlanError: The plan doesn't fit the model.
    """
    return apply_masks(model, plan) if isinstance(plan, MaskPlan) else masks.mask(model, plan)


def verify(model: nn.Module, plan: AnyPlan, example_inputs: Any, *, outputs: Outputs = None) -> Verification:
    """Compare `prune(model, plan)` with a reference of full size, in float64 where the model can run in it.

    The reference is `mask(model, plan)`; for a `MaskPlan` it is the dense network called with each weight times its mask.

    Args:
        model: The dense network the plan was made for; untouched.
        plan: Says what stays.
        example_inputs: Inputs of one forward pass.
        outputs: What you use of the outputs, as for `analyze`: only that is compared. All when None.

    Raises:
        SurgeryError: They differ by more than rounding, or the pruned network can't run.
        InvalidPlanError: The plan doesn't fit the model.
        UnsupportedModelError: The dense model itself can't run on the inputs, or copies of it go on using it.
        UsageError: `outputs` names no part of the outputs.
    """
    if isinstance(plan, MaskPlan):
        return _verify_masks(model, plan, example_inputs, UsedOutputs.of(outputs))
    return surgery.verify(model, plan, example_inputs, outputs)


@torch.inference_mode(False)
def _verify_masks(model: nn.Module, plan: MaskPlan, example_inputs: Any, used: UsedOutputs) -> Verification:
    factors = masks_as_tensors(model, plan)
    with state_kept(model):
        dense, inputs = surgery.in_float64(model, example_inputs)
        check_independent(apply_masks(dense, plan), inputs, [model, dense])
        reference = clone(dense)
        for name, weight in reference.named_parameters():
            if name in factors:
                weight.data = torch.where(factors[name], weight.data, torch.zeros_like(weight.data))
        masked = run_through(apply_masks(dense, plan), inputs, gather=used)
        result = compare(masked, run_through(reference, inputs, gather=used))
    if not result.agrees:
        raise SurgeryError(f"the masked network differs from its reference by {result.max_abs_difference:.2g}")
    return result
