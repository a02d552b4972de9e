"""Which rule labels the results of which ATen operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from evoprune.space.tracing.rules.call import Call

Rule = Callable[[Call], None]

_RULES: dict[Any, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for ATen operations by name; names that this torch doesn't know are skipped."""

    def register(function: Rule) -> Rule:
        for name in names:
            packet = getattr(torch.ops.aten, name, None)
            if packet is not None:
                _RULES[packet] = function
        return function

    return register


def find(func: Any) -> Rule | None:
    """The rule registered for an overload's packet."""
    return _RULES.get(getattr(func, "overloadpacket", func))
