"""From the ties of a trace to the groups of a pruning space."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from evoprune.space.groups import Axis, Frozen, Group, Member
from evoprune.space.tracing.labels import FIXED, Block, Couplings, Production

_UNREAD = "nothing that evoprune can follow reads it"


STUCK = ""


@dataclass
class Components:
    """Connected components of the atoms.

    Attributes:
        of: [atoms] component of every atom; that of atom 0 holds nothing else.
        reasons: `{component: why it can't go}`.
        free: [components] bool, whether a component may be removed.
    """

    of: NDArray[np.int64]
    reasons: dict[int, str]
    free: NDArray[np.bool_]


@dataclass
class Coupled:
    """Groups and frozen layers with what the checks need to know."""

    groups: tuple[Group, ...]
    frozen: tuple[Frozen, ...]
    axis_sizes: dict[Axis, int]
    single_sided: frozenset[str]
    consumers: frozenset[Axis]
    splits: dict[str, tuple[str, ...]]


def couple(couplings: Couplings) -> Coupled:
    """Sort the atoms into units and the units into groups, in the order in which the model produces them."""
    components = _components(couplings)
    blocks = list(couplings.blocks.values())
    productions = _by_owner(couplings.productions, blocks)
    units = _units(components, blocks, productions)
    groups: list[Group] = []
    shared: dict[bytes, NDArray[np.int32]] = {}
    start = 0
    for production, members in units:
        group = _group(production, members, blocks, components, shared, start)
        groups.append(group)
        start = group.stop
    groups = _with_layers(groups, productions, couplings, components)
    single = {layer for group in groups if group.size == 1 for layer in group.layers}
    named = _unique_names(_renumbered([group for group in groups if group.size > 1]))
    axes = {(member.tensor, member.dim) for group in named for member in group.members}
    sizes = {(block.tensor, block.dim): block.size for block in blocks if (block.tensor, block.dim) in axes}
    return Coupled(
        tuple(named),
        _with_single(_frozen(productions, components, couplings.blind), single),
        sizes,
        _single_sided(named, couplings, components),
        _consumers(couplings, blocks),
        _splits(named, couplings, components),
    )


def _by_owner(productions: list[Production], blocks: list[Block]) -> list[Production]:
    """`productions` under the names of the modules that own a `weight`, where a module around them uses it directly."""
    starts = [block.start for block in blocks]
    named = []
    for production in productions:
        block = blocks[bisect_right(starts, int(production.atoms.max())) - 1]
        owner, _, kind = block.tensor.rpartition(".")
        inside = not production.module or owner.startswith(f"{production.module}.")
        named.append(replace(production, module=owner) if owner and inside and kind == "weight" else production)
    return named


def _components(couplings: Couplings) -> Components:
    first = [one for one, _ in couplings.ties]
    second = [two for _, two in couplings.ties]
    rows = np.concatenate(first) if first else np.zeros(0, dtype=np.int64)
    columns = np.concatenate(second) if second else np.zeros(0, dtype=np.int64)
    count = couplings.atoms
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(count, count))
    total, found = connected_components(graph, directed=False)
    of: NDArray[np.int64] = np.asarray(found, dtype=np.int64)
    reasons: dict[int, str] = {}
    for atoms, reason in couplings.frozen:
        for component in np.unique(of[atoms]):
            reasons.setdefault(int(component), reason)
    for atoms, reason in couplings.pairs:
        lonely = _lonely(of[atoms[atoms != FIXED]], reasons, bool((atoms == FIXED).any()))
        if lonely is not None:
            reasons[lonely] = reason
    free = np.zeros(total, dtype=np.bool_)
    for consumed in couplings.consumed:
        free[of[consumed]] = True
    free[of[FIXED]] = False
    free[list(reasons)] = False
    return Components(of, reasons, free)


def _lonely(components: NDArray[np.int64], reasons: Mapping[int, str], fixed: bool) -> int | None:
    """A component to keep so that never a single position is left of those that are at `components`; None where none has to."""
    live, counts = np.unique(components[~np.isin(components, list(reasons))], return_counts=True)
    if fixed or not live.size or counts.sum() < len(components) or counts.min() > 1:
        return None
    return int(components[0])


def _units(
    components: Components, blocks: list[Block], productions: list[Production]
) -> list[tuple[Production, list[tuple[int, NDArray[np.int64]]]]]:
    """Per group: its production, and per touched block the components at each of its positions."""
    owner = np.concatenate(
        [np.zeros(1, dtype=np.int64), *(np.full(b.size, n, dtype=np.int64) for n, b in enumerate(blocks))]
    )
    live = components.free[components.of]
    live[FIXED] = False
    pairs = np.unique(components.of[live] * len(blocks) + owner[live])
    owners, columns = np.divmod(pairs, max(1, len(blocks)))
    marks = np.random.default_rng(0).integers(1, 2**62, size=len(blocks), dtype=np.uint64)
    signature = np.zeros(len(components.free), dtype=np.uint64)
    np.add.at(signature, owners, marks[columns])
    found: dict[int, tuple[Production, list[tuple[int, NDArray[np.int64]]]]] = {}
    for production in productions:
        inside = production.atoms[components.free[components.of[production.atoms]] & (production.atoms != FIXED)]
        for key in dict.fromkeys(signature[components.of[inside]].tolist()):
            found.setdefault(key, (production, []))
    for number, block in enumerate(blocks):
        at = components.of[block.start : block.start + block.size]
        for key in np.unique(signature[at][components.free[at]]).tolist():
            if key in found:
                found[key][1].append((number, np.where((signature[at] == key) & components.free[at], at, -1)))
    return list(found.values())


def _group(
    production: Production,
    touched: list[tuple[int, NDArray[np.int64]]],
    blocks: list[Block],
    components: Components,
    shared: dict[bytes, NDArray[np.int32]],
    start: int,
) -> Group:
    """Number the units by their place in the production and list the members."""
    here = set(np.concatenate([at for _, at in touched]).tolist())
    order = [c for c in dict.fromkeys(components.of[production.atoms].tolist()) if c in here and components.free[c]]
    number = np.full(len(components.free), -1, dtype=np.int64)
    number[order] = np.arange(len(order))
    members = []
    for block_number, at in touched:
        index = np.flatnonzero(at >= 0)
        unit = number[at[index]]
        arrays = [a.astype(np.int32) for a in (index, unit)]
        one, two = (shared.setdefault(a.tobytes(), a) for a in arrays)
        members.append(Member(blocks[block_number].tensor, blocks[block_number].dim, one, two))
    name = production.module or members[0].tensor
    return Group(name, len(order), tuple(members), "", production.layer_type, start)


def _with_layers(
    groups: list[Group], productions: list[Production], couplings: Couplings, components: Components
) -> list[Group]:
    """`groups` with the names of all layers that produce their units."""
    owner = np.full(len(components.free), -1, dtype=np.int64)
    for number, group in enumerate(groups):
        owner[_touched(group, couplings, components)] = number
    layers: list[dict[str, None]] = [{} for _ in groups]
    for production in productions:
        for number in np.unique(owner[components.of[production.atoms]]).tolist():
            if number >= 0 and production.module:
                layers[number][production.module] = None
    return [replace(group, layers=tuple(found)) for group, found in zip(groups, layers, strict=True)]


def _renumbered(groups: list[Group]) -> list[Group]:
    starts = np.cumsum([0, *(group.size for group in groups)]).tolist()
    return [replace(group, start=start) for group, start in zip(groups, starts, strict=False)]


def _with_single(frozen: tuple[Frozen, ...], layers: set[str]) -> tuple[Frozen, ...]:
    known = {item.name for item in frozen}
    reason = "all the channels that could go hang together as a single unit, and one unit has to stay"
    return (*frozen, *(Frozen(layer, reason) for layer in sorted(layers - known)))


def _unique_names(groups: list[Group]) -> list[Group]:
    seen: dict[str, int] = {}
    named = []
    for group in groups:
        seen[group.name] = seen.get(group.name, 0) + 1
        name = group.name if seen[group.name] == 1 else f"{group.name}#{seen[group.name]}"
        named.append(replace(group, name=name, constraint=_constraint(group)))
    return named


def _constraint(group: Group) -> str:
    first = group.members[0]
    per_unit = len(first.unit) // max(1, group.size)
    words = f"at least 1 of {group.size} stays"
    return words if per_unit == 1 else f"{words}; a unit is {per_unit} positions of {first.tensor} at once"


def _frozen(productions: list[Production], components: Components, blind: list[tuple[str, str]]) -> tuple[Frozen, ...]:
    found: dict[str, str] = {}
    for production in productions:
        atoms = production.atoms[production.atoms != FIXED]
        stuck = atoms[~components.free[components.of[atoms]]]
        if stuck.size:
            reason = components.reasons.get(int(components.of[stuck[0]]), _UNREAD)
            part = "" if stuck.size == production.atoms.size else f"{stuck.size} of {production.atoms.size} channels: "
            found.setdefault(production.module or "the model itself", part + reason)
    for module, reason in blind:
        found.setdefault(module or "the model itself", reason)
    return tuple(Frozen(name, reason) for name, reason in found.items())


def _touched(group: Group, couplings: Couplings, components: Components) -> NDArray[np.int64]:
    first = group.members[0]
    return components.of[couplings.blocks[first.tensor, first.dim].start + first.index]


def _single_sided(groups: list[Group], couplings: Couplings, components: Components) -> frozenset[str]:
    multiplied = np.zeros(len(components.free), dtype=np.bool_)
    for atoms in couplings.multiplied:
        multiplied[components.of[atoms]] = True
    return frozenset(group.name for group in groups if multiplied[_touched(group, couplings, components)].any())


def _splits(groups: list[Group], couplings: Couplings, components: Components) -> dict[str, tuple[str, ...]]:
    """`{group: modules that split its dimension}`, and under `STUCK` those whose split leaves nothing to prune."""
    found: dict[str, tuple[str, ...]] = {}
    for group in groups:
        here = np.zeros(len(components.free), dtype=np.bool_)
        here[_touched(group, couplings, components)] = True
        modules = [split.module for split in couplings.splits if here[components.of[split.atoms]].any()]
        if modules:
            found[group.name] = tuple(dict.fromkeys(modules))
    stuck = [split.module for split in couplings.splits if not components.free[components.of[split.atoms]].any()]
    if stuck:
        found[STUCK] = tuple(dict.fromkeys(stuck))
    return found


def _consumers(couplings: Couplings, blocks: list[Block]) -> frozenset[Axis]:
    read = np.zeros(couplings.atoms, dtype=np.bool_)
    for atoms in couplings.consumed:
        read[atoms] = True
    spreading = True
    while spreading:
        before = int(read.sum())
        for one, other in couplings.alike:
            read[one] |= read[other]
            read[other] |= read[one]
        read[FIXED] = False
        spreading = int(read.sum()) > before
    return frozenset((b.tensor, b.dim) for b in blocks if read[b.start : b.start + b.size].any())
