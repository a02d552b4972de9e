import itertools

import numpy as np

from evoprune.seeding import SeedTree


def test_seed_is_pinned_because_journals_rest_on_it():
    assert SeedTree(0).child("finetune", "abc", 1).seed == 9131287535617579741
    assert SeedTree(0).seed == 4761921975702974394


def test_seeds_of_different_nodes_differ():
    nodes = [
        SeedTree(root).child(*names) for root in (0, 1) for names in itertools.permutations(["a", "b", "ab", 1, 2], 3)
    ]
    assert len({node.seed for node in nodes}) == len(nodes)
    assert all(0 <= node.seed < 2**63 for node in nodes)


def test_child_is_the_same_however_it_is_reached():
    tree = SeedTree(7)
    tree.child("elsewhere").generator().random(5)
    assert tree.child("a", 1) == tree.child("a").child("1")
    assert tree.child("a", 1).seed == SeedTree(7, ("a", "1")).seed


def test_generator_is_fresh_at_every_call():
    node = SeedTree(7).child("x")
    first, again, other = (one.generator().random(4) for one in (node, node, node.child("y")))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_seed_bits_are_evenly_spread():
    seeds = np.array([SeedTree(0).child(number).seed for number in range(2000)], dtype=np.int64)
    ones = ((seeds[:, None] >> np.arange(63)) & 1).mean(axis=0)
    assert np.abs(ones - 0.5).max() < 0.06
