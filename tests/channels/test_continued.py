"""What one encoding chose, said in another; and channels swapped at fixed widths."""

from dataclasses import replace

import numpy as np
import pytest

from evoprune.channels.channel_bits import ChannelBits
from evoprune.channels.channel_widths import ChannelWidths
from evoprune.channels.first_generation import at_widths
from evoprune.genome import BitGenome
from evoprune.search.variation import variation_of
from tests.channels.test_channel_widths import DENSE, MACS, ORDERS, SETTINGS, SPACE, budget

SWAPS = replace(SETTINGS, mutation="swap", mutation_rate=1.0)


def random_units(count, seed=0):
    return [SPACE.random_bits(keep, seed + number) for number, keep in enumerate(np.linspace(0.2, 0.9, count))]


def test_units_of_a_plan_are_those_that_it_was_made_of():
    for units in random_units(20):
        assert np.array_equal(SPACE.units(SPACE.plan(units)), units)


def test_bits_say_any_choice_exactly():
    bits = ChannelBits(SPACE, orders=ORDERS)
    for units in random_units(20):
        assert np.array_equal(SPACE.units(bits.decode(bits.by_units(units))), units)


def test_widths_say_what_they_chose_exactly_where_the_criteria_are_the_same():
    one, generator = ChannelWidths(SPACE, budget=budget(0.4), orders=ORDERS), np.random.default_rng(0)
    for _ in range(20):
        genome = variation_of(one, SETTINGS).sample(generator)
        assert one.by_units(SPACE.units(one.decode(genome))) == genome


def test_widths_keep_the_widths_of_any_choice_and_take_the_criterion_that_is_closest():
    one = ChannelWidths(SPACE, orders=ORDERS)
    for units in random_units(20):
        genome = one.by_units(units)
        widths, criteria = one.genes(genome)
        assert list(widths) == list(one.prunable.counts(units))
        for group, width, criterion in zip(SPACE.groups, widths, criteria, strict=True):
            kept = set(np.flatnonzero(units[group.start : group.stop]))
            shared = [
                len(kept & set(np.argsort(-ORDERS.of(name)[group.start : group.stop], kind="stable")[:width]))
                for name in ORDERS.names
            ]
            assert shared[criterion] == max(shared)


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_bits_over_the_budget_lose_units_and_gain_none_where_groups_become_narrower(share):
    bits = ChannelBits(SPACE, budget=budget(share), orders=ORDERS)
    for units in random_units(10):
        kept = SPACE.units(bits.decode(bits.by_units(units)))
        assert MACS(kept[None])[0] <= share * DENSE
        for group in SPACE.groups:
            before, after = (one[group.start : group.stop] for one in (units, kept))
            assert (after & ~before).sum() == max(0, after.sum() - before.sum())


def test_every_criterion_fills_the_widths_given():
    bits = ChannelBits(SPACE, budget=budget(0.4), orders=ORDERS)
    widths = np.array([3, 4])
    found = at_widths(bits, ORDERS, widths)
    assert list(found) == list(ORDERS.names)
    for name, genome in found.items():
        for group, width in zip(SPACE.groups, widths, strict=True):
            first = np.argsort(-ORDERS.of(name)[group.start : group.stop], kind="stable")[:width]
            assert set(np.flatnonzero(genome.bits[group.start : group.stop])) == set(first)


def test_swaps_keep_widths_in_samples_children_and_mutants():
    bits, generator = ChannelBits(SPACE, budget=budget(0.4), orders=ORDERS), np.random.default_rng(0)
    given = list(at_widths(bits, ORDERS, np.array([3, 4])).values())
    variation = variation_of(bits, replace(SWAPS, initial=given))
    drawn = [variation.sample(generator) for _ in range(10)]
    children = [child for one in drawn for child in variation.cross(one, drawn[0], generator)]
    mutants = [variation.mutate(one, generator) for one in children]
    found = [*drawn, *children, *mutants]
    assert {tuple(bits.widths(one).values()) for one in found} == {(3, 4)}
    assert all(bits.repair(one) == one for one in found)
    assert len({one.digest for one in found}) > 10


def test_children_of_swaps_have_each_group_from_one_parent():
    bits, generator = ChannelBits(SPACE), np.random.default_rng(1)
    one, other = (BitGenome.from_bits(units) for units in random_units(2))
    for _ in range(10):
        for child in variation_of(bits, SWAPS).cross(one, other, generator):
            parts = [[g.bits[s.start : s.start + s.size] for g in (child, one, other)] for s in bits.segments]
            assert all(np.array_equal(own, a) or np.array_equal(own, b) for own, a, b in parts)


def test_swaps_of_genomes_with_several_widths_are_drawn_with_widths_of_their_own():
    bits, generator = ChannelBits(SPACE), np.random.default_rng(0)
    given = [BitGenome.from_bits(units) for units in random_units(2)]
    variation = variation_of(bits, replace(SWAPS, initial=given))
    assert len({tuple(bits.widths(variation.sample(generator)).values()) for _ in range(10)}) > 3
