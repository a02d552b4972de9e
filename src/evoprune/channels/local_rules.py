"""The rules of a pruning space that concern one module, by the names that things have inside of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from evoprune.space.groups import AttributeRule, Axis, Count, Member, NormRule, SizeRule
from evoprune.space.pruning_space import PruningSpace

OUTSIDE: Final = "@axis "
"""Begins the name of a parameter outside of the module that something inside follows."""


class LocalRules:
    """Translates rules, and the parts of groups that they need.

    Args:
        path: Name of the module.
        names: `{name in the network: name in the module}` of its parameters and buffers.
        space: Pruning space of the network.
    """

    def __init__(self, path: str, names: Mapping[str, str], space: PruningSpace) -> None:
        self._path, self._names, self._space = path, names, space
        self._attributes = [rule for rule in space.attributes if self._is_inside(rule.module)]
        self._sizes = [rule for rule in space.sizes if self._is_inside(rule.module)]
        self._norms = [rule for rule in space.norms if self._is_inside(rule.module)]
        followed: list[tuple[Any, ...]] = [(rule.axis,) for rule in self._attributes]
        followed += [part for rule in self._sizes for count in rule.counts for part in count.parts]
        followed += [part for norm in self._norms for part in norm.parts]
        self._followed: set[Axis] = {part[0] for part in followed}

    def member(self, member: Member) -> Member | None:
        """What a group has of the module, or of what something in it follows."""
        axis = (member.tensor, member.dim)
        if member.tensor not in self._names and axis not in self._followed:
            return None
        return replace(member, tensor=self._axis(axis)[0])

    def axis_sizes(self) -> dict[Axis, int]:
        """Sizes of those axes."""
        sizes = self._space.axis_sizes.items()
        return {self._axis(axis): size for axis, size in sizes if axis[0] in self._names or axis in self._followed}

    def attributes(self) -> tuple[AttributeRule, ...]:
        """Attributes of modules inside that follow axes."""
        return tuple(
            rule._replace(module=self._module(rule.module), axis=self._axis(rule.axis)) for rule in self._attributes
        )

    def sizes(self) -> tuple[SizeRule, ...]:
        """Attributes of modules inside that hold sizes of parts."""
        return tuple(
            replace(
                rule,
                module=self._module(rule.module),
                counts=tuple(
                    Count(count.fixed, tuple((self._axis(axis), positions) for axis, positions in count.parts))
                    for count in rule.counts
                ),
            )
            for rule in self._sizes
        )

    def norms(self) -> tuple[NormRule, ...]:
        """Layers inside that normalise without weights."""
        return tuple(
            replace(
                norm,
                module=self._module(norm.module),
                parts=tuple((self._axis(axis), positions, places) for axis, positions, places in norm.parts),
            )
            for norm in self._norms
        )

    def _is_inside(self, module: str) -> bool:
        return module == self._path or module.startswith(f"{self._path}.")

    def _module(self, module: str) -> str:
        return module.removeprefix(self._path).removeprefix(".")

    def _axis(self, axis: Axis) -> Axis:
        return (self._names.get(axis[0], f"{OUTSIDE}{axis[0]}"), axis[1])
