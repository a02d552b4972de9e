"""Analysis with its self-check: what comes out has been pruned and compared with the masked reference."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import nn

from evoprune.channels.self_check import SelfCheck, generic_copy
from evoprune.data.used_outputs import Outputs, UsedOutputs
from evoprune.errors import UnsupportedModelError
from evoprune.nn_utils.keeping import state_kept
from evoprune.nn_utils.quantised import require_unquantised
from evoprune.space.analysis import trace_space, traced
from evoprune.space.coupling import STUCK
from evoprune.space.pruning_space import PruningSpace

_OTHER_READINGS = (-2, -3, -1)


@torch.inference_mode(False)
def analyze(
    model: nn.Module,
    example_inputs: Any,
    *,
    exclude: str | Sequence[str] = (),
    outputs: Outputs = None,
    self_check: bool = True,
) -> PruningSpace:
    """Find what can be pruned from `model`, what goes together, and what can't go and why.

    A dimension that the model splits into several, such as heads and head size, can be cut along one of them only. The
    heads, if an attribute of the module tells of any, or the innermost is tried first; where that fails the self-check, the
    others are.

    Args:
        model: Any eager module; untouched.
        example_inputs: A tensor, a tuple or list of positional arguments, or a dict of keyword arguments.
        exclude: Names or patterns of modules, with all that is in them, or of parameters that must stay as they are.
        outputs: What you use of the outputs, where that is not all: a name such as `"logits"`, an index, a path such as
            `"1.boxes"`, a list of these, or a function of the outputs. The rest may change, in shape as well.
        self_check: Prune parts of everything and compare; groups that disagree are frozen.

    Raises:
        UnsupportedModelError: The model can't run on the inputs, can't be copied, its copies go on using it, or it is
            quantised already.
        UsageError: A pattern of `exclude` names nothing, or `outputs` no part of the outputs.
    """
    require_unquantised(model)
    if not self_check:
        return trace_space(model, example_inputs, exclude, UsedOutputs.of(outputs))
    with state_kept(model):
        return _checked_space(model, example_inputs, exclude, UsedOutputs.of(outputs))


def _checked_space(
    model: nn.Module, example_inputs: Any, exclude: str | Sequence[str], outputs: UsedOutputs
) -> PruningSpace:
    found = traced(model, example_inputs, exclude, outputs=outputs)
    if not found.space.groups and STUCK not in found.splits:
        return found.space
    checker = SelfCheck(generic_copy(model), example_inputs, model, keeps_state=found.keeps_state, outputs=outputs)
    training = checker.fails_in_training(found.space)
    if training:
        with suppress(UnsupportedModelError):  # a model that can't be trained on the inputs
            found = traced(model, example_inputs, exclude, training=True, outputs=outputs)
    best, failed = checker.refine(found.space)
    splits = found.splits
    readings: dict[str, int] = {}
    for reading in _OTHER_READINGS:
        blamed = {module for name in (*failed, STUCK) for module in splits.get(name, ())}
        if not blamed:
            break
        tried = readings | dict.fromkeys(blamed, reading)
        found = traced(model, example_inputs, exclude, tried, training=training, outputs=outputs)
        other, still_failed = checker.refine(found.space)
        if _extent(other) > _extent(best):
            best, failed, splits, readings = other, still_failed, found.splits, tried
    return best


def _extent(space: PruningSpace) -> int:
    """How many positions of parameters a space can remove."""
    return sum(len(member.index) for group in space.groups for member in group.members)
