"""A module that fails when it is cut, alone with what it was given: tried again and again at the price of one module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from evoprune.channels.local_rules import LocalRules
from evoprune.channels.positions import Positions
from evoprune.channels.reference import mask
from evoprune.channels.rehearsal import STOPS
from evoprune.channels.surgery import prune
from evoprune.channels.trial_cuts import Bits
from evoprune.data.trees import map_tensors, tensors_in
from evoprune.errors import in_words
from evoprune.nn_utils.calling import in_mode, named_tensors
from evoprune.nn_utils.comparison import compare
from evoprune.nn_utils.fingerprint import fingerprint
from evoprune.plan import Kept, PruningPlan
from evoprune.space.analysis import Traced
from evoprune.space.groups import AttributeRule, Axis, Group, Member
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.tracing.labels import ModuleCall, Vector

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

INPUT: Final = "@input"
OUTPUT: Final = "@output"


@dataclass(frozen=True, eq=False)
class ModuleCase:
    """One call of a module in the dense network, to be repeated with parts of it cut.

    Attributes:
        path: Name of the module.
        model: The dense network, which stays as it is.
        found: The trace that the labels are of.
        call: Labels of what the module is given and returns.
        given: Arguments of the call.
    """

    path: str
    model: nn.Module
    found: Traced
    call: ModuleCall
    given: Arguments

    @cached_property
    def module(self) -> nn.Module:
        """The module."""
        return self.model.get_submodule(self.path)

    @cached_property
    def names(self) -> dict[str, str]:
        """`{name in the network: name in the module}` of the module's parameters and buffers."""
        names = {id(tensor): name for name, tensor in named_tensors(self.model).items()}
        return {names[id(tensor)]: name for name, tensor in named_tensors(self.module).items() if id(tensor) in names}

    def filled(self, bits: Bits, positions: Positions) -> ModuleCase:
        """The same with noise where the inputs come from a network that was masked by `bits`, which leaves nothing there."""
        generator = torch.Generator().manual_seed(len(self.path))
        return replace(self, given=positions.fill(self.given, self.call.inputs, bits, generator))

    def localised(self, space: PruningSpace) -> PruningSpace:
        """The part of `space` that concerns the module: a space of its own, which inputs and outputs belong to like parameters.

        Their names are `@input0`, `@output0` and so on; what else the module's attributes and norms follow is `@axis` and a name.
        Groups keep their names and units.
        """
        unit = np.full(self.found.atoms, -1, dtype=np.int64)
        for group in space.groups:
            for member in group.members:
                unit[self.found.starts[member.tensor, member.dim] + member.index] = group.start + member.unit
        rules = LocalRules(self.path, self.names, space)
        groups: list[Group] = []
        start = 0
        for group in space.groups:
            own = [one for member in group.members if (one := rules.member(member)) is not None]
            ends = list(_at_ends(self.call, unit, group))
            if ends or any(member.tensor in self.names for member in group.members):
                groups.append(replace(group, members=(*own, *ends), start=start))
                start += group.size
        ends_sizes = {(f"{end}{number}", dim): len(label) for end, number, dim, label in _labels(self.call)}
        return PruningSpace(
            tuple(groups),
            (),
            fingerprint(self.module),
            rules.axis_sizes() | ends_sizes,
            rules.attributes(),
            space.single_sided,
            sizes=rules.sizes(),
            norms=rules.norms(),
        )

    def global_rule(self, rule: AttributeRule) -> AttributeRule:
        """An attribute rule of the module as one of the network."""
        full = {local: name for name, local in self.names.items()}
        return rule._replace(module=f"{self.path}.{rule.module}".rstrip("."), axis=(full[rule.axis[0]], rule.axis[1]))

    def problem(self, local: PruningSpace, bits: Bits) -> str:
        """What goes wrong when the module is cut by `bits` of its own space, compared with the masked one; else empty."""
        try:
            plan = local.plan(bits)
            kept = {name: dims for name, dims in plan.kept.items() if not name.startswith("@")}
            own = PruningPlan(kept, plan.attributes, plan.fingerprint, plan.normalised)
            pruned, masked = prune(self.module, own), mask(self.module, own)
            outputs = _run(pruned, _cut(self.given, INPUT, plan.kept))
            expected = _cut(_run(masked, _cleared(self.given, INPUT, plan.kept)), OUTPUT, plan.kept)
            return differs(list(tensors_in(outputs)), list(tensors_in(expected)))
        except Exception as error:
            return f"{STOPS} ({in_words(error)})"


def differs(outputs: list[Tensor], expected: list[Tensor]) -> str:
    """What is wrong with `outputs`; empty when they are as expected.

    Raises:
        SurgeryError: Number or shapes differ.
    """
    found = compare(outputs, expected)
    if found.agrees:
        return ""
    return f"the pruned network differs from the masked one by {found.relative:.1g} of its largest output"


def _labels(call: ModuleCall) -> Iterator[tuple[str, int, int, Vector]]:
    """End, number of the tensor, dimension and label."""
    for end, several in ((INPUT, call.inputs), (OUTPUT, call.outputs)):
        for number, dims in enumerate(several):
            for dim, label in dims.items():
                yield end, number, dim, label


def _at_ends(call: ModuleCall, unit: Vector, group: Group) -> Iterator[Member]:
    for end, number, dim, label in _labels(call):
        units = unit[label]
        index = np.flatnonzero((units >= group.start) & (units < group.stop))
        if len(index):
            own = (units[index] - group.start).astype(np.int32)
            yield Member(f"{end}{number}", dim, index.astype(np.int32), own)


def _cut(tree: Any, end: str, kept: Kept) -> Any:
    """`tree` with only the kept positions of every tensor; nothing of it is shared."""

    def change(tensor: Tensor, axes: Mapping[int, Any]) -> Tensor:
        for dim, index in axes.items():
            tensor = tensor.index_select(dim, torch.as_tensor(index, device=tensor.device))
        return tensor

    return _changed(tree, end, kept, change)


def _cleared(tree: Any, end: str, kept: Kept) -> Any:
    """`tree` with zeros at the positions that go; nothing of it is shared."""

    def change(tensor: Tensor, axes: Mapping[int, Any]) -> Tensor:
        for dim, index in axes.items():
            gone = np.setdiff1d(np.arange(tensor.shape[dim]), index)
            tensor = tensor.index_fill(dim, torch.as_tensor(gone, device=tensor.device), 0)
        return tensor

    return _changed(tree, end, kept, change)


def _changed(tree: Any, end: str, kept: Kept, change: Any) -> Any:
    number = -1

    def one(tensor: Tensor) -> Tensor:
        nonlocal number
        number += 1
        changed: Tensor = change(tensor.detach().clone(), kept.get(f"{end}{number}", {}))
        return changed

    return map_tensors(tree, one)


def _run(module: nn.Module, given: Arguments) -> Any:
    with in_mode(module, training=False), torch.no_grad():
        return module(*given[0], **given[1])


def axes_of(group: Group, sizes: Mapping[Axis, int]) -> Sequence[tuple[Axis, int]]:
    """Parameter axes that consist of a group alone, with their lengths."""
    return [
        (axis, sizes[axis])
        for member in group.members
        if len(member.index) == sizes[axis := (member.tensor, member.dim)] and not axis[0].startswith("@")
    ]
