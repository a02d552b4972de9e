"""Sizes that a module keeps in attributes of its own and cuts tensors by: `x[:, :self.kept]`, `x.split(self.sizes, 1)`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from evoprune.space.tracing.labels import FIXED, Sizing, Vector
from evoprune.space.tracing.rules.call import Call

_OF_CHANNELS: Final = re.compile(r"chan|chs|dim|width|feat|plane|filter|hidden|split|size|part|(^|_)c(\d*$|_)|num_\d")
_NOT_OF_CHANNELS: Final = re.compile(r"kernel|stride|pad|dilat|patch|window|resolution|depth|layer|head|ratio|scale")


def cut_by_attributes(call: Call, atoms: Vector, edges: Sequence[int], *, named: bool = False) -> bool:
    """Whether the running module keeps the places at which a dimension is cut in attributes; they will then follow the cut.

    Args:
        call: The operation that cuts.
        atoms: Label of the dimension.
        edges: Places in it.
        named: Take only attributes that are called as widths are.
    """
    module = call.tracer.module
    found = [list(_called(call, module, edge, named=named)) for edge in edges]
    if not all(found):
        return False
    for edge, names in zip(edges, found, strict=True):
        for name in names:
            _follow(call, module, name, (atoms[:edge],), several=False)
    return True


def split_by_attributes(call: Call, atoms: Vector, sizes: Sequence[int]) -> bool:
    """Whether the running module, or one inside, keeps the sizes of parts in one list, or each but one in an attribute."""
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    parts = tuple(atoms[start : start + size] for start, size in zip(starts, sizes, strict=True))
    for name, value in call.tracer.attributes().items():
        if isinstance(value, (tuple, list)) and list(value) == list(sizes):
            _follow(call, call.tracer.module, name, parts, several=True)
            return True
    found = [(part, list(_called_here_or_inside(call, len(part)))) for part in parts if (part != FIXED).any()]
    if sum(not names for _, names in found) > 1:  # the last may be what the others leave
        return False
    for part, names in found:
        for module, name in names:
            _follow(call, module, name, (part,), several=False)
    return any(names for _, names in found)


def follow_width(call: Call, module: str, atoms: Vector) -> None:
    """Let attributes of a module that are called as widths are, and hold this one, follow it."""
    for name in _called(call, module, len(atoms), named=True):
        _follow(call, module, name, (atoms,), several=False)


def _called_here_or_inside(call: Call, value: int) -> Iterator[tuple[str, str]]:
    here = call.tracer.module
    own = list(_called(call, here, value, named=False))
    children = call.tracer.attributes().get("_modules")
    yield from ((here, name) for name in own)
    inside = children.items() if isinstance(children, dict) and not own else ()
    for child in [name for name, module in inside if not type(module).__module__.startswith("torch.nn.")]:
        path = f"{here}.{child}".lstrip(".")
        yield from ((path, name) for name in _called(call, path, value, named=True))


def _called(call: Call, module: str, value: int, *, named: bool) -> Iterator[str]:
    """Attributes with a value: those called as widths are, or else, unless only these are wanted, all that could be one."""
    own = call.tracer.attributes(module)
    equal = [name for name, known in own.items() if type(known) is int and known == value]
    usable = [name for name in equal if not _NOT_OF_CHANNELS.search(name)]
    widths = [name for name in usable if _OF_CHANNELS.search(name)]
    yield from widths or ([] if named else usable)


def _follow(call: Call, module: str, name: str, parts: tuple[Vector, ...], *, several: bool) -> None:
    """Note that an attribute is the length of `parts`; where it is that of others as well, these are cut alike."""
    for known in call.couplings.sizings:
        if (known.module, known.attribute) == (module, name):
            for one, other in zip(known.parts, parts, strict=False):
                if len(one) == len(other):
                    call.couplings.tie(
                        one, other, f"is as long as {module}.{name}, which is also the length of fixed positions,"
                    )
    call.couplings.sizings.append(Sizing(module, name, parts, several))
