"""Which layers of a network can be timed by themselves, and with what inputs: seen by running it whole at several widths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from evoprune.channels.latency.dimensions import Counts, Dimension, Node, dimensions_of
from evoprune.channels.surgery import prune
from evoprune.data.trees import map_tensors, tensors_in
from evoprune.nn_utils.calling import call_model
from evoprune.nn_utils.fingerprint import fingerprint
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree
from evoprune.space.pruning_space import PruningSpace

_MOST_CALLS: Final = 16
_MOST_DIMENSIONS: Final = 3
_MOST_FINE: Final = 1 << 20
"""Weights of a layer of which dozens of copies may be in memory; in wider ones a block is a small part."""
_NARROWER: Final = 5
"""Networks at other widths that are looked at: enough to tell apart the dimensions of layers of a few channels, mostly."""

Shape = tuple[int, ...]
Slopes = tuple[tuple[int, Fraction] | None, ...]
"""For each dimension of a tensor: the layer's dimension that shortens it, and by how many positions for one of the width."""


@dataclass(frozen=True)
class Seen:
    """One call of a module, as a hook saw it.

    Attributes:
        arguments: Positional and keyword arguments, with meta tensors for those of floats.
        shapes: Shapes of the tensors among them.
        outputs: Shapes of the tensors that it returned.
    """

    arguments: Any
    shapes: tuple[Shape, ...]
    outputs: tuple[Shape, ...]


@dataclass(frozen=True, eq=False)
class LayerCall:
    """A call of a layer that can be timed at other widths.

    Attributes:
        path: Name of the module.
        module: The dense layer, in eval mode.
        space: What pruning can cut of it.
        dimensions: Dimensions in which it gets narrower.
        nodes: Widths of each.
        seen: The call in the dense network.
        slopes: How the tensors among its arguments get shorter.
        output: Dimension that its first output gets shorter with.
    """

    path: str
    module: nn.Module
    space: PruningSpace
    dimensions: tuple[Dimension, ...]
    nodes: tuple[tuple[Node, ...], ...]
    seen: Seen
    slopes: tuple[Slopes, ...]
    output: int | None

    @property
    def signature(self) -> object:
        """Equal for calls that take equally long: those of torch's own layers of the same shape."""
        own = type(self.module).__module__.startswith("torch.")
        tensors = [*self.module.named_parameters(), *self.module.named_buffers()]
        given = [(tensor.dtype, tensor.stride()) for tensor in tensors_in(self.seen.arguments)]
        return repr(
            (
                "" if own else self.path,
                self.module,
                [(name, tuple(tensor.shape), tensor.dtype) for name, tensor in tensors],
                [(one.axis[0].removeprefix(self.path), one.axis[1]) for one in self.dimensions],
                [[node.width for node in nodes] for nodes in self.nodes],
                (self.seen.shapes, given, self.slopes),
            )
        )

    def layer(self, nodes: Sequence[Node]) -> nn.Module:
        """The layer alone, pruned to a node of each dimension."""
        counts = {name: count for node in nodes for name, count in node.counts.items()}
        return prune(self.module, self.space.plan(first_units(self.space, counts)))

    def arguments(self, nodes: Sequence[Node], device: torch.device) -> Any:
        """Arguments of the sizes that the layer gets at such widths: random floats, and other values as they were."""
        slopes = iter(self.slopes)
        generator = torch.Generator().manual_seed(0)

        def sized(tensor: Tensor) -> Tensor:
            shorter = self._shape(tensor, next(slopes), nodes)
            if tensor.device.type != "meta":
                return tensor[tuple(slice(length) for length in shorter)].clone()
            order = sorted(range(tensor.dim()), key=lambda dim: (-tensor.stride()[dim], dim))
            made = torch.empty_permuted(shorter, order, dtype=tensor.dtype)
            return made.normal_(generator=generator).to(device)

        return map_tensors(self.seen.arguments, sized)

    def _shape(self, tensor: Tensor, slopes: Slopes, nodes: Sequence[Node]) -> Shape:
        lengths = []
        for length, slope in zip(tensor.shape, slopes, strict=True):
            lost = 0 if slope is None else (self.nodes[slope[0]][-1].width - nodes[slope[0]].width) * slope[1]
            lengths.append(int(length - lost))
        return tuple(lengths)


