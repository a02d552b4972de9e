import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.latency import timing
from evoprune.channels.latency.calls import layer_calls
from evoprune.channels.latency.grids import increasing, time_layers

CPU = torch.device("cpu")
IDLE_S, WEIGHT_S = 1e-4, 1e-6


class Clockwork:
    """A runtime of a clock of its own: a call takes a constant and a microsecond for each weight."""

    label, in_blocks = "clockwork", False

    def __init__(self, monkeypatch, *, idles=True):
        self.now, self.idles = 0.0, idles
        monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def device(self, wanted):
        return wanted

    def runner(self, module, call):
        return self._taking(IDLE_S + WEIGHT_S * module.weight.numel())

    def idle(self):
        return self._taking(IDLE_S) if self.idles else None

    def _taking(self, seconds):
        def run():
            self.now += seconds

        return run


@pytest.fixture
def calls(seeded_torch):
    model = nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 20, 3), nn.ReLU(), nn.Conv2d(20, 64, 1)).eval()
    inputs = torch.zeros(1, 3, 8, 8)
    return lambda **options: layer_calls(model, analyze(model, inputs, self_check=False), inputs, **options)


@pytest.mark.parametrize("idles", [True, False])
def test_layers_are_timed_without_what_every_call_takes_besides(calls, monkeypatch, idles):
    found = time_layers(calls(), Clockwork(monkeypatch, idles=idles), CPU, rounds=3, seconds=1.0)
    first, second = (found.grids[found.numbers[place]] for place in (0, 1))
    more = 0 if idles else 1000 * IDLE_S
    assert first.ms == pytest.approx(more + 1000 * WEIGHT_S * 27 * np.array(first.nodes[0]))
    outputs, inputs = np.meshgrid(*map(np.array, second.nodes), indexing="ij")
    assert second.ms == pytest.approx(more + 1000 * WEIGHT_S * 9 * outputs * inputs)


def test_kernels_that_compute_in_blocks_are_timed_at_every_block_of_a_narrow_group(seeded_torch):
    layers = [(nn.Linear(one, other), nn.ReLU()) for one, other in itertools.pairwise((5, 64, 24, 512, 2))]
    model, inputs = nn.Sequential(*itertools.chain(*layers)).eval(), torch.zeros(1, 5)
    space = analyze(model, inputs, self_check=False)
    widths = [
        [[node.width for node in nodes] for nodes in call.nodes]
        for call in layer_calls(model, space, inputs, in_blocks=True)
    ]
    assert widths[0] == [[1, 8, 16, 24, 32, 40, 48, 56, 64]]
    assert widths[1] == [[1, 8, 16, 24], [1, 8, 16, 24, 32, 40, 48, 56, 64]]
    assert widths[2][0] == [1, 64, 128, 192, 256, 320, 384, 448, 512]


@pytest.mark.parametrize("shape", [(6,), (4, 5), (3, 2, 3)])
def test_latencies_never_fall_with_a_width(shape):
    given = np.random.default_rng(0).uniform(0.1, 1.0, shape) + np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    found = increasing(given)
    assert all((np.diff(found, axis=axis) >= 0).all() for axis in range(len(shape)))
    assert (found >= given.min()).all()
    assert (found <= given.max()).all()


def test_latencies_that_increase_stay_as_they_are():
    given = np.add.outer(np.arange(4.0), np.arange(3.0))
    assert increasing(given) == pytest.approx(given)
