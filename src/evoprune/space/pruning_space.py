"""The pruning space of a model: which units may go, as plain data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoprune.errors import InvalidPlanError, UsageError
from evoprune.plan import AttributeValue, Indices, Kept, PruningPlan
from evoprune.seeding import SeedTree
from evoprune.space.cost_model import CostModel, PlanCosts
from evoprune.space.groups import AttributeRule, Axis, Frozen, Group, NormRule, SizeRule
from evoprune.space.ranking import choose
from evoprune.space.space_text import space_html, space_text
from evoprune.space.workload import Workload


@dataclass(frozen=True, eq=False, repr=False)
class PruningSpace:
    """All that can be pruned from one model.

    Units are numbered by group, in the order of `groups`; a choice is one bit per unit.

    Attributes:
        groups: The groups, in the order in which the model computes them.
        frozen: Layers that can't be pruned.
        fingerprint: Names the dense structure; the same whatever the weights, dtype and device.
        axis_sizes: `{(tensor, dimension): size}` of every axis that a group reaches into.
        attributes: Module attributes that follow from the axes.
        single_sided: Names of groups that the noise test doesn't apply to, since activations are multiplied with each other.
        consumers: Axes that read a pruned dimension, rather than produce it.
        workload: Terms that the costs of plans are made of.
        sizes: Module attributes that hold the sizes of parts of axes.
        norms: Layers without weights that normalise what may be pruned.
    """

    groups: tuple[Group, ...]
    frozen: tuple[Frozen, ...]
    fingerprint: str
    axis_sizes: Mapping[Axis, int]
    attributes: tuple[AttributeRule, ...] = ()
    single_sided: frozenset[str] = frozenset()
    consumers: frozenset[Axis] = frozenset()
    workload: Workload = field(default_factory=Workload)
    sizes: tuple[SizeRule, ...] = ()
    norms: tuple[NormRule, ...] = ()

    @property
    def size(self) -> int:
        """Number of units in all groups."""
        return self.groups[-1].stop if self.groups else 0

    @cached_property
    def digest(self) -> str:
        """Names the whole space, groups and couplings included: equal digests read a genome alike."""
        state = hashlib.blake2b(self.fingerprint.encode(), digest_size=16)
        for group in self.groups:
            state.update(f"|{group.name}:{group.size}".encode())
            for member in group.members:
                state.update(f"|{member.tensor}:{member.dim}".encode())
                state.update(member.index.astype("<i4").tobytes() + member.unit.astype("<i4").tobytes())
        return state.hexdigest()

    @cached_property
    def _axes(self) -> dict[Axis, tuple[NDArray[np.int32], NDArray[np.int32]]]:
        parts: dict[Axis, list[tuple[NDArray[np.int32], NDArray[np.int32]]]] = {}
        for group in self.groups:
            for member in group.members:
                parts.setdefault((member.tensor, member.dim), []).append(
                    (member.index, member.unit + np.int32(group.start))
                )
        return {
            axis: (np.concatenate([i for i, _ in found]), np.concatenate([u for _, u in found]))
            for axis, found in parts.items()
        }

    @cached_property
    def neighbours(self) -> dict[str, list[str]]:
        """Per group those that reach into the same parameter, a weight that reads one and produces the other say, in order."""
        owners: dict[str, dict[str, None]] = {}
        for group in self.groups:
            for member in group.members:
                owners.setdefault(member.tensor, {})[group.name] = None
        found: dict[str, dict[str, None]] = {group.name: {} for group in self.groups}
        for together in owners.values():
            for name in together:
                found[name] |= together
        return {name: [other for other in others if other != name] for name, others in found.items()}

    def units_of(self, axis: Axis) -> NDArray[np.int32]:
        """[n] unit, counted over all groups, that each position of an axis belongs to which may go; none where all must stay."""
        found = self._axes.get(axis)
        return np.empty(0, dtype=np.int32) if found is None else found[1]

    def __getstate__(self) -> dict[str, object]:
        """Without what is computed on demand."""
        return {
            name: value
            for name, value in vars(self).items()
            if name not in {"_axes", "digest", "cost_model", "neighbours"}
        }

    def plan(self, bits: ArrayLike) -> PruningPlan:
        """The plan of one choice.

        Args:
            bits: [size] bool or 0/1, one per unit; 1 keeps.

        Raises:
            InvalidPlanError: Wrong length, other values, or a group that keeps nothing.
        """
        keep = self._checked(bits)
        kept: dict[str, dict[int, Indices]] = {}
        counts: dict[Axis, int] = {}
        for axis, (index, unit) in self._axes.items():
            stays = keep[unit]
            if stays.all():
                continue
            mask = np.ones(self.axis_sizes[axis], dtype=np.bool_)
            mask[index] = stays
            indices = np.flatnonzero(mask)
            counts[axis] = len(indices)
            kept.setdefault(axis[0], {})[axis[1]] = indices
        found = {norm.module: norm.kept(kept) for norm in self.norms if _touches(kept, norm.parts)}
        return PruningPlan(kept, self._attributes(counts, kept), self.fingerprint, found)

    def units(self, plan: PruningPlan) -> NDArray[np.bool_]:
        """[size] the units that a plan keeps, bool; one that it keeps a part of counts as cut.

        Raises:
            InvalidPlanError: The plan is for another model.
        """
        kept, bits = self.kept(plan), np.ones(self.size, dtype=np.bool_)
        for axis, (index, unit) in self._axes.items():
            tensor, dim = axis
            if dim in kept.get(tensor, {}):
                stays = np.zeros(self.axis_sizes[axis], dtype=np.bool_)
                stays[kept[tensor][dim]] = True
                bits[unit[~stays[index]]] = False
        return bits

    def random_plan(self, keep: float, seed: int) -> PruningPlan:
        """Keep a fraction of every group's units, drawn at random, at least one."""
        return self.plan(self.random_bits(keep, seed))

    def random_bits(self, keep: float, seed: int) -> NDArray[np.bool_]:
        """The bits of `random_plan`: [size] bool.

        Raises:
            UsageError: `keep` is not above 0 and at most 1.
        """
        if not 0 < keep <= 1:
            raise UsageError(f"keep={keep} is not a fraction above 0 and at most 1")
        generator = SeedTree(seed).child("random-plan").generator()
        bits = np.zeros(self.size, dtype=np.bool_)
        for group in self.groups:
            count = max(1, round(keep * group.size))
            bits[group.start + generator.permutation(group.size)[:count]] = True
        return bits

    def plan_by_importance(
        self, score: ArrayLike, *, keep: float | None = None, macs: float | None = None, scope: str = "global"
    ) -> PruningPlan:
        """Keep the units with the highest score, at least one of every group.

        Args:
            score: [size] one number per unit, as `evoprune.importance` gives.
            keep: Fraction of the units to keep, above 0 and at most 1; either this or `macs`.
            macs: Part of the MACs to keep, a fraction up to 1 or a number above; the plan comes within 1 % from below where
                units are small enough.
            scope: `global` compares the units of all groups, `uniform` keeps the same fraction of each.

        Raises:
            UsageError: The score doesn't fit, both or none of the targets are given, or the target can't be reached.
            UnsupportedModelError: The MACs can't be predicted.
        """
        return self.plan(choose(self.groups, score, self.cost, keep=keep, macs=macs, scope=scope))

    @cached_property
    def cost_model(self) -> CostModel:
        """Predicts costs; compiled at the first use."""
        return CostModel(self.groups, self.workload)

    def cost(self, bits: ArrayLike) -> PlanCosts:
        """MACs and parameters of choices, exactly as `evoprune.count` counts the pruned models.

        Args:
            bits: [..., size] bool or 0/1, one per unit; one choice, or a whole population at once.

        Raises:
            InvalidPlanError: Wrong length, other values, or a group that keeps nothing.
            UnsupportedModelError: The MACs of a choice can't be predicted.
        """
        return self.cost_model.costs(bits)

    def kept(self, plan: PruningPlan) -> Kept:
        """`{parameter or buffer name: {dimension: kept indices}}`: everything the cut touches.

        Raises:
            InvalidPlanError: The plan is for another model.
        """
        if plan.fingerprint != self.fingerprint:
            raise InvalidPlanError("the plan was made for a model of another structure")
        return plan.kept

    def group(self, name: str) -> Group:
        """A group by name.

        Raises:
            UsageError: There is none; the message lists the names.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise UsageError(f"no group is called {name!r}; there are {', '.join(g.name for g in self.groups)}")

    def without(self, names: Iterable[str], reason: str) -> PruningSpace:
        """The space with some groups frozen for `reason`."""
        gone = set(names)
        start = 0
        groups = []
        for group in self.groups:
            if group.name not in gone:
                groups.append(replace(group, start=start))
                start += group.size
        named = {item.name for item in self.frozen}
        layers = [layer for group in self.groups if group.name in gone for layer in (group.layers or (group.name,))]
        frozen = (*self.frozen, *(Frozen(layer, reason) for layer in dict.fromkeys(layers) if layer not in named))
        return replace(self, groups=tuple(groups), frozen=frozen)

    def __repr__(self) -> str:
        return space_text(self.groups, self.frozen)

    def _repr_html_(self) -> str:
        return space_html(self.groups, self.frozen)

    def _checked(self, bits: ArrayLike) -> NDArray[np.bool_]:
        given = np.asarray(bits)
        if given.shape != (self.size,):
            raise InvalidPlanError(f"{self.size} bits are needed, one per unit, not an array of shape {given.shape}")
        if given.dtype != np.bool_ and not np.isin(given, (0, 1)).all():
            raise InvalidPlanError("bits must be 0 or 1")
        keep = given.astype(np.bool_)
        if self.groups:
            starts = np.fromiter((group.start for group in self.groups), dtype=np.int64)
            empty = np.flatnonzero(np.add.reduceat(keep.astype(np.int64), starts) == 0)
            if empty.size:
                raise InvalidPlanError(f"group {self.groups[empty[0]].name!r} would keep none of its units")
        return keep

    def _attributes(self, counts: Mapping[Axis, int], kept: Kept) -> dict[str, dict[str, AttributeValue]]:
        values: dict[str, dict[str, AttributeValue]] = {}
        for rule in self.attributes:
            count = counts.get(rule.axis)
            if count is not None:
                known = values.setdefault(rule.module, {})
                value = count * rule.factor // rule.divisor
                known[rule.attribute] = _placed(known.get(rule.attribute), value, rule)
        for size in self.sizes:
            if any(_touches(kept, one.parts) for one in size.counts):
                found = tuple(count.of(kept) for count in size.counts)
                values.setdefault(size.module, {})[size.attribute] = found if size.several else found[0]
        return values


def _touches(kept: Kept, parts: Iterable[tuple[Any, ...]]) -> bool:
    """Whether a plan cuts any of the axes that the parts begin with."""
    return any(dim in kept.get(tensor, {}) for (tensor, dim), *_ in parts)


def _placed(known: AttributeValue | None, value: int, rule: AttributeRule) -> AttributeValue:
    if not rule.template:
        return (value,) if rule.as_tuple else value
    before = known if isinstance(known, tuple) else rule.template
    return (*before[: rule.place], value, *before[rule.place + 1 :])


def nothing_to_prune(space: PruningSpace) -> str:
    """One line that says why a space has no groups."""
    reasons = frozen_reasons(space.frozen) or "the model has no convolution or linear layer in front of another"
    return f"nothing can be pruned from this model: {reasons}"


def frozen_reasons(frozen: Sequence[Frozen], limit: int = 5) -> str:
    """`name: reason` of the first few, for messages."""
    more = f"; and {len(frozen) - limit} more" if len(frozen) > limit else ""
    return "; ".join(f"{item.name}: {item.reason}" for item in frozen[:limit]) + more
