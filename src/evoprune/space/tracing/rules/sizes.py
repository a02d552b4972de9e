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
    found = [list(_called(call, edge, named=named)) for edge in edges]
    if not all(found):
        return False
    for edge, names in zip(edges, found, strict=True):
        for name in names:
            _follow(call, name, (atoms[:edge],), several=False)
    return True


def split_by_attributes(call: Call, atoms: Vector, sizes: Sequence[int]) -> bool:
    """Whether the running module keeps the sizes of parts in one list, or each in an attribute of its own."""
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    parts = tuple(atoms[start : start + size] for start, size in zip(starts, sizes, strict=True))
    for name, value in call.tracer.attributes().items():
        if isinstance(value, (tuple, list)) and list(value) == list(sizes):
            _follow(call, name, parts, several=True)
            return True
    cut = [part for part in parts if (part != FIXED).any()]
    found = [list(_called(call, len(part), named=False)) for part in cut]
    if not all(found):
        return False
    for part, names in zip(cut, found, strict=True):
        for name in names:
            _follow(call, name, (part,), several=False)
    return True


def _called(call: Call, value: int, *, named: bool) -> Iterator[str]:
    """Attributes with a value: those called as widths are, or else, unless only these are wanted, all that could be one."""
    own = call.tracer.attributes()
    equal = [name for name, known in own.items() if type(known) is int and known == value]
    usable = [name for name in equal if not _NOT_OF_CHANNELS.search(name)]
    widths = [name for name in usable if _OF_CHANNELS.search(name)]
    yield from widths or ([] if named else usable)


def _follow(call: Call, name: str, parts: tuple[Vector, ...], *, several: bool) -> None:
    """Note that an attribute is the length of `parts`; where it is that of others as well, these are cut alike."""
    module = call.tracer.module
    for known in call.couplings.sizings:
        if (known.module, known.attribute) == (module, name):
            for one, other in zip(known.parts, parts, strict=False):
                if len(one) == len(other):
                    call.couplings.tie(
                        one, other, f"is as long as {module}.{name}, which is also the length of fixed positions,"
                    )
    call.couplings.sizings.append(Sizing(module, name, parts, several))
