from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.errors import UsageError
from evoprune.masks.space import MaskSpace
from tests.masks.encodings.spaces import STRUCTURES, build_space, faults, spaces, weight


def random_keys(space, seed):
    generator = np.random.default_rng(seed)
    return {name: generator.random(len(units)).astype(np.float32) for name, units in space.alive.items()}


@given(spaces(), st.integers(0, 9999))
def test_choose_gives_valid_plans_and_leaves_the_keys_alone(space, seed):
    keys = random_keys(space, seed)
    before = {name: one.copy() for name, one in keys.items()}
    chosen = space.choose(keys)
    assert faults(space, space.plan(chosen)) == []
    assert space.fits(chosen)
    assert all(np.array_equal(keys[name], before[name]) for name in keys)


@given(spaces(goal=st.none()), st.integers(0, 9999))
def test_mended_bits_are_well_formed_and_stay_so(space, seed):
    generator, keys = np.random.default_rng(seed), random_keys(space, seed)
    bits = {name: generator.random(len(units)) < 0.5 for name, units in space.alive.items()}
    mended = {one.name: space.mended(one, bits[one.name], keys[one.name]) for one in space.weights}
    assert faults(space, space.plan(mended)) == []
    assert space.well_formed(mended)
    again = {one.name: space.mended(one, mended[one.name], keys[one.name]) for one in space.weights}
    assert all(np.array_equal(mended[name], again[name]) for name in mended)


@given(spaces(goal=st.none()), st.integers(0, 9999))
def test_well_formed_says_whether_a_plan_is_without_faults(space, seed):
    generator = np.random.default_rng(seed)
    bits = {name: units & (generator.random(len(units)) < 0.6) for name, units in space.alive.items()}
    assert space.well_formed(bits) == (faults(space, space.plan(bits)) == [])


@given(st.integers(0, 9999), st.floats(0, 1))
def test_choose_keeps_the_highest_keys_over_all_layers(seed, kept):
    space = build_space([weight((5, 7), name="a"), weight((3, 4, 2, 2), 1, "b")], kept=kept, alive=0.8, seed=seed)
    keys = random_keys(space, seed)
    living = np.concatenate([keys[name][space.alive[name]] for name in keys])
    border = np.sort(living)[-space.kept]
    for name, bits in space.choose(keys).items():
        assert np.array_equal(bits, space.alive[name] & (keys[name] >= border))


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize(("shape", "output_dim"), [((6, 10, 3), 0), ((10, 6, 3), 1)])
def test_unit_sizes_are_the_weights_that_a_unit_prunes(structure, shape, output_dim):
    one = weight(shape, output_dim)
    space = build_space([one], structure)
    units = len(space.alive["w.weight"])
    sizes = np.broadcast_to(space.unit_sizes(one), units)
    for unit in range(units):
        alone = np.arange(units) == unit
        assert space.plan({"w.weight": alone}).kept == sizes[unit] == space.weights_in(one, alone)


@pytest.mark.parametrize(
    ("structure", "kept", "message"),
    [
        ("unstructured", 0, "can't be kept"),
        ("unstructured", 33, "can't be kept"),
        ("unstructured", 3, "too few for every output"),
        ("2:4", 17, "as many as are left and as 2:4 allows"),
        ("rows", 7, "too few for every output"),
    ],
)
def test_space_refuses_goals_that_no_plan_can_meet(structure, kept, message):
    space = build_space([weight((4, 8))], structure, live_outputs=True)
    with pytest.raises(UsageError, match=message):
        replace(space, kept=kept)


@pytest.mark.parametrize(("structure", "least", "most"), [("unstructured", 4, 32), ("2:4", 4, 16), ("rows", 8, 32)])
def test_space_takes_goals_up_to_its_limits(structure, least, most):
    space = build_space([weight((4, 8))], structure, live_outputs=True)
    for kept in (least, most):
        limited = replace(space, kept=kept)
        assert faults(limited, limited.plan(limited.choose(random_keys(limited, 0)))) == []


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_space_refuses_scores_that_are_no_numbers(score):
    space = build_space([weight((4, 8))], orders=1)
    space.orders["order 0"]["w.weight"][3] = score
    with pytest.raises(UsageError, match=r"order 0 has scores of w\.weight"):
        replace(space, kept=5)


def test_space_refuses_arrays_of_other_sizes():
    space = build_space([weight((4, 8))])
    with pytest.raises(UsageError, match="alive doesn't have the 4 units"):
        replace(space, structure=build_space([weight((4, 8))], "rows").structure)
    with pytest.raises(UsageError, match=r"units of w\.weight"):
        MaskSpace(space.weights, {}, None, {}, space.structure, frozenset(), "")
