"""Which widths the networks of a run have, kept for its report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

from evoprune.channels.encoding import Encoding
from evoprune.genome import BitGenome
from evoprune.objectives.base import Objective
from evoprune.run.front import fitness_of, front_of, last_rung, usable
from evoprune.space.pruning_space import PruningSpace
from evoprune.store.journal import JournalEntry
from evoprune.store.widths import GroupSize, NetworkWidths, Widths

MOST: Final = 200
"""Fittest candidates whose widths are kept, besides the front and the winner's ancestors."""
NO_CRITERION: Final = "-"


@runtime_checkable
class ByCriteria(Protocol):
    """An encoding whose genomes name a criterion for each group."""

    def criteria(self, genome: BitGenome) -> Mapping[str, str]:
        """Name of the criterion that chooses the units of each group, by the group's name."""


def recorded_widths(
    space: PruningSpace,
    encoding: Encoding,
    entries: Sequence[JournalEntry],
    objectives: Sequence[Objective],
    best: JournalEntry,
) -> Widths:
    """Widths of the front, of the fittest candidates on the highest rungs and of all that the best one was bred from.

    Args:
        space: Pruning space of the model.
        encoding: Encoding of the journal.
        entries: Entries of the journal.
        objectives: What was searched for.
        best: The entry that was finished.
    """
    fittest = sorted(usable(entries), key=lambda one: (one.evaluation.rung, fitness_of(one)), reverse=True)[:MOST]
    shown = [*front_of(last_rung(entries), objectives), *fittest, *_ancestry(entries, best)]
    genomes = {one.evaluation.genome: one.genome for one in shown if one.genome is not None}
    return Widths(
        groups=tuple(GroupSize(group.name, group.size, group.layers) for group in space.groups),
        networks={digest: _network(space, encoding, genome) for digest, genome in genomes.items()},
        frozen={one.name: one.reason for one in space.frozen},
    )


def _network(space: PruningSpace, encoding: Encoding, genome: BitGenome) -> NetworkWidths:
    widths = encoding.widths(genome)
    criteria = encoding.criteria(genome) if isinstance(encoding, ByCriteria) else {}
    return NetworkWidths(
        widths=tuple(int(widths.get(group.name, group.size)) for group in space.groups),
        criteria=tuple(criteria.get(group.name, NO_CRITERION) for group in space.groups) if criteria else (),
    )


def _ancestry(entries: Iterable[JournalEntry], best: JournalEntry) -> Iterator[JournalEntry]:
    """The best entry, and one of each genome that it goes back to."""
    known = {entry.evaluation.genome: entry for entry in reversed(list(entries))}
    to_see, seen = [best.evaluation.genome], set[str]()
    while to_see:
        digest = to_see.pop()
        if digest in known and digest not in seen:
            seen.add(digest)
            yield known[digest]
            to_see += known[digest].parents
