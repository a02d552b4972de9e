"""Causes of slow passes, on networks that are made to have them."""

import time

import pytest
import torch
from torch import nn

from evoprune.nn_utils.runtimes.names import EAGER
from evoprune.run.timing.causes import SlowPass, _alignment, causes
from evoprune.run.timing.layers import LayerTimes, time_layers
from evoprune.run.timing.traffic import bytes_moved

pytestmark = pytest.mark.usefixtures("seeded_torch")
CPU = torch.device("cpu")


class ManyCalls(nn.Module):
    """Hundreds of operations on next to nothing."""

    def forward(self, x):
        for _ in range(300):
            x = x + 1
        return x


class Mover(nn.Module):
    """Reads and writes a lot, and computes nothing."""

    def forward(self, x):
        return x.neg().neg()


def test_pass_that_waits_for_calls_is_launch_bound():
    found = causes(SlowPass(ManyCalls().eval(), ManyCalls(), torch.zeros(1, 4), 1, EAGER))
    assert "launch-bound: 4 times the samples take" in found[0]


def test_pass_that_moves_bytes_is_memory_bound_and_not_launch_bound():
    found = causes(SlowPass(Mover().eval(), Mover(), torch.zeros(1, 1_000_000), 4, EAGER))
    assert any(why.startswith("memory-bound: a pass reads and writes 64.0 MB; copying as much takes") for why in found)
    assert not any("launch-bound" in why for why in found)


class Sleeper(nn.Module):
    """As slow as its samples are many, for no reason that shows."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2000, 2000)

    def forward(self, x):
        time.sleep(0.002 * len(x))
        return x


def test_pass_for_which_nothing_accounts_says_so():
    found = causes(SlowPass(Sleeper().eval(), Sleeper(), torch.zeros(1, 4), 2, "onnxruntime of a test"))
    assert found == ("no cause was found: neither calls nor widths nor memory account for it",)
    found = causes(SlowPass(Sleeper().eval(), Sleeper(), torch.zeros(1, 4), 2, EAGER))
    assert found[0].startswith("other layers: convolutions and linear layers take 0.000 of ")


def test_alignment_is_named_where_rounded_layers_are_faster():
    times = LayerTimes(total_ms=3.0, step=8, uneven=("a", "b"), uneven_ms=2.0, rounded_ms=1.5)
    (line,) = _alignment(times)
    assert line.startswith("alignment: widths of 2 layers are no multiples of 8 (a, b); rounded up they take 1.500 ms")
    assert "search.round_to=8" in line
    assert list(_alignment(LayerTimes(3.0, 8, ("a",), 2.0, 1.95))) == []
    assert list(_alignment(LayerTimes(3.0, 8, (), 0.0, 0.0))) == []


def net(*, one=32, two=64, three=10):
    return nn.Sequential(
        nn.Conv2d(3, one, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Conv2d(one, two, 3),
        nn.Flatten(),
        nn.Linear(two * 36, three),
    ).eval()


def test_layers_whose_pruned_widths_are_odd_are_timed_rounded_up():
    found = time_layers(net(one=9, two=16), net(), torch.zeros(2, 3, 8, 8), CPU)
    assert found.step in (8, 16)
    assert found.uneven == ("0", "2")  # 3 inputs and 10 classes are not pruning's
    assert 0 < found.uneven_ms <= found.total_ms
    assert found.rounded_ms > 0
    assert time_layers(net(one=16), net(), torch.zeros(2, 3, 8, 8), CPU).uneven == ()


def test_rounded_layers_keep_the_layout():
    small = net(one=9).to(memory_format=torch.channels_last)
    images = torch.zeros(2, 3, 8, 8).to(memory_format=torch.channels_last)
    assert time_layers(small, net(), images, CPU).uneven == ("0", "2")


def test_bytes_of_operands_and_results_are_counted_and_views_are_not():
    assert bytes_moved(nn.ReLU(), torch.zeros(10, 10)) == 2 * 400
    assert bytes_moved(nn.Flatten(), torch.zeros(2, 5, 5)) == 0
    assert bytes_moved(nn.Linear(4, 3), torch.zeros(2, 4)) == 4 * (2 * 4 + 4 * 3 + 3 + 2 * 3)
