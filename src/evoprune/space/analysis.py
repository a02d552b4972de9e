"""Structural analysis: a model and example inputs to a pruning space, without the self-check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from evoprune.data.used_outputs import EVERYTHING, UsedOutputs
from evoprune.name_patterns import one_or_more
from evoprune.nn_utils.exclusion import excluded_tensors
from evoprune.nn_utils.fingerprint import fingerprint
from evoprune.nn_utils.samples import samples_in
from evoprune.space.attributes import attribute_rules, split_rules
from evoprune.space.coupling import couple
from evoprune.space.feature_widths import feature_rules
from evoprune.space.part_sizes import norm_rules, size_rules
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.tracing.tracer import trace
from evoprune.space.workload import workload


@dataclass(frozen=True)
class Traced:
    """What one trace of a model tells.

    Attributes:
        space: The pruning space.
        splits: Per group the modules that split its dimension into several.
        keeps_state: Whether a pass changes what the model keeps besides its parameters.
    """

    space: PruningSpace
    splits: dict[str, tuple[str, ...]]
    keeps_state: bool


def trace_space(
    model: nn.Module, example_inputs: Any, exclude: str | Sequence[str] = (), outputs: UsedOutputs = EVERYTHING
) -> PruningSpace:
    """What may be pruned as far as the trace can tell.

    Args:
        model: Any eager module; untouched.
        example_inputs: A tensor, a tuple or list of arguments, or a dict of keyword arguments.
        exclude: Names or patterns (`layer1.*`) of modules, with all that is in them, or of parameters that must stay as they are.
        outputs: What of the outputs is used; the rest may change.

    Raises:
        UnsupportedModelError: The model is not eager, or can't run on the inputs.
        UsageError: A pattern of `exclude` names nothing, or `outputs` no part of the outputs.
    """
    return traced(model, example_inputs, exclude, outputs=outputs).space


def traced(
    model: nn.Module,
    example_inputs: Any,
    exclude: str | Sequence[str] = (),
    readings: Mapping[str, int] | None = None,
    *,
    training: bool = False,
    outputs: UsedOutputs = EVERYTHING,
) -> Traced:
    """Trace the space as `trace_space` does, and return what else came up.

    Args:
        model: The network, as for `trace_space`.
        example_inputs: Inputs of one forward pass, as for `trace_space`.
        exclude: Names of what must stay, as for `trace_space`.
        readings: `{module: which of the dimensions that it splits one into may be cut}`, counted from the end as -1, -2, ...; the
            innermost where nothing is said.
        training: Follow a pass in training mode as well.
        outputs: What of the outputs is used, as for `trace_space`.
    """
    excluded = excluded_tensors(model, one_or_more(exclude))
    couplings = trace(model, example_inputs, readings or {}, training=training, outputs=outputs)
    for block in couplings.blocks.values():
        if block.tensor in excluded:
            couplings.freeze_first(block, f"is excluded by {excluded[block.tensor]!r}")
    coupled = couple(couplings)
    layers = attribute_rules(model)
    # What a layer of torch calls its widths follows its own weight, whatever else has the same length.
    known = {(rule.module, rule.attribute) for rule in layers if rule.axis in couplings.blocks}
    splits = [rule for rule in split_rules(model, couplings) if (rule.module, rule.attribute) not in known]
    space = PruningSpace(
        coupled.groups,
        coupled.frozen,
        fingerprint(model),
        coupled.axis_sizes,
        (*layers, *feature_rules(model, example_inputs), *splits),
        coupled.single_sided,
        coupled.consumers,
        workload(model, couplings, coupled.groups, samples_in(model, example_inputs)),
        tuple(rule for rule in size_rules(couplings) if (rule.module, rule.attribute) not in known),
        norm_rules(couplings),
    )
    return Traced(space, coupled.splits, couplings.keeps_state)
