import numpy as np
import pytest
import torch

from evoprune.channels.analyze import analyze
from evoprune.channels.channel_bits import ChannelBits
from evoprune.channels.channel_widths import ChannelWidths
from evoprune.channels.first_generation import along_a_front, at_budget
from evoprune.channels.importance.scores import importance
from evoprune.channels.orders import Orders
from evoprune.channels.size_cost import size_cost
from evoprune.channels.surgery import prune
from evoprune.errors import UsageError
from evoprune.genome import BitGenome
from evoprune.objectives.compute import count
from evoprune.search.base import SearchSettings
from evoprune.space.budget import Budget
from evoprune.space.counted_cost import CountedCost
from evoprune.testing.encoding_suite import EncodingSuite, network
from evoprune.testing.tiny import SIDE

MODEL, INPUTS = network(), torch.zeros(1, 3, SIDE, SIDE)
SPACE = analyze(MODEL, INPUTS)
MACS = CountedCost(SPACE, "macs")
DENSE = float(MACS(np.ones((1, SPACE.size), bool))[0])
CRITERIA = ("l1", "group_magnitude", "fpgm")
ORDERS = Orders(CRITERIA, np.stack([importance(MODEL, SPACE, name) for name in CRITERIA]))
SETTINGS = SearchSettings(8, 0.3, 0.9, 2, 2, (0.2, 0.9))


def budget(share):
    return Budget({"macs": MACS}, {"macs": share * DENSE})


def encoding(share=0.4, round_to=1, orders=ORDERS):
    return ChannelWidths(SPACE, round_to=round_to, budget=budget(share), orders=orders)


class TestChannelWidths(EncodingSuite):
    def encoding(self, space):
        return ChannelWidths(space, orders=ORDERS)


class TestChannelWidthsWithinABudget(EncodingSuite):
    genomes = 6

    def encoding(self, space):
        return encoding()


