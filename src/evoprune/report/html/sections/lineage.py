"""The lineage of the winner: which candidates it was bred from, and what those began as."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from evoprune.report.html.charts.plot import NARROW, WIDE, Frame
from evoprune.report.html.charts.scale import Scale, Tick
from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.wording import counted, listed, shown
from evoprune.store.journal import JournalEntry

CUT: Final = "cut of "
MOST: Final = 24
"""Candidates in the picture, the nearest relatives first."""
LANE: Final = 30
TOP: Final = 16
BOTTOM: Final = 40
LABELS: Final = {WIDE.name: 232, NARROW.name: 132}
"""Room for the names of the candidates."""


@dataclass(frozen=True)
class Ancestor:
    """A candidate among the winner's ancestors, or the winner itself.

    Attributes:
        genome: Digest of its genome.
        index: Number of its first line in the journal.
        origin: What it began as: a criterion, an earlier run, chance, or its parents.
        kind: `winner`, `criterion`, `bred` or `other`.
        parents: Digests of its parents that are shown.
        fitness: `(generation, fitness)` of each generation that it was scored in.
    """

    genome: str
    index: int
    origin: str
    kind: str
    parents: tuple[str, ...]
    fitness: tuple[tuple[int, float | None], ...]

    @property
    def tip(self) -> str:
        """What is shown of it, a line each."""
        scores = [
            f"generation {number}: {'no score' if value is None else f'fitness {value:.4f}'}"
            for number, value in self.fitness
        ]
        return "\n".join([f"candidate {self.index}: {self.origin}", *scores[:12]])


@dataclass(frozen=True)
class Lane:
    """A candidate in the picture: one line from the generation it was made in to the last it was scored in."""

    y: float
    places: tuple[float, ...]
    label: str
    origin: str
    short: str
    kind: str
    tip: str


@dataclass(frozen=True)
class Tree:
    """The picture at a size."""

    frame: Frame
    height: int
    left: int
    lanes: tuple[Lane, ...]
    edges: tuple[str, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True)
class Lineage:
    """What the section shows."""

    lead: str
    trees: tuple[Tree, ...]
    steps: tuple[str, ...]
    note: str


def lineage_of(facts: RunFacts) -> Section | None:
    """The winner's ancestors, back to the first generation."""
    genome = facts.comparison.pruned.genome
    known = {key: list(mine) for key, mine in groupby(sorted(facts.entries, key=_genome), key=_genome)}
    if genome is None or genome not in known:
        return None
    digests, more = _relatives(genome, known)
    ancestors = [_ancestor(digest, known[digest], genome, digests) for digest in digests]
    note = f"The {MOST} nearest are shown; there are more before them." if more else ""
    steps = tuple(one.tip.replace("\n", "; ") for one in sorted(ancestors, key=lambda one: one.index))
    trees = tuple(_tree(ancestors, frame) for frame in (WIDE, NARROW)) if len(ancestors) > 1 else ()
    return Section(
        "lineage", "Lineage of the winner", Lineage(_lead(ancestors, more=more), trees, steps, note), "lineage"
    )


def _genome(entry: JournalEntry) -> str:
    return entry.evaluation.genome


def _relatives(genome: str, known: dict[str, list[JournalEntry]]) -> tuple[list[str], bool]:
    """The winner and its ancestors, nearest first, and whether there are more than are wanted."""
    found, to_see = [genome], deque([genome])
    while to_see:
        for parent in known[to_see.popleft()][0].parents:
            if parent in known and parent not in found:
                if len(found) == MOST:
                    return found, True
                found.append(parent)
                to_see.append(parent)
    return found, False


def _ancestor(digest: str, lines: Sequence[JournalEntry], winner: str, digests: Sequence[str]) -> Ancestor:
    first = min(lines, key=lambda one: one.index)
    criterion = next((str(one.tags["criterion"]) for one in lines if "criterion" in one.tags), None)
    parents = tuple(dict.fromkeys(one for one in first.parents if one in digests and one != digest))
    if criterion is not None:
        origin, kind = f"{CUT}{shown(criterion, 40)}", "criterion"
    elif first.parents:
        origin, kind = f"bred from {counted(len(set(first.parents)), 'parent')}", "bred"
    else:
        origin, kind = "in the first generation" if first.generation == 0 else "drawn anew", "other"
    scores = tuple(sorted((one.generation, one.score) for one in lines))
    return Ancestor(digest, first.index, origin, "winner" if digest == winner else kind, parents, scores)


def _lead(ancestors: Sequence[Ancestor], *, more: bool) -> str:
    winner = ancestors[0]
    if len(ancestors) == 1 and winner.origin.startswith(CUT):
        return f"The winner, candidate {winner.index}, is a {winner.origin}: it was not bred."
    if len(ancestors) == 1:
        return f"The winner, candidate {winner.index}, has no known parents: {winner.origin}."
    roots = [one for one in ancestors if not one.parents and one is not winner]
    cuts = list(dict.fromkeys(one.origin.removeprefix(CUT) for one in roots if one.kind == "criterion"))
    noun = "cut" if len(cuts) == 1 else "cuts"
    begun = f", and goes back to the {noun} of {listed(cuts[:5])}{' …' if len(cuts) > 5 else ''}" if cuts else ""
    several = "more than " if more else ""
    return (
        f"The winner, candidate {winner.index}, was made in generation {winner.fitness[0][0]}. It has {several}"
        f"{counted(len(ancestors) - 1, 'ancestor')}{begun}."
    )


def _tree(ancestors: Sequence[Ancestor], frame: Frame) -> Tree:
    first = min(one.fitness[0][0] for one in ancestors)
    last = max(one.fitness[-1][0] for one in ancestors)
    left = LABELS[frame.name]
    x = Scale(first - 0.3, last + 0.3, left, frame.width - frame.right)
    height = TOP + LANE * len(ancestors) + BOTTOM
    order = sorted(ancestors, key=lambda one: (-one.fitness[0][0], one.index))
    order = sorted(order, key=lambda one: one.kind != "winner")
    ys = {one.genome: TOP + LANE * (number + 0.5) for number, one in enumerate(order)}
    lanes = tuple(
        Lane(
            ys[one.genome],
            tuple(dict.fromkeys(x.at(number) for number, _ in one.fitness)),
            f"#{one.index}",
            _cut(one.origin, 30),
            _cut(one.origin.removeprefix(CUT), 13) if one.kind == "criterion" else "",
            one.kind,
            one.tip,
        )
        for one in order
    )
    made = {one.genome: one for one in ancestors}
    edges = tuple(
        _edge(x, made[parent], ys[parent], child, ys[child.genome]) for child in order for parent in child.parents
    )
    ticks = x.ticks(max(2, (frame.width - left) // 60), lambda value: f"{value:g}", whole=True)
    return Tree(frame, height, left, lanes, edges, ticks)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _edge(x: Scale, parent: Ancestor, parent_y: float, child: Ancestor, child_y: float) -> str:
    """A curve from the parent, where it was last scored before the child was made, to the child."""
    born = child.fitness[0][0]
    seen = [number for number, _ in parent.fitness if number < born] or [parent.fitness[0][0]]
    start, end = x.at(seen[-1]), x.at(born)
    middle = round((start + end) / 2, 1)
    return f"M{start:g} {parent_y:g}C{middle:g} {parent_y:g} {middle:g} {child_y:g} {end:g} {child_y:g}"