def first_units(space: PruningSpace, counts: Counts) -> NDArray[np.bool_]:
    """[size] bits that keep the first so many units of each group, and all of those that are not named."""
    bits = np.ones(space.size, dtype=np.bool_)
    for group in space.groups:
        bits[group.start + counts.get(group.name, group.size) : group.stop] = False
    return bits


def layer_calls(model: nn.Module, space: PruningSpace, inputs: Any, *, in_blocks: bool = False) -> list[LayerCall]:
    """The calls of layers that can be timed by themselves, in the order of the modules.

    A layer is a module that holds a weight of at least two dimensions which pruning cuts, with no such module in it that is
    called on its own.

    Args:
        model: The dense network, in eval mode; untouched.
        space: Its pruning space.
        inputs: Inputs of a forward pass, at the batch in question.
        in_blocks: Whether latencies go in steps of whole blocks, so that more widths are needed.
    """
    every = {group.name: group.size for group in space.groups}
    others = [_reference(space, number) for number in range(_NARROWER)]
    dense = prune(model, space.plan(first_units(space, every))).eval()
    paths = _owners(dense, space)
    calls = _watch(dense, paths, inputs)
    narrower = [_watch(prune(model, space.plan(first_units(space, one))).eval(), paths, inputs) for one in others]
    modules = dict(dense.named_modules())
    found = []
    for path in paths:
        if path not in calls or any(other.startswith(f"{path}.") for other in calls):
            continue
        dimensions = dimensions_of(space, path)
        for number, seen in enumerate(calls[path]):
            again = [one[path][number] for one in narrower if len(one.get(path, ())) == len(calls[path])]
            call = _call(
                path, modules[path], dimensions, space, seen, dict(enumerate(again)), others, in_blocks=in_blocks
            )
            if call is not None:
                found.append(call)
    return found


def _reference(space: PruningSpace, number: int) -> dict[str, int]:
    """Another width for each group, so that it shows which of them shortens what."""
    draws = SeedTree(0).child("narrower", number).generator()
    return {group.name: int(draws.integers(1, group.size, endpoint=True)) for group in space.groups}


def _owners(model: nn.Module, space: PruningSpace) -> list[str]:
    """Paths of modules that hold a weight of at least two dimensions which is cut."""
    cut = {member.tensor for group in space.groups for member in group.members}
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    owners = {name.rpartition(".")[0] for name in cut if name in tensors and tensors[name].dim() > 1}
    return [path for path, _ in model.named_modules() if path and path in owners]


def _watch(model: nn.Module, paths: Sequence[str], inputs: Any) -> dict[str, list[Seen]]:
    """The calls of each module in one forward pass, without those of modules that are called very often."""
    calls: dict[str, list[Seen]] = {}
    with _hooked(model, paths, calls), torch.inference_mode(), isolated_rng(0):
        call_model(model, inputs)
    return {path: seen for path, seen in calls.items() if len(seen) <= _MOST_CALLS}