@pytest.mark.parametrize("kind", [ChannelWidths, ChannelBits])
@pytest.mark.parametrize("share", [0.12, 0.3, 0.7])
def test_every_genome_keeps_the_budget_when_it_is_built_and_counted(kind, share):
    one, generator = kind(SPACE, budget=budget(share), orders=ORDERS), np.random.default_rng(0)
    for _ in range(5):
        packed = generator.integers(0, 256, size=(one.length + 7) // 8, dtype=np.uint8)
        genome = one.repair(BitGenome(packed, one.length))
        assert count(prune(MODEL, one.decode(genome)), INPUTS).macs <= share * DENSE


def test_criterion_decides_which_units_stay_and_width_how_many():
    one = ChannelWidths(SPACE, orders=ORDERS)
    for number, name in enumerate(CRITERIA):
        widths, criteria = one.genes(one.genome(np.array([3, 5]), [number, number]))
        plan = one.decode(one.genome(widths, criteria))
        best = np.sort(np.argsort(-ORDERS.of(name)[:8], kind="stable")[:3])
        assert plan.kept["conv1.weight"][0].tolist() == best.tolist()
        assert one.widths(one.genome(widths, criteria)) == {"conv1": 3, "conv2": 5}


def test_equal_choices_have_one_genome():
    same = Orders(("one", "other"), np.stack([ORDERS.of("l1")] * 2))
    one = encoding(orders=same)
    assert one.genome(np.array([4, 4]), [0, 0]) == one.genome(np.array([4, 4]), [1, 1])


def test_first_generation_is_every_criterion_at_the_budget_global_and_uniform():
    one = encoding(0.3)
    first = at_budget(one)
    assert list(first) == [f"{name} {scope}" for name in CRITERIA for scope in ("global", "uniform")]
    for name in CRITERIA:
        bits = SPACE.plan_by_importance(ORDERS.of(name), macs=0.3, scope="global")
        ours = one.decode(first[f"{name} global"])
        shapes = [prune(MODEL, plan).conv1.out_channels for plan in (bits, ours)]
        assert abs(shapes[0] - shapes[1]) <= 2


def test_front_begins_with_slight_cuts_and_deep_ones():
    one = ChannelWidths(SPACE, orders=ORDERS)
    first = along_a_front(one, MACS, 8)
    macs = [count(prune(MODEL, one.decode(genome)), INPUTS).macs / DENSE for genome in first.values()]
    assert macs[0] > 0.5
    assert macs[-1] < 0.15
    assert next(iter(first)) == f"{CRITERIA[0]} global 70 %"
    assert len(first) == 8


def test_unreachable_budget_is_refused_and_coarse_steps_give_way_first():
    fine = ChannelWidths(SPACE, round_to=8, budget=budget(0.1), orders=ORDERS)
    widths, _ = fine.genes(fine.genome(np.array([1.0, 1.0]), [0, 0]))
    assert count(prune(MODEL, fine.decode(fine.genome(widths, [0, 0]))), INPUTS).macs <= 0.1 * DENSE
    with pytest.raises(UsageError, match="at least"):
        encoding(0.0001)


def test_variation_gives_valid_genomes_that_differ_and_keeps_to_the_parents_when_crossing():
    one, generator = ChannelWidths(SPACE, orders=ORDERS), np.random.default_rng(1)
    variation = one.variation(SETTINGS)
    parents = [variation.sample(generator) for _ in range(2)]
    children = variation.cross(*parents, generator)
    mutants = [variation.mutate(parents[0], generator) for _ in range(10)]
    assert all(one.repair(genome) == genome for genome in (*parents, *children, *mutants))
    assert len(set(mutants)) > 2


@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_budget_of_bytes_is_kept_by_the_file_and_nearly_used_up(share):
    cost = size_cost(MODEL, SPACE)
    dense = count(MODEL, INPUTS).size_bytes
    assert cost(np.ones((1, SPACE.size), bool))[0] == dense
    one = ChannelWidths(SPACE, budget=Budget({"size_bytes": cost}, {"size_bytes": share * dense}), orders=ORDERS)
    small = prune(MODEL, one.decode(one.genome(one.sizes, [0, 0])))
    assert count(small, INPUTS).size_bytes <= share * dense
    assert count(small, INPUTS).size_bytes >= 0.7 * share * dense


def test_child_between_two_has_widths_between_theirs_and_the_criteria_of_one():
    one, generator = ChannelWidths(SPACE, orders=ORDERS), np.random.default_rng(1)
    variation, last = one.variation(SETTINGS), len(ORDERS.names) - 1
    groups = len(one.sizes)
    small, large = one.genome(one.sizes / 8, [0] * groups), one.genome(0.75 * one.sizes, [last] * groups)
    children = [variation.between(small, large, generator) for _ in range(40)]
    found = [one.genes(child) for child in children]
    assert all(np.all((one.genes(small)[0] <= widths) & (widths <= one.genes(large)[0])) for widths, _ in found)
    assert len({tuple(widths) for widths, _ in found}) > 5
    by_small, by_large = (
        [child == one.genome(widths, one.genes(parent)[1]) for child, (widths, _) in zip(children, found, strict=True)]
        for parent in (small, large)
    )
    assert all(np.logical_or(by_small, by_large))
    assert not all(by_small)
    assert not all(by_large)


@pytest.mark.parametrize("exclude", ["conv1", "conv2", "fc*"])
def test_bytes_of_plans_are_those_counted_where_layers_are_left_alone(exclude):
    space = analyze(MODEL, INPUTS, exclude=[exclude])
    cost = size_cost(MODEL, space)
    assert cost(np.ones((1, space.size), bool))[0] == count(MODEL, INPUTS).size_bytes
    plan = space.random_plan(0.5, 0)
    counted = count(prune(MODEL, plan), INPUTS).size_bytes
    assert counted <= cost(space.units(plan)[None])[0] <= 1.1 * counted
