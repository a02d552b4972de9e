import numpy as np
import pytest
import torch
from torch import nn

from evoprune.channels.channel_bits import ChannelBits
from evoprune.errors import UnsupportedModelError
from evoprune.genome import BitGenome
from evoprune.rng import isolated_rng
from evoprune.space.analysis import trace_space

pytestmark = pytest.mark.usefixtures("seeded_torch")

with isolated_rng(0):
    MODEL = nn.Sequential(nn.Conv2d(1, 10, 3), nn.ReLU(), nn.Flatten(), nn.Linear(160, 12), nn.ReLU(), nn.Linear(12, 2))


@pytest.fixture(scope="module")
def space():
    return trace_space(MODEL, torch.zeros(1, 1, 6, 6))


def genome(*ones, length=22):
    bits = np.zeros(length, dtype=bool)
    bits[list(ones)] = True
    return BitGenome.from_bits(bits)


def test_segments_cover_the_chosen_groups(space):
    assert [(s.name, s.start, s.size) for s in ChannelBits(space).segments] == [("0", 0, 10), ("3", 10, 12)]
    linear = ChannelBits(space, layer_types=("linear",))
    assert [(s.name, s.start, s.size) for s in linear.segments] == [("3", 0, 12)]
    assert linear.decode(genome(1, 2, length=12)).kept.keys() == {"3.weight", "3.bias", "5.weight"}


def test_repair_fills_an_empty_layer_deterministically(space):
    encoding = ChannelBits(space)
    repaired = encoding.repair(genome(3))
    assert repaired == encoding.repair(genome(3))
    assert repaired.bits[:10].sum() == 1
    assert repaired.bits[10:].sum() == 1
    assert encoding.repair(repaired) is repaired


def test_repair_rounds_to_the_nearest_multiple(space):
    encoding = ChannelBits(space, round_to=4)
    counts = {kept: int(encoding.repair(genome(*range(kept), *range(10, 14))).bits[:10].sum()) for kept in range(11)}
    assert counts == {0: 4, 1: 4, 2: 4, 3: 4, 4: 4, 5: 4, 6: 8, 7: 8, 8: 8, 9: 10, 10: 10}


@pytest.mark.parametrize(
    ("size", "widths"),
    [
        (3, [1, 2, 3]),
        (6, [1, 2, 3, 4, 5, 6]),
        (8, [2, 4, 6, 8]),
        (12, [2, 4, 6, 8, 10, 12]),
        (15, [2, 4, 6, 8, 10, 12, 14, 15]),
        (16, [8, 16]),
        (20, [8, 16, 20]),
        (27, [8, 16, 24, 27]),
    ],
)
def test_repair_leaves_no_layer_too_narrow_to_be_pruned(size, widths):
    model = nn.Sequential(nn.Conv2d(1, size, 3), nn.ReLU(), nn.Flatten(), nn.Linear(size, 2))
    encoding = ChannelBits(trace_space(model, torch.zeros(1, 1, 3, 3)), round_to=8)
    kept = {int(encoding.repair(genome(*range(count), length=size)).bits.sum()) for count in range(size + 1)}
    assert sorted(kept) == widths


def test_repair_rounds_channels_and_not_heads_of_many():
    with isolated_rng(0):
        layer = nn.TransformerEncoderLayer(48, nhead=6, dim_feedforward=20, batch_first=True)
    encoding = ChannelBits(trace_space(layer, torch.zeros(1, 5, 48)), round_to=8)
    heads = next(segment for segment in encoding.segments if segment.size == 6)
    for count in range(1, 7):
        bits = np.ones(encoding.length, dtype=bool)
        bits[heads.start + count : heads.start + heads.size] = False
        assert encoding.repair(BitGenome.from_bits(bits)).bits[heads.start : heads.start + 6].sum() == count


def test_repair_prefers_no_channel(space):
    encoding = ChannelBits(space)
    generator = np.random.default_rng(0)
    chosen = np.zeros(10)
    for _ in range(2000):
        bits = generator.random(22) < 0.5
        bits[:10] = False
        chosen += encoding.repair(BitGenome.from_bits(bits)).bits[:10]
    assert chosen.min() > 140
    assert chosen.max() < 260


def test_nothing_left_to_prune_names_the_reasons(space):
    with pytest.raises(UnsupportedModelError, match="conv, linear"):
        ChannelBits(space, layer_types=("embedding",))
    with pytest.raises(UnsupportedModelError, match="reaches the model's output"):
        ChannelBits(trace_space(nn.Linear(4, 2), torch.randn(1, 4)))
