import pickle
from math import ceil, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.errors import ConfigError, UsageError
from evoprune.masks.n_of_m import NOfM
from evoprune.masks.structure_names import parse_structure
from evoprune.masks.structures import COLUMNS, ROWS, Blocks, Unstructured

STRUCTURES = [
    Unstructured(),
    ROWS,
    COLUMNS,
    Blocks(4, 4),
    Blocks(1, 3),
    Blocks(5, 2),
    NOfM(2, 4),
    NOfM(1, 4),
    NOfM(4, 8),
]
SHAPES = [(8, 16), (5, 7), (1, 1), (3, 1, 5, 5), (6, 10, 3, 3), (9, 6, 2)]
cases = st.tuples(st.sampled_from(STRUCTURES), st.sampled_from(SHAPES), st.integers(0, 2**32 - 1))


def unit_of(structure, where, shape):
    """The number of the unit that a weight belongs to, from the definition."""
    row, column, *kernel = where
    match structure:
        case Blocks(rows, columns):
            grid = (ceil(shape[0] / rows), ceil(shape[1] / columns), *shape[2:])
            return int(np.ravel_multi_index((row // rows, column // columns, *kernel), grid))
        case NOfM() | Unstructured():
            return int(np.ravel_multi_index(where, shape))
    return column if structure == COLUMNS else row


def groups_of(structure, shape):
    """The weights of every N:M group, one list a group."""
    groups = {}
    for where in np.ndindex(shape):
        row, column, *kernel = where
        groups.setdefault((row, column // structure.m, *kernel), []).append(int(np.ravel_multi_index(where, shape)))
    return list(groups.values())


@given(cases)
def test_expand_and_reduce_follow_the_definition(case):
    structure, shape, seed = case
    generator = np.random.default_rng(seed)
    values, scores = generator.random(structure.units(shape)), generator.random(shape)
    spread, means = structure.expand(values, shape), structure.reduce(scores, shape)
    members = {}
    for where in np.ndindex(shape):
        unit = unit_of(structure, where, shape)
        assert spread[where] == values[unit]
        members.setdefault(unit, []).append(scores[where])
    assert sorted(members) == list(range(structure.units(shape)))
    assert means == pytest.approx([np.mean(members[unit]) for unit in sorted(members)])
    assert (spread.shape, means.shape) == (shape, (structure.units(shape),))


@given(cases)
def test_repair_is_pure_idempotent_and_only_takes_away(case):
    structure, shape, seed = case
    generator = np.random.default_rng(seed)
    bits, order = generator.random(structure.units(shape)) < 0.7, generator.random(structure.units(shape))
    before = bits.copy(), order.copy()
    repaired = structure.repair(bits, shape, order)
    assert np.array_equal(bits, before[0])
    assert np.array_equal(order, before[1])
    assert not (repaired & ~bits).any()
    assert structure.repair(repaired, shape, order) is repaired
    assert structure.expand(repaired, shape).dtype == np.bool_


@given(st.sampled_from([NOfM(2, 4), NOfM(1, 4), NOfM(4, 8), NOfM(1, 2)]), st.sampled_from(SHAPES), st.integers(0, 9999))
def test_n_of_m_keeps_the_best_of_every_group(structure, shape, seed):
    generator = np.random.default_rng(seed)
    bits, order = generator.random(prod(shape)) < 0.8, generator.integers(0, 4, prod(shape))
    expected = np.zeros_like(bits)
    for group in groups_of(structure, shape):
        ranked = sorted((unit for unit in group if bits[unit]), key=lambda unit: (-order[unit], unit))
        expected[ranked[: structure.n]] = True
    assert np.array_equal(structure.repair(bits, shape, order), expected)


def test_n_of_m_groups_run_along_the_inputs():
    order = np.arange(16).reshape(2, 4, 2)
    kept = NOfM(2, 4).repair(np.ones(16, bool), (2, 4, 2), order.ravel()).reshape(2, 4, 2)
    assert kept[0].tolist() == [[False] * 2, [False] * 2, [True] * 2, [True] * 2]


def test_structures_count_their_units():
    shape = (20, 50, 3, 3)
    counts = {str(structure): structure.units(shape) for structure in STRUCTURES}
    assert counts["rows"], counts["columns"] == (20, 50)
    assert counts["4x4"] == 5 * 13 * 9
    assert counts["2:4"] == counts["unstructured"] == 9000


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_structure_is_found_by_its_name_and_pickles(structure):
    assert parse_structure(str(structure)) == structure == pickle.loads(pickle.dumps(structure))


@pytest.mark.parametrize("structure", STRUCTURES[1:], ids=str)
def test_structure_refuses_weights_of_one_dimension(structure):
    with pytest.raises(UsageError, match=r"needs weights of two dimensions or more, not of shape \[5\]"):
        structure.units((5,))


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        (" Unstructured ", Unstructured()),
        ("blocks 4x8", Blocks(4, 8)),
        ("4X8", Blocks(4, 8)),
        ("2 : 4", NOfM(2, 4)),
        ("ROWS", ROWS),
    ],
)
def test_parse_structure_is_lenient_about_spaces_and_case(name, structure):
    assert parse_structure(name) == structure


@pytest.mark.parametrize(
    "name", ["", "2:", "row", "2:4:8", "-1:4", "4x", "blocks", "blocks 2:4", "4x4x4", "1.5:4", "٢:٤"]
)
def test_parse_structure_lists_what_is_accepted(name):
    with pytest.raises(ConfigError, match=r"there is no structure .* \(accepted: unstructured, N:M"):
        parse_structure(name)


@pytest.mark.parametrize("name", ["0:4", "4:4", "5:4", "1:99999", "0x4", "4x99999"])
def test_parse_structure_refuses_numbers_that_make_none(name):
    with pytest.raises(ConfigError, match=f"structure '{name}': "):
        parse_structure(name)