@contextmanager
def _hooked(model: nn.Module, paths: Sequence[str], calls: dict[str, list[Seen]]) -> Iterator[None]:
    handles = []
    for path in paths:

        def hook(_: nn.Module, args: Any, kwargs: Any, outputs: Any, path: str = path) -> None:
            shapes = tuple(tuple(one.shape) for one in tensors_in((args, kwargs)))
            given = map_tensors((args, kwargs), _without_floats)
            calls.setdefault(path, []).append(
                Seen(given, shapes, tuple(tuple(one.shape) for one in tensors_in(outputs)))
            )

        handles.append(model.get_submodule(path).register_forward_hook(hook, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _without_floats(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.clone()
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _call(
    path: str,
    module: nn.Module,
    dimensions: tuple[Dimension, ...],
    space: PruningSpace,
    seen: Seen,
    again: Mapping[int, Seen],
    others: Sequence[Counts],
    *,
    in_blocks: bool,
) -> LayerCall | None:
    """The call, where it shows what shortens its arguments; None where it doesn't, or there is too much to time."""
    if len(again) < len(others) or not 0 < len(dimensions) <= _MOST_DIMENSIONS:
        return None
    sizes = [space.axis_sizes[one.axis] for one in dimensions]
    lost = [[size - one.width(size, counts) for one, size in zip(dimensions, sizes, strict=True)] for counts in others]
    inputs = _slopes(seen.shapes, [again[number].shapes for number in range(len(others))], lost)
    outputs = _slopes(seen.outputs, [again[number].outputs for number in range(len(others))], lost)
    if inputs is None or outputs is None:
        return None
    output = next((slope[0] for tensor in outputs for slope in tensor if slope is not None), None)
    fine = in_blocks and sum(one.numel() for one in module.parameters()) <= _MOST_FINE
    nodes = tuple(one.nodes(size, len(dimensions), fine=fine) for one, size in zip(dimensions, sizes, strict=True))
    return LayerCall(path, module, _alone(space, path, module, dimensions), dimensions, nodes, seen, inputs, output)


def _alone(space: PruningSpace, path: str, module: nn.Module, dimensions: Sequence[Dimension]) -> PruningSpace:
    """The part of a space that is about one layer, by the names within it."""
    start, groups, first = len(path) + 1, [], 0
    for group in (one for dimension in dimensions for one in dimension.groups):
        inside = (one for one in group.members if one.tensor.startswith(f"{path}."))
        members = tuple(replace(one, tensor=one.tensor[start:]) for one in inside)
        groups.append(replace(group, members=members, start=first))
        first += group.size
    sizes = {(name[start:], dim): size for (name, dim), size in space.axis_sizes.items() if name.startswith(f"{path}.")}
    rules = tuple(
        one._replace(module=one.module[start:], axis=(one.axis[0][start:], one.axis[1]))
        for one in space.attributes
        if f"{one.module}.".startswith(f"{path}.") and one.axis[0].startswith(f"{path}.")
    )
    return PruningSpace(tuple(groups), (), fingerprint(module), sizes, rules)


def _slopes(
    dense: Sequence[Shape], narrower: Sequence[Sequence[Shape]], lost: Sequence[Sequence[int]]
) -> tuple[Slopes, ...] | None:
    """How tensors get shorter; None where that is in no proportion to any of the widths.

    Args:
        dense: Shapes in the dense network.
        narrower: Shapes in each of the narrower ones.
        lost: By how much each dimension of the layer is narrower there.
    """
    if any(list(map(len, dense)) != list(map(len, shapes)) for shapes in narrower):
        return None
    found = []
    for place, shape in enumerate(dense):
        slopes: list[tuple[int, Fraction] | None] = []
        for dim, length in enumerate(shape):
            shorter = [length - shapes[place][dim] for shapes in narrower]
            slope = _slope(shorter, lost)
            if any(shorter) and slope is None:
                return None
            slopes.append(slope)
        found.append(tuple(slopes))
    return tuple(found)


def _slope(shorter: Sequence[int], lost: Sequence[Sequence[int]]) -> tuple[int, Fraction] | None:
    for dimension in range(len(lost[0])):
        pairs = [(length, width[dimension]) for length, width in zip(shorter, lost, strict=True)]
        ratios = {Fraction(length, width) for length, width in pairs if width}
        if len(ratios) == 1 and not any(length for length, width in pairs if not width) and any(shorter):
            return dimension, ratios.pop()
    return None
