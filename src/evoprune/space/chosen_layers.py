"""A pruning space of chosen layers only."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from evoprune.errors import UsageError
from evoprune.name_patterns import listed, names_it, nearest, plain
from evoprune.space.groups import Group
from evoprune.space.pruning_space import PruningSpace


def only_layers(space: PruningSpace, model: nn.Module, patterns: Sequence[str]) -> PruningSpace:
    """`space` without the groups that cut an output of any layer that no pattern names.

    Other layers keep all their outputs; only what they read of the chosen ones goes.

    Args:
        space: Pruning space of `model`.
        model: Network that also names the layers with nothing to prune.
        patterns: Names of layers or of their parameters, or patterns such as `layer1.*`. A leading `module.` makes no difference.

    Raises:
        UsageError: A pattern names no layer, or none whose outputs can be cut without those of layers that aren't named.
    """
    chosen = {layer for group in space.groups for layer in _layers(group) if _is_named(layer, patterns)}
    whole = [group for group in space.groups if chosen.issuperset(_layers(group))]
    for pattern in patterns:
        if not any(_is_named(layer, [pattern]) for group in whole for layer in _layers(group)):
            raise _nothing_of(pattern, space, model, chosen)
    left = {group.name for group in whole}
    gone = [group.name for group in space.groups if group.name not in left]
    return space.without(gone, f"is not chosen by {listed(patterns)}, or goes together with what is not")


def _layers(group: Group) -> tuple[str, ...]:
    """All layers whose outputs a group cuts; the group's own name where it is a parameter of the model itself."""
    return group.layers or (group.name,)


def _is_named(layer: str, patterns: Sequence[str]) -> bool:
    return any(names_it(pattern, name) for pattern in patterns for name in (layer, f"{layer}.weight"))


def _nothing_of(pattern: str, space: PruningSpace, model: nn.Module, chosen: set[str]) -> UsageError:
    """Why nothing that a pattern names can be pruned."""
    for group in space.groups:
        if any(_is_named(layer, [pattern]) for layer in _layers(group)):
            return _bound(pattern, group, chosen)
    prunable = [layer for group in space.groups for layer in _layers(group)]
    hint = f"layers that can: {nearest(pattern, prunable)}" if prunable else ""
    for item in space.frozen:
        if _is_named(item.name, [pattern]):
            return UsageError(f"layer {pattern!r} can't be pruned: its output {item.reason}", hint)
    inside = [layer for layer in dict.fromkeys(prunable) if plain(layer).startswith(f"{plain(pattern)}.")]
    if inside:
        hint = f"for the layers inside it, write {plain(pattern)}.*"
    if any(names_it(pattern, name) for name, _ in model.named_modules() if name):
        return UsageError(f"layer {pattern!r} has no outputs of its own to prune", hint)
    return UsageError(f"there is no layer {pattern!r}", hint)


def _bound(pattern: str, group: Group, chosen: set[str]) -> UsageError:
    others = [layer for layer in _layers(group) if layer not in chosen]
    return UsageError(
        f"layer {pattern!r} can't be pruned alone: its outputs go together with those of {listed(others)}",
        f"name {'it' if len(others) == 1 else 'them'} as well",
    )
