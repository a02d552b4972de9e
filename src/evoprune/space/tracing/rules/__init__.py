"""Op rules by family; an operation without a rule freezes what enters it."""

from __future__ import annotations

from typing import Any

import torch

import evoprune.space.tracing.rules.computed
import evoprune.space.tracing.rules.contraction
import evoprune.space.tracing.rules.movement
import evoprune.space.tracing.rules.normalisation
import evoprune.space.tracing.rules.reduction
import evoprune.space.tracing.rules.scatter
import evoprune.space.tracing.rules.selection  # noqa: F401
from evoprune.space.tracing.rules.call import Call
from evoprune.space.tracing.rules.pointwise import pointwise
from evoprune.space.tracing.rules.registry import Rule, find


def rule_for(func: Any) -> Rule:
    """The rule for an operation: its own, that of pointwise operations, or refusal."""
    own = find(func)
    if own is not None:
        return own
    if torch.Tag.pointwise in getattr(func, "tags", ()):
        return pointwise
    return refuse


def refuse(call: Call) -> None:
    """Freeze the labels that enter an operation nobody has written a rule for."""
    for label in call.operand_labels:
        call.freeze_dims(dict(label.dims), "is used in a way evoprune has no rule for,")
