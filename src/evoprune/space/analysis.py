"""Structural analysis: a model and example inputs to a pruning space, without the self-check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from evoprune.data.used_outputs import EVERYTHING, UsedOutputs
from evoprune.name_patterns import one_or_more
from evoprune.nn_utils.exclusion import excluded_tensors
from evoprune.nn_utils.fingerprint import fingerprint
from evoprune.nn_utils.samples import samples_in
from evoprune.space.attributes import attribute_rules, split_rules
from evoprune.space.coupling import couple
from evoprune.space.feature_widths import feature_rules
from evoprune.space.groups import Axis
from evoprune.space.part_sizes import norm_rules, size_rules
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.tracing.labels import ModuleCall
from evoprune.space.tracing.trace import Trace
from evoprune.space.workload import workload


@dataclass(frozen=True)
class Traced:
    """What one trace of a model tells.

    Attributes:
        space: The pruning space.
        splits: Per group the modules that split its dimension into several.
        keeps_state: Whether a pass changes what the model keeps besides its parameters.
        split_dims: Per module that splits a dimension into several, into how many at most.
        calls: Per module the labels that its calls took and returned.
        starts: First atom of every axis that the labels are made of.
        atoms: Number of atoms.
        reads: Modules and attributes of theirs that hold sizes and were read.
        passes: Forward passes that it took.
        trace: The trace itself.
        in_training: Whether a pass in training mode was followed as well.
    """

    space: PruningSpace
    splits: dict[str, tuple[str, ...]]
    keeps_state: bool
    split_dims: Mapping[str, int] = field(default_factory=dict)
    calls: Mapping[str, Sequence[ModuleCall]] = field(default_factory=dict)
    starts: Mapping[Axis, int] = field(default_factory=dict)
    atoms: int = 0
    reads: frozenset[tuple[str, str]] = frozenset()
    passes: int = 1
    trace: Trace | None = None
    in_training: bool = False


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
    outputs: UsedOutputs = EVERYTHING,
    after: Traced | None = None,
    samples: int = 0,
) -> Traced:
    """Trace the space as `trace_space` does, and return what else came up.

    Args:
        model: The network, as for `trace_space`.
        example_inputs: Inputs of one forward pass, as for `trace_space`.
        exclude: Names of what must stay, as for `trace_space`.
        readings: `{module: which of the dimensions that it splits one into may be cut}`, counted from the end as -1, -2, ...; the
            innermost where nothing is said.
        outputs: What of the outputs is used, as for `trace_space`.
        after: What a trace with the same arguments told: it is gone on with, by a pass in training mode.
        samples: Number of samples in the inputs; 0 to find out.
    """
    with passes_of(model) as passes:
        return _traced(model, example_inputs, exclude, readings or {}, outputs, after, samples, passes)


def _traced(
    model: nn.Module,
    example_inputs: Any,
    exclude: str | Sequence[str],
    readings: Mapping[str, int],
    outputs: UsedOutputs,
    after: Traced | None,
    samples: int,
    passes: list[int],
) -> Traced:
    if after is not None and after.trace is not None:
        trace = after.trace
        trace.train()
    else:
        trace = Trace(model, example_inputs, readings, outputs)
    couplings = trace.couplings()
    excluded = excluded_tensors(model, one_or_more(exclude))
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
        (*layers, *feature_rules(model, couplings.reads), *splits),
        coupled.single_sided,
        coupled.consumers,
        workload(model, couplings, coupled.groups, samples or samples_in(model, example_inputs, trace.outputs)),
        tuple(rule for rule in size_rules(couplings) if (rule.module, rule.attribute) not in known),
        norm_rules(couplings),
    )
    return Traced(
        space,
        coupled.splits,
        couplings.keeps_state,
        {split.module: split.dims for split in sorted(couplings.splits, key=lambda split: split.dims)},
        couplings.calls,
        {axis: block.start for axis, block in couplings.blocks.items()},
        couplings.atoms,
        frozenset(couplings.reads),
        passes[0],
        trace,
        trace.in_training,
    )


@contextmanager
def passes_of(model: nn.Module) -> Iterator[list[int]]:
    """Count the calls of `model` itself in a list of one number, for as long as this lasts."""
    count = [0]

    def enter(module: nn.Module, _: Any) -> None:
        count[0] += module is model

    handle = register_module_forward_pre_hook(enter)
    try:
        yield count
    finally:
        handle.remove()
