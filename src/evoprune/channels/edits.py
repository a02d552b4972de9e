"""Proposals for a module that fails when it is cut: attributes that repeat a size, to be set to what is left of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from math import gcd

from evoprune.channels.module_case import ModuleCase, axes_of
from evoprune.space.groups import AttributeRule, Axis, Group
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.tracing.attribute_reads import sizes_in

Reads = Collection[tuple[str, str]]
Edits = tuple[AttributeRule, ...]
Shape = frozenset[tuple[str, str, int, int, int]]


def with_edits(space: PruningSpace, edits: Edits) -> PruningSpace:
    """`space` whose plans set these attributes as well; they come after the known ones."""
    return replace(space, attributes=(*space.attributes, *edits)) if edits else space


def proposals(case: ModuleCase, local: PruningSpace, reads: Reads) -> list[AttributeRule]:
    """Attributes in the module that are read and hold a size of what is cut, a multiple of it or a part of it.

    Args:
        case: The module.
        local: Its own space.
        reads: Modules and attributes of theirs that the forward pass reads.
    """
    found = []
    for path, module in case.module.named_modules():
        full = f"{case.path}.{path}".rstrip(".")
        for name, value in sizes_in(module).items():
            if (full, name) in reads:
                template = value if isinstance(value, tuple) else ()
                for place, size in enumerate(value if isinstance(value, tuple) else (value,)):
                    for axis, factor, divisor in _rates(local, size):
                        rule = AttributeRule(path, name, axis, factor, divisor, template=template, place=place)
                        found.append(rule)
    return found


def sets_of(rules: Sequence[AttributeRule], local: PruningSpace) -> Iterator[Edits]:
    """Sets of proposals, the likely ones first: none, one alone, all of one group, all at once, then pairs."""
    yield ()
    for rule in rules:
        yield (rule,)
    for group in local.groups:
        alike = _one_each([rule for rule in rules if is_of(rule.axis, group)])
        if len(alike) > 1:
            yield alike
    yield _one_each(rules)
    for number, one in enumerate(rules):
        for other in rules[number + 1 :]:
            if _what(one) != _what(other):
                yield (one, other)


def shape_of(edits: Edits, local: PruningSpace) -> Shape:
    """Edits as another module of the same kind would have them: attribute, rate, and the number of the group followed."""
    return frozenset(
        (
            f"{rule.module}.{rule.attribute}",
            "" if not rule.template else str(rule.place),
            next((number for number, group in enumerate(local.groups) if is_of(rule.axis, group)), -1),
            rule.factor,
            rule.divisor,
        )
        for rule in edits
    )


def is_of(axis: Axis, group: Group) -> bool:
    """Whether a group reaches into an axis."""
    return any(member.tensor == axis[0] and member.dim == axis[1] for member in group.members)


def _one_each(rules: Sequence[AttributeRule]) -> Edits:
    return tuple({_what(rule): rule for rule in reversed(rules)}.values())[::-1]


def _what(rule: AttributeRule) -> tuple[str, str, int]:
    return rule.module, rule.attribute, rule.place


def _rates(local: PruningSpace, size: int) -> Iterator[tuple[Axis, int, int]]:
    """Axes that `size` may follow, with `factor` and `divisor`; exact whatever is kept."""
    if size < 2:
        return
    for group in local.groups:
        axes = sorted(axes_of(group, local.axis_sizes), key=lambda found: found[1] != size)
        if axes and size % group.size == 0:
            axis, width = axes[0]
            common = gcd(size, width)
            yield axis, size // common, width // common
    for axis, width in local.axis_sizes.items():
        shared = sum(is_of(axis, group) for group in local.groups)
        if shared > 1 and size % width == 0 and not axis[0].startswith("@"):
            yield axis, size // width, 1
