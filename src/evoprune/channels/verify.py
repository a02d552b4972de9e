"""Proof of one cut: the pruned network against the masked one, on real numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from evoprune.channels.reference import mask
from evoprune.channels.rehearsal import Rehearsal
from evoprune.channels.surgery import prune
from evoprune.data.trees import map_tensors
from evoprune.data.used_outputs import Outputs, UsedOutputs
from evoprune.errors import SurgeryError, in_words
from evoprune.nn_utils.calling import call_model, run_example, undisturbed
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.comparison import Verification, compare
from evoprune.nn_utils.independence import Watch, run_through
from evoprune.nn_utils.keeping import state_kept
from evoprune.plan import PruningPlan


@torch.inference_mode(False)
def verify(model: nn.Module, plan: PruningPlan, example_inputs: Any, outputs: Outputs = None) -> Verification:
    """Compare `prune(model, plan)` with `mask(model, plan)`, in float64 where the model can run in it.

    Where the model can be trained on the inputs, the two are compared in training mode as well, with random draws in common.

    Args:
        model: The dense network; untouched.
        plan: Says what stays.
        example_inputs: Inputs of one forward pass.
        outputs: What of the outputs is compared, as for `analyze`; all when None.

    Raises:
        SurgeryError: They differ by more than rounding, or the pruned network can't run or train.
        InvalidPlanError: The plan doesn't fit the model.
        UnsupportedModelError: The dense model itself can't run on the inputs, or copies of it go on using it.
        UsageError: `outputs` names no part of the outputs.
    """
    used = UsedOutputs.of(outputs)
    with state_kept(model):
        dense, inputs = in_float64(model, example_inputs)
        reference = run_through(mask(dense, plan), inputs, gather=used)
        smaller, watch = prune(dense, plan), Watch([model, dense])
        failure: Exception | None = None
        try:
            found = run_through(smaller, inputs, watch, gather=used)
        except Exception as error:
            failure = error
        watch.check(model)
        if failure is not None:
            raise SurgeryError(f"the pruned network can't run: {in_words(failure)}") from failure
        result = _compared(found, reference, used)
        pair = Rehearsal(prune(dense, plan), mask(dense, plan), inputs, model, result.tolerance, watch, used)
        problem = pair.train()
    if not result.agrees:
        raise SurgeryError(
            f"the pruned network differs from the masked one by {result.max_abs_difference:.2g} "
            f"where outputs reach {result.max_abs_reference:.2g} ({result.dtype})"
        )
    if problem:
        raise SurgeryError(problem)
    return result


def _compared(found: list[Tensor], reference: list[Tensor], used: UsedOutputs) -> Verification:
    try:
        return compare(found, reference)
    except SurgeryError as error:
        several = used.everything and len(reference) > 1
        hint = "where you use only some of the outputs, say which, as to analyze: outputs='logits'" if several else ""
        raise SurgeryError(error.message, hint) from error


def in_float64(model: nn.Module, example_inputs: Any) -> tuple[nn.Module, Any]:
    """Copies in float64 if the model runs in it, else the model and inputs as they are."""
    wide, inputs = wide_copies(model, example_inputs)
    try:
        with undisturbed(wide):
            call_model(wide, inputs)
    except Exception:
        with undisturbed(model):
            run_example(model, example_inputs)
        return model, example_inputs
    return wide, inputs


def wide_copies(model: nn.Module, example_inputs: Any) -> tuple[nn.Module, Any]:
    """Copies in float64, whether the model runs in it or not."""
    inputs = map_tensors(example_inputs, lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)
    return clone(model).double(), inputs
