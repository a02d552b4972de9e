from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.masks.regrowth import choose_with_regrowth
from tests.masks.encodings.spaces import build_space, faults, spaces, weight


def keys_of(space, seed):
    generator = np.random.default_rng(seed)
    return {name: generator.random(len(units)).astype(np.float32) for name, units in space.alive.items()}


@given(spaces(), st.integers(0, 9999), st.floats(0, 1))
def test_masks_with_regrowth_meet_the_goal_and_the_structure(space, seed, share):
    chosen = choose_with_regrowth(space, keys_of(space, seed), keys_of(space, seed + 1), share)
    everything = {name: np.ones_like(alive) for name, alive in space.alive.items()}
    whole = replace(space, alive=everything, live_outputs=frozenset())
    assert faults(whole, whole.plan(chosen)) == []
    assert whole.fits(chosen)
    assert space.well_formed({name: bits & space.alive[name] for name, bits in chosen.items()})


def test_lowest_keys_make_room_for_the_highest_growth_of_what_was_pruned():
    space = build_space([weight((1, 8), name="a")], kept=0.5)
    alive = np.array([True] * 6 + [False] * 2)
    space = replace(space, alive={"a.weight": alive}, kept=4)
    keys = {"a.weight": np.array([6, 5, 4, 3, 2, 1, 99, 98], np.float32)}
    growth = {"a.weight": np.array([99, 99, 99, 99, 99, 99, 1, 2], np.float32)}
    assert choose_with_regrowth(space, keys, growth, 0.25)["a.weight"].nonzero()[0].tolist() == [0, 1, 2, 7]
    assert choose_with_regrowth(space, keys, growth, 0.5)["a.weight"].nonzero()[0].tolist() == [0, 1, 6, 7]
    assert choose_with_regrowth(space, keys, growth, 0.0)["a.weight"].nonzero()[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_nothing_comes_back_where_nothing_was_pruned(share):
    space = build_space([weight((4, 4), name="a")], kept=0.5)
    keys = keys_of(space, 0)
    chosen = choose_with_regrowth(space, keys, keys_of(space, 1), share)
    assert np.array_equal(chosen["a.weight"], space.choose(keys)["a.weight"])
