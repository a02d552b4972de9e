"""Analysis with its self-check: what comes out has been pruned and compared with the masked reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from evoprune.pruning.closures import refuse_closures
from evoprune.pruning.self_check import SelfCheck, generic_copy
from evoprune.space.analysis import trace_space, traced
from evoprune.space.coupling import STUCK
from evoprune.space.pruning_space import PruningSpace

_OTHER_READINGS = (-2, -3, -1)


@torch.inference_mode(False)
def analyze(
    model: nn.Module, example_inputs: Any, *, exclude: Sequence[str] = (), self_check: bool = True
) -> PruningSpace:
    """Find what can be pruned from `model`, what goes together, and what can't go and why.

    A dimension that the model splits into several, such as heads and head size, can be cut along one of them only. The
    heads, if an attribute of the module tells of any, or the innermost is tried first; where that fails the self-check, the
    others are.

    Args:
        model: Any eager module; untouched.
        example_inputs: A tensor, a tuple or list of positional arguments, or a dict of keyword arguments.
        exclude: Name patterns of modules or parameters that must stay as they are.
        self_check: Prune parts of everything and compare; groups that disagree are frozen.

    Raises:
        UnsupportedModelError: The model can't run on the inputs, or holds a function that closes over it.
    """
    refuse_closures(model)
    if not self_check:
        return trace_space(model, example_inputs, exclude)
    space, splits = traced(model, example_inputs, exclude)
    if not space.groups and STUCK not in splits:
        return space
    checker = SelfCheck(generic_copy(model), example_inputs)
    best, failed = checker.refine(space)
    readings: dict[str, int] = {}
    for reading in _OTHER_READINGS:
        blamed = {module for name in (*failed, STUCK) for module in splits.get(name, ())}
        if not blamed:
            break
        tried = readings | dict.fromkeys(blamed, reading)
        space, new_splits = traced(model, example_inputs, exclude, tried)
        other, still_failed = checker.refine(space)
        if _extent(other) > _extent(best):
            best, failed, splits, readings = other, still_failed, new_splits, tried
    return best


def _extent(space: PruningSpace) -> int:
    """How many positions of parameters a space can remove."""
    return sum(len(member.index) for group in space.groups for member in group.members)
