"""Structural analysis: a model and example inputs to a pruning space, without the self-check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from evoprune.space.attributes import attribute_rules, split_rules
from evoprune.space.calling import batch_size
from evoprune.space.coupling import couple
from evoprune.space.fingerprint import fingerprint
from evoprune.space.labels import Couplings
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.tracing import trace
from evoprune.space.workload import workload


def trace_space(model: nn.Module, example_inputs: Any, exclude: Sequence[str] = ()) -> PruningSpace:
    """What may be pruned as far as the trace can tell.

    Args:
        model: Any eager module; untouched.
        example_inputs: A tensor, a tuple or list of arguments, or a dict of keyword arguments.
        exclude: Name patterns (`layer1.*`) of modules or parameters that must stay as they are.

    Raises:
        UnsupportedModelError: The model is not eager, or can't run on the inputs.
    """
    return traced(model, example_inputs, exclude)[0]


def traced(
    model: nn.Module, example_inputs: Any, exclude: Sequence[str] = (), readings: Mapping[str, int] | None = None
) -> tuple[PruningSpace, dict[str, tuple[str, ...]]]:
    """As `trace_space`, with the modules that split each group's dimension into several.

    Args:
        model: As for `trace_space`.
        example_inputs: As for `trace_space`.
        exclude: As for `trace_space`.
        readings: `{module: which of the dimensions that it splits one into may be cut}`, counted from the end as -1, -2, ...; the
            innermost where nothing is said.
    """
    couplings = trace(model, example_inputs, readings or {})
    _exclude(couplings, exclude)
    coupled = couple(couplings)
    space = PruningSpace(
        coupled.groups,
        coupled.frozen,
        fingerprint(model),
        coupled.axis_sizes,
        (*attribute_rules(model), *split_rules(model, couplings)),
        coupled.single_sided,
        coupled.consumers,
        workload(model, couplings, coupled.groups, batch_size(example_inputs)),
    )
    return space, coupled.splits


def _exclude(couplings: Couplings, patterns: Sequence[str]) -> None:
    for block in couplings.blocks.values():
        module = block.tensor.rpartition(".")[0]
        for pattern in patterns:
            if fnmatchcase(block.tensor, pattern) or fnmatchcase(module, pattern):
                couplings.freeze_first(block, f"is excluded by {pattern!r}")
