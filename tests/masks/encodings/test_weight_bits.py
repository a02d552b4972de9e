import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.errors import UsageError
from evoprune.genome import BitGenome
from evoprune.masks import selection
from evoprune.masks.encodings import weight_bits
from evoprune.masks.encodings.weight_bits import WeightBits
from tests.masks.encodings.spaces import build_space, faults, largest_unit, outputs_first, spaces, weight

ROOT = Path(__file__).parents[3]


def random_genome(encoding, seed, share=None):
    generator = np.random.default_rng(seed)
    share = generator.random() if share is None else share
    return BitGenome.from_bits(generator.random(encoding.length) < share)


@given(spaces(goal=st.none() | st.floats(0, 1)), st.integers(0, 9999))
def test_repair_makes_any_genome_valid_and_leaves_valid_ones_alone(space, seed):
    encoding = WeightBits(space)
    genome = random_genome(encoding, seed)
    before = genome.bits
    repaired = encoding.repair(genome)
    assert faults(space, encoding.decode(repaired)) == []
    assert encoding.repair(repaired) is repaired
    assert encoding.repair(genome) == WeightBits(space).repair(genome)
    assert np.array_equal(genome.bits, before)


@given(spaces(goal=st.none() | st.floats(0, 1)), st.integers(0, 9999))
def test_repair_is_the_identity_whenever_nothing_is_wrong(space, seed):
    encoding = WeightBits(space)
    genome = random_genome(encoding, seed)
    assert (encoding.repair(genome) == genome) == (faults(space, encoding.decode(genome)) == [])


@given(spaces(structures=["unstructured"]), st.integers(0, 9999))
def test_repair_changes_as_few_bits_as_the_goal_takes(space, seed):
    encoding = WeightBits(space)
    genome = random_genome(encoding, seed)
    on, repaired = genome.bits, encoding.repair(genome).bits
    changes = int((on ^ repaired).sum())
    least = abs(int(on.sum()) - space.kept)
    # An output without any weight gets one, and another goes for it.
    outputs = sum(outputs_first(one)[0] for one in space.weights if one.name in space.live_outputs)
    assert least <= changes <= least + 2 * outputs


@given(spaces(), st.integers(0, 9999))
def test_encode_is_the_inverse_of_bits_of(space, seed):
    encoding = WeightBits(space)
    genome = random_genome(encoding, seed)
    assert encoding.encode(encoding.bits_of(genome)) == genome
    covered = [position for part in encoding.segments for position in range(part.start, part.start + part.size)]
    assert covered == list(range(encoding.length))


@pytest.mark.parametrize("orders", [0, 1])
def test_repair_drops_by_the_first_order_and_by_chance(orders):
    space = build_space([weight((40, 50))], kept=0.5, orders=orders)
    encoding = WeightBits(space)
    kept = [encoding.repair(random_genome(encoding, seed, 0.95)).bits for seed in range(60)]
    scores = np.random.default_rng(1).random(2000) if not orders else space.orders["order 0"]["w.weight"]
    low, high = scores < 0.25, scores > 0.75
    shares = np.array([[one[low].mean(), one[high].mean()] for one in kept]).mean(axis=0)
    assert 0 < shares[0] < 1
    assert (shares[1] - shares[0] > 0.5) if orders else abs(shares[1] - shares[0]) < 0.02
    # Digests seed the choice: what goes differs from genome to genome.
    assert np.mean(kept[0] ^ kept[1]) > 0.1


@pytest.mark.parametrize("kept", [0.1, 0.9])
def test_repair_does_not_depend_on_how_much_is_worked_on_at_once(kept, monkeypatch):
    space = build_space([weight((30, 40), name="a"), weight((20, 10), 1, "b")], kept=kept, orders=1, alive=0.95)
    genome = random_genome(WeightBits(space), 0, 0.5)
    whole = WeightBits(space).repair(genome)
    for module in (selection, weight_bits):
        monkeypatch.setattr(module, "CHUNK", 17)
    assert WeightBits(space).repair(genome) == whole


PROGRAM = """
from tests.masks.encodings.spaces import build_space, weight
from tests.masks.encodings.test_weight_bits import random_genome
from evoprune.masks.encodings.weight_bits import WeightBits
for structure in ("unstructured", "2:4", "4x4"):
    weights = [weight((9, 12, 3, 3)), weight((6, 10), 1, "up")]
    space = build_space(weights, structure, kept=0.4, alive=0.9, orders=1, live_outputs=True)
    encoding = WeightBits(space)
    print(*(encoding.repair(random_genome(encoding, seed)).digest for seed in range(3)))
"""


@pytest.mark.slow
def test_repair_gives_the_same_genomes_in_other_processes(capsys):
    exec(PROGRAM, {})
    here = capsys.readouterr().out
    there = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert there.stdout == here
    assert len(set(here.split())) == 9


def test_weight_bits_refuses_a_space_with_nothing_alive():
    space = build_space([weight((3, 4))])
    space.alive["w.weight"][:] = False
    with pytest.raises(UsageError, match="no weights left"):
        WeightBits(space)


def test_units_of_different_sizes_fill_the_goal_to_less_than_one_unit():
    space = build_space([weight((4, 30), name="wide"), weight((20, 3), name="narrow")], "rows", kept=0.5)
    encoding = WeightBits(space)
    kept = [encoding.decode(encoding.repair(random_genome(encoding, seed))).kept for seed in range(40)]
    assert largest_unit(space) == 30
    assert all(space.kept - 30 < one <= space.kept for one in kept)
    assert len(set(kept)) > 1
