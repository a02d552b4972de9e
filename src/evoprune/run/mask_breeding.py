"""How the masks of a run are searched for: what a search is about, and what it begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from evoprune.genome import BitGenome
from evoprune.masks.encodings.base import MaskEncoding
from evoprune.masks.encodings.keep_ratios import uniform_bits
from evoprune.masks.space import MaskSpace, UnitBits
from evoprune.objectives.constraint import Constraint
from evoprune.plugins import resolve
from evoprune.run.mask_context import MaskTarget
from evoprune.run.measures import Wanted
from evoprune.run.search_plan import SearchPlan
from evoprune.run.stop_rules import Ends
from evoprune.store.journal import JournalEntry

POLISH: Final = "weight-bits"
"""The encoding of searches that polish what another one has found."""


@dataclass(frozen=True)
class MaskStage:
    """What the genomes of one search are about.

    Attributes:
        step: Position in the run's schedule.
        state: Digest of the state that candidates start from.
        names: Weights that are searched.
        kept: Number of them that stay; None leaves it to fitness.
        encoding: Name of the encoding.
        alone: Whether a job is the whole search of these weights rather than one candidate.
    """

    step: int
    state: str
    names: tuple[str, ...]
    kept: int | None
    encoding: str
    alone: bool = False


@dataclass(frozen=True)
class MaskBreeding:
    """Algorithm, genomes and worth of a run's searches of masks.

    Attributes:
        plan: Algorithm and length.
        target: Says which weights may go.
        encoding: Name of the encoding.
        polish_generations: Generations of a search on single bits that begins with the best of the first; 0 for none.
        wanted: Measures of candidates.
        constraints: Bounds on measures.
        ends: When a search is over early.
        target_sparsity: Sparsity of the searched weights at which a search is over; None: none.
    """

    plan: SearchPlan
    target: MaskTarget
    encoding: str
    polish_generations: int
    wanted: Wanted
    constraints: tuple[Constraint, ...]
    ends: Ends
    target_sparsity: float | None

    @property
    def final_encoding(self) -> str:
        """What the genome stands for that a layer's search of its own ends with: single bits where it is polished."""
        return POLISH if self.polish_generations else self.encoding

    def enough(self, entry: JournalEntry) -> bool:
        """Whether a candidate is sparse enough to end its search."""
        return self.sparse_enough(entry.evaluation.objectives["layer_sparsity"])

    def sparse_enough(self, sparsity: float) -> bool:
        """Whether the target sparsity is reached, where there is one."""
        return self.target_sparsity is not None and sparsity >= self.target_sparsity


def build_mask_encoding(name: str, space: MaskSpace) -> MaskEncoding:
    """The encoding by name."""
    encoding: MaskEncoding = resolve("mask_encodings", name)(space)
    return encoding


def first_genomes(encoding: MaskEncoding, space: MaskSpace, also: Sequence[UnitBits] = ()) -> list[BitGenome]:
    """What a search begins with: solutions found before, then what each criterion alone would keep, and equal shares of all.

    Without criteria these are the solutions alone; without a goal there is nothing that a criterion could keep.
    """
    found = [encoding.encode(bits) for bits in also]
    if space.kept is not None:
        found += [encoding.encode(space.choose(keys), number) for number, keys in enumerate(space.orders.values())]
        found += [encoding.encode(uniform_bits(space, keys)) for keys in list(space.orders.values())[:1]]
    return list(dict.fromkeys(found))
