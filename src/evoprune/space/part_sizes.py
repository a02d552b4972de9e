"""What follows from a plan for modules that have no weight to tell it: sizes of parts, and what is normalised."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

from evoprune.space.groups import Axis, Count, NormRule, SizeRule
from evoprune.space.tracing.labels import FIXED, Block, Couplings, Vector


def size_rules(couplings: Couplings) -> tuple[SizeRule, ...]:
    """One rule for each attribute that the trace saw a dimension cut by."""
    blocks = list(couplings.blocks.values())
    starts = [block.start for block in blocks]
    rules: dict[tuple[str, str], SizeRule] = {}
    for sizing in couplings.sizings:
        counts = tuple(_count(atoms, blocks, starts) for atoms in sizing.parts)
        rules.setdefault(
            (sizing.module, sizing.attribute), SizeRule(sizing.module, sizing.attribute, counts, sizing.several)
        )
    return tuple(rules.values())


def norm_rules(couplings: Couplings) -> tuple[NormRule, ...]:
    """One rule for each layer without weights that normalises a dimension."""
    blocks = list(couplings.blocks.values())
    starts = [block.start for block in blocks]
    rules: dict[str, NormRule] = {}
    for norm in couplings.plain_norms:
        rules.setdefault(norm.module, NormRule(norm.module, len(norm.atoms), _parts(norm.atoms, blocks, starts)))
    return tuple(rules.values())


def _count(atoms: Vector, blocks: list[Block], starts: list[int]) -> Count:
    parts = _parts(atoms, blocks, starts)
    return Count(int((atoms == FIXED).sum()), tuple((axis, positions) for axis, positions, _ in parts))


def _parts(
    atoms: Vector, blocks: list[Block], starts: list[int]
) -> tuple[tuple[Axis, NDArray[np.int32], NDArray[np.int32]], ...]:
    """Per axis that the label comes from: positions there, and places in the label."""
    places = np.flatnonzero(atoms != FIXED)
    live = atoms[places]
    owners = np.array([bisect_right(starts, atom) - 1 for atom in live.tolist()], dtype=np.int64)
    return tuple(
        (
            (blocks[owner].tensor, blocks[owner].dim),
            (live[owners == owner] - starts[owner]).astype(np.int32),
            places[owners == owner].astype(np.int32),
        )
        for owner in dict.fromkeys(owners.tolist())
    )
