"""Tensors of a model that are to stay as they are, by the patterns that name them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from evoprune.errors import UsageError
from evoprune.name_patterns import covers, nearest
from evoprune.nn_utils.calling import named_tensors


def excluded_tensors(model: nn.Module, patterns: Sequence[str]) -> dict[str, str]:
    """`{parameter or buffer: the first pattern that excludes it}`, a shared one under its first name.

    A pattern names parameters, or modules with all that is in them; it may use any name that a shared tensor has.

    Raises:
        UsageError: A pattern names nothing that has parameters or buffers.
    """
    first_names = {id(tensor): name for name, tensor in named_tensors(model).items()}
    names = {
        name: first_names[id(tensor)]
        for found in (model.named_parameters, model.named_buffers)
        for name, tensor in found(remove_duplicate=False)
    }
    excluded: dict[str, str] = {}
    for pattern in patterns:
        covered = [name for name in names if covers(pattern, name)]
        if not covered:
            raise _excludes_nothing(pattern, model, names)
        for name in covered:
            excluded.setdefault(names[name], pattern)
    return excluded


def _excludes_nothing(pattern: str, model: nn.Module, tensors: Sequence[str] | dict[str, str]) -> UsageError:
    modules = dict.fromkeys(name.rpartition(".")[0] for name in tensors)
    known = [name for name in modules if name] or list(tensors)
    return UsageError(
        f"exclude {pattern!r} names nothing in {type(model).__name__} that has weights",
        f"layers with weights: {nearest(pattern, known)}",
    )
