"""Copy a module tree, with other tensors in place of its own, faster than `copy.deepcopy` walks it."""

from __future__ import annotations

from typing import Any

from torch import nn

from evoprune.errors import UnsupportedModelError
from evoprune.nn_utils.computed_weights import refresh_computed
from evoprune.nn_utils.copying import Copier
from evoprune.nn_utils.prune_hooks import refresh_masked


def clone(module: nn.Module, replaced: dict[int, Any] | None = None) -> nn.Module:
    """An independent copy, as `copy.deepcopy` makes it, that also computes with its own layers and no others.

    Functions that lead back to the model, such as a `forward` that closes over the one it replaced, are bound to the copy, and
    results of computations that the model keeps are copied without their history.

    Args:
        module: Any module.
        replaced: `{id: object}` to put wherever the copy would hold the object with that id; deepcopy's memo.

    Raises:
        UnsupportedModelError: An attribute can't be copied.
    """
    try:
        copied = Copier(module, dict(replaced or {})).module(module)
    except (TypeError, RuntimeError) as error:
        raise UnsupportedModelError(
            f"the model can't be copied: {error}",
            "keep locks, open files and the like out of its attributes, as copy.deepcopy needs it too",
        ) from error
    refresh_masked(copied)
    refresh_computed(copied)
    return copied
