"""Structural analysis: a model and example inputs to a pruning space, without the self-check."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from torch import nn

from evoprune.space.attributes import attribute_rules
from evoprune.space.coupling import couple
from evoprune.space.fingerprint import fingerprint
from evoprune.space.labels import Couplings
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.tracing import trace


def trace_space(model: nn.Module, example_inputs: Any, exclude: Sequence[str] = ()) -> PruningSpace:
    """What may be pruned as far as the trace can tell.

    Args:
        model: Any eager module; untouched.
        example_inputs: A tensor, a tuple or list of arguments, or a dict of keyword arguments.
        exclude: Name patterns (`layer1.*`) of modules or parameters that must stay as they are.

    Raises:
        UnsupportedModelError: The model can't run on the inputs.
    """
    couplings = trace(model, example_inputs)
    _exclude(couplings, exclude)
    coupled = couple(couplings)
    return PruningSpace(
        coupled.groups,
        coupled.frozen,
        fingerprint(model),
        coupled.axis_sizes,
        attribute_rules(model),
        coupled.single_sided,
        coupled.consumers,
    )


def _exclude(couplings: Couplings, patterns: Sequence[str]) -> None:
    for block in couplings.blocks.values():
        module = block.tensor.rpartition(".")[0]
        for pattern in patterns:
            if fnmatchcase(block.tensor, pattern) or fnmatchcase(module, pattern):
                atoms = np.arange(block.start, block.start + block.size, dtype=np.int64)
                couplings.frozen.insert(0, (atoms, f"is excluded by {pattern!r}"))
