"""Weight masks on a network: zeros where the plan prunes, everything else as it was."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from evoprune.errors import InvalidPlanError
from evoprune.mask_plan import BoolMask, MaskPlan, PackedMask
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.fingerprint import fingerprint
from evoprune.nn_utils.prune_hooks import refresh_masked


@torch.inference_mode(False)
def apply_masks(model: nn.Module, plan: MaskPlan) -> nn.Module:
    """A copy of `model` with zeros where `plan` prunes.

    Args:
        model: The network the plan was made for; untouched.
        plan: Says which weights stay.

    Returns:
        A new module, sharing nothing with `model`: same classes, dtype, device, memory format, `requires_grad`, shared
        parameters, hooks and training mode.

    Raises:
        InvalidPlanError: The plan is for another structure, or names tensors or shapes that the model doesn't have.
    """
    masks = masks_as_tensors(model, plan)
    masked = clone(model)
    zero_pruned(dict(masked.named_parameters()), masks)
    refresh_masked(masked)
    return masked


def zero_pruned(parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Write zeros, in place, where the [shape] bool `masks` are False.

    Filled and not multiplied: that makes -0.0 of a negative weight and leaves nan as it is.
    """
    for name, mask in masks.items():
        parameters[name].data.masked_fill_(~mask, 0)


def masks_as_tensors(model: nn.Module, plan: MaskPlan) -> dict[str, Tensor]:
    """`{parameter name: bool tensor of its shape}`, each on the device of its parameter.

    Raises:
        InvalidPlanError: The plan doesn't fit the model.
    """
    parameters = check_masks_fit(model, plan)
    return {name: torch.from_numpy(mask.bools).to(parameters[name].device) for name, mask in sorted(plan.masks.items())}


def check_masks_fit(model: nn.Module, plan: MaskPlan) -> dict[str, nn.Parameter]:
    """The parameters of `model` by first name, if `plan` fits them.

    Raises:
        InvalidPlanError: It doesn't.
    """
    if plan.fingerprint != fingerprint(model):
        raise InvalidPlanError(
            f"the masks were made for another structure than this {type(model).__name__}",
            "apply them to the network they were found for",
        )
    parameters = dict(model.named_parameters())
    for name, mask in plan.masks.items():
        if name not in parameters:
            raise InvalidPlanError(
                f"the plan masks {name!r}, which is no parameter of the model",
                "a shared parameter goes by its first name",
            )
        if tuple(parameters[name].shape) != mask.shape:
            raise InvalidPlanError(
                f"the mask of {name!r} has shape {list(mask.shape)}, the model's is {list(parameters[name].shape)}"
            )
    return parameters


def plan_of(model: nn.Module, masks: Mapping[str, BoolMask | Tensor]) -> MaskPlan:
    """A plan for `model` from bool arrays or tensors by parameter name.

    Raises:
        InvalidPlanError: A name, shape or type doesn't fit the model.
    """
    arrays = {name: mask.cpu().numpy() if isinstance(mask, Tensor) else mask for name, mask in masks.items()}
    plan = MaskPlan({name: PackedMask.from_bools(array) for name, array in arrays.items()}, fingerprint(model))
    check_masks_fit(model, plan)
    return plan
