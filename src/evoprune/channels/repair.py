"""What is done about a module that fails: attributes are set along, groups go in step, or the smallest that is to blame stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from evoprune.channels.edits import Edits, Reads, Shape, is_of, proposals, sets_of, shape_of, with_edits
from evoprune.channels.module_case import ModuleCase
from evoprune.channels.trial_cuts import Bits, Trial
from evoprune.space.groups import AttributeRule, Group
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.tied import tied

FAILED: Final = "failed the self-check"

_MOST_ATTEMPTS: Final = 40
"""Sets of edits that are tried for one module."""

_FURTHER: Final = (Trial(1), Trial(2), Trial(width=1))
"""Cuts that a repaired module has to pass besides the one that it failed."""

_MOST_TIES: Final = 24
"""Ways of tying the groups of one module that are tried."""

_MOST_WAYS: Final = 500

_WITH_TIES: Final = 10
"""Sets of edits that are tried for each of them."""

Ties = tuple[tuple[int, int], ...]
"""Groups of a module, by number, that go in step with an earlier one."""


@dataclass(frozen=True)
class Change:
    """A change of a pruning space; it can be made again to a space of another trace.

    Attributes:
        edits: Attributes that plans set.
        ties: Pairs of groups that go in step.
        frozen: Groups that stay, and why.
        together: Those of them that fail only along with others.
    """

    edits: tuple[AttributeRule, ...] = ()
    ties: tuple[tuple[str, str], ...] = ()
    frozen: tuple[tuple[str, str], ...] = ()
    together: frozenset[str] = frozenset()

    def made_to(self, space: PruningSpace) -> PruningSpace:
        """The changed space; what it doesn't have is left out."""
        for pair in self.ties:
            if {group.name for group in space.groups}.issuperset(pair):
                space = tied(space, *pair) or space
        for name, reason in self.frozen:
            space = space.without([name], f"{FAILED}: {reason}")
        known = set(space.axis_sizes)
        return with_edits(space, tuple(rule for rule in self.edits if rule.axis in known))


@dataclass
class Repairs:
    """Finds changes for one module after another, and remembers what helped.

    Args:
        reads: Modules and attributes of theirs that the forward pass reads.
    """

    reads: Reads
    _helped: list[tuple[type, Ties, Shape]] = field(default_factory=list)

    def keeping_all(self, case: ModuleCase, space: PruningSpace, trial: Trial) -> Change | None:
        """A change after which the module passes with nothing frozen; None where there is none."""
        local = case.localised(space)
        for ties, shape in [(ties, shape) for kind, ties, shape in self._helped if kind is type(case.module)]:
            joined = _tied(local, ties)
            if joined is not None:
                edits = tuple(
                    rule for rule in proposals(case, joined, self.reads) if shape_of((rule,), joined) <= shape
                )
                if _passes(case, joined, edits, trial):
                    return _change(case, local, ties, edits)
        for ties in islice(_all_ties(local), _MOST_TIES):
            joined = _tied(local, ties)
            most = _WITH_TIES if ties else _MOST_ATTEMPTS
            found = None if joined is None else self._edits(case, joined, trial, most)
            if joined is not None and found is not None:
                self._helped.append((type(case.module), ties, shape_of(found, joined)))
                return _change(case, local, ties, found)
        return None

    def freezing(self, case: ModuleCase, space: PruningSpace, trial: Trial) -> Change:
        """Freeze the groups that fail alone, and the smallest of each set that only fails together."""
        local = case.localised(space)
        sizes = {group.name: extent(group) for group in space.groups}
        frozen: dict[str, str] = {}
        together: set[str] = set()
        left: list[Group] = []
        for group in local.groups:
            problem = case.problem(local, trial.bits(local, [group]))
            if problem:
                frozen[group.name] = problem
            else:
                left.append(group)
        while left and (problem := case.problem(local, trial.bits(local, left))):
            failing = _fewest(case, local, trial, sorted(left, key=lambda group: sizes[group.name]))
            least = min(failing, key=lambda group: sizes[group.name])
            frozen[least.name] = problem
            together.add(least.name)
            left.remove(least)
        found = tuple((name, f"{problem} in {case.path}") for name, problem in frozen.items())
        return Change(frozen=found, together=frozenset(together))

    def _edits(self, case: ModuleCase, local: PruningSpace, trial: Trial, most: int) -> Edits | None:
        for edits in islice(sets_of(proposals(case, local, self.reads), local), most):
            if _passes(case, local, edits, trial):
                return _needed(case, local, edits, trial)
        return None


def extent(group: Group) -> int:
    """How many positions of parameters go with a group."""
    return sum(len(member.index) for member in group.members)


def _all_ties(local: PruningSpace) -> Iterator[Ties]:
    """No tie, then all ways of tying groups of which some dimensions are equally wide, those of few groups first."""
    widths = [{local.axis_sizes[member.tensor, member.dim] for member in group.members} for group in local.groups]
    found: list[list[int]] = [[]]
    for number in range(len(widths)):
        leaders = [
            [other for other in range(number) if way[other] == other and not widths[other].isdisjoint(widths[number])]
            for way in found
        ]
        found = [[*way, leader] for way, several in zip(found, leaders, strict=True) for leader in (number, *several)]
        found = found[:_MOST_WAYS]
    every = [tuple((leader, one) for one, leader in enumerate(way) if leader != one) for way in found]
    yield from sorted(every, key=len)


def _tied(local: PruningSpace, ties: Ties) -> PruningSpace | None:
    names = [group.name for group in local.groups]
    for leader, other in ties:
        if other >= len(names):
            return None
        joined = tied(local, names[leader], names[other])
        if joined is None:
            return None
        local = joined
    return local


def _change(case: ModuleCase, local: PruningSpace, ties: Ties, edits: Edits) -> Change:
    names = [group.name for group in local.groups]
    return Change(tuple(map(case.global_rule, edits)), tuple((names[leader], names[other]) for leader, other in ties))


def _passes(case: ModuleCase, local: PruningSpace, edits: Edits, trial: Trial) -> bool:
    edited = with_edits(local, edits)
    followed = [[group] for group in local.groups if any(is_of(rule.axis, group) for rule in edits)]
    alone = followed if len(local.groups) > 1 else []
    every: list[Bits] = [
        trial.bits(edited, edited.groups),
        *(trial.bits(edited, one) for one in alone),
        *(further.bits(edited, edited.groups) for further in _FURTHER if further.number != trial.number),
    ]
    return not any(case.problem(edited, bits) for bits in every)


def _needed(case: ModuleCase, local: PruningSpace, edits: Edits, trial: Trial) -> Edits:
    """`edits` without those that it passes without."""
    for rule in edits:
        fewer = tuple(one for one in edits if one is not rule)
        if len(fewer) < len(edits) and _passes(case, local, fewer, trial):
            edits = fewer
    return edits


def _fewest(case: ModuleCase, local: PruningSpace, trial: Trial, groups: Sequence[Group]) -> list[Group]:
    """A smallest set that fails together; the first of `groups` stay in it rather than the last."""
    found = list(groups)
    for group in reversed(groups):
        fewer = [one for one in found if one is not group]
        if fewer and case.problem(local, trial.bits(local, fewer)):
            found = fewer
    return found
