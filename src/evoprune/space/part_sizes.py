"""Attributes that hold the sizes of parts of a dimension, as rules that follow a plan."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from evoprune.space.groups import Count, SizeRule
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


def _count(atoms: Vector, blocks: list[Block], starts: list[int]) -> Count:
    live = atoms[atoms != FIXED]
    owners = np.array([bisect_right(starts, atom) - 1 for atom in live.tolist()], dtype=np.int64)
    parts = tuple(
        ((blocks[owner].tensor, blocks[owner].dim), (live[owners == owner] - starts[owner]).astype(np.int32))
        for owner in dict.fromkeys(owners.tolist())
    )
    return Count(len(atoms) - len(live), parts)
