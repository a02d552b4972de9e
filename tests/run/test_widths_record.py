import numpy as np
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.channel_bits import ChannelBits
from evoprune.channels.channel_widths import ChannelWidths
from evoprune.channels.orders import Orders
from evoprune.objectives.cost import Macs
from evoprune.objectives.loss import MeanLoss
from evoprune.pruning import prune
from evoprune.results import Evaluation, Status
from evoprune.run.widths_record import recorded_widths
from evoprune.store.journal import JournalEntry


def network():
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 6), nn.ReLU(), nn.Linear(6, 3))
    return model, analyze(model, torch.zeros(1, 1, 8, 8))


def entry(index, genome, *, generation=0, parents=(), loss=1.0):
    evaluation = Evaluation(genome.digest, generation, Status.OK, {"loss": loss, "macs": 100.0 - index})
    return JournalEntry(index, generation, genome, evaluation, -loss, {}, tuple(one.digest for one in parents))


def genomes_of(encoding, count):
    random = np.random.default_rng(0)
    sizes = encoding.sizes
    return [
        encoding.genome(random.integers(1, sizes + 1), random.integers(0, len(encoding.orders.names), len(sizes)))
        for _ in range(count)
    ]


def test_recorded_widths_are_those_of_the_pruned_network(seeded_torch):
    model, space = network()
    orders = Orders(("l1", "l2"), np.random.default_rng(1).normal(size=(2, space.size)))
    encoding = ChannelWidths(space, orders=orders)
    genomes = genomes_of(encoding, 6)
    entries = [entry(index, genome) for index, genome in enumerate(genomes)]
    recorded = recorded_widths(space, encoding, entries, [MeanLoss(), Macs()], entries[0])
    assert [group.size for group in recorded.groups] == [8, 6]
    assert recorded.frozen == {one.name: one.reason for one in space.frozen}
    for genome in genomes:
        found, pruned = recorded.networks[genome.digest], prune(model, encoding.decode(genome))
        assert found.widths == (pruned[0].out_channels, pruned[3].out_features)
        assert [orders.names.index(one) for one in found.criteria] == encoding.genes(genome)[1].tolist()


def test_recorded_are_the_front_the_best_and_all_ancestors(seeded_torch, monkeypatch):
    monkeypatch.setattr("evoprune.run.widths_record.MOST", 1)
    _, space = network()
    encoding = ChannelWidths(space, orders=Orders(("l1",), np.arange(space.size, dtype=float)[None]))
    root, other, parent, best, front = list(dict.fromkeys(genomes_of(encoding, 40)))[:5]
    entries = [
        entry(0, root, loss=9.0),
        entry(1, other, loss=8.0),
        entry(2, parent, generation=1, parents=[root], loss=5.0),
        entry(3, best, generation=2, parents=[parent], loss=1.0),
        entry(4, front, generation=2, loss=4.0),
    ]
    recorded = recorded_widths(space, encoding, entries, [MeanLoss(), Macs()], entries[3])
    assert set(recorded.networks) == {one.digest for one in (root, parent, best, front)}


def test_bits_have_widths_and_no_criteria(seeded_torch):
    _, space = network()
    encoding = ChannelBits(space)
    genome = encoding.repair(encoding.by_criterion(np.array([3, 2]), encoding.orders.names[0]))
    recorded = recorded_widths(space, encoding, [entry(0, genome)], [MeanLoss(), Macs()], entry(0, genome))
    assert recorded.networks[genome.digest].widths == tuple(encoding.widths(genome).values())
    assert recorded.networks[genome.digest].criteria == ()
