"""Masks that let pruned weights come back: a share of what stays makes room for those that the loss asks for most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evoprune.genome import Bits
from evoprune.masks.selection import FORCED, NEVER
from evoprune.masks.space import MaskSpace, UnitKeys


def choose_with_regrowth(space: MaskSpace, keys: UnitKeys, growth: UnitKeys, share: float) -> dict[str, Bits]:
    """As many units as `space.choose` gives, of which some are pruned ones that come back.

    Args:
        space: Says what is alive, and how many weights stay.
        keys: Importance of the units that are alive, higher stays longer.
        growth: Worth of the pruned units, such as the mean squared gradient of their weights; the highest come back.
        share: Share of the kept weights that make room, 0 to 1; less where fewer are pruned, or outputs need theirs to live.

    Source:
        Evci et al. 2020, RigL, arXiv:1911.11134: drop by magnitude, grow by gradient. Here both happen before a step's training.
    """
    assert space.kept is not None
    pruned = sum(space.weights_in(weight, ~space.alive[weight.name]) for weight in space.weights)
    room = min(round(share * space.kept), pruned, space.kept - max(1, space.least_kept))
    if room <= 0:
        return space.choose(keys)
    staying = replace(space, kept=space.kept - room).choose(keys)
    ranks = {
        name: np.where(staying[name], FORCED, np.where(alive, NEVER, growth[name])).astype(np.float32)
        for name, alive in space.alive.items()
    }
    everything = {name: np.ones_like(alive) for name, alive in space.alive.items()}
    # What stays has outputs alive already; those that are gone needn't come back.
    return replace(space, alive=everything, live_outputs=frozenset()).choose(ranks)
