from types import SimpleNamespace

import pytest
import torch
from torch import nn

from evoprune.nn_utils.threads import torch_threads
from evoprune.objectives import latency
from evoprune.objectives.base import Subject
from evoprune.objectives.latency import WARM_UP, LatencyMs, measure_latency_ms


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for what runners take."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


class Runner:
    """Takes the given seconds, call by call, then the last of them for ever."""

    def __init__(self, clock, *seconds, calls=None, name=""):
        self.clock, self.seconds, self.calls, self.name = clock, list(seconds), calls if calls is not None else [], name

    def __call__(self):
        self.calls.append(self.name)
        self.clock.seconds += self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]


def test_latency_is_the_median_in_milliseconds_without_the_warm_up(clock):
    slow_at_first = Runner(clock, *[9.0] * WARM_UP, 0.001, 0.002, 0.004, 5.0, 0.003)
    assert measure_latency_ms({"net": slow_at_first}, repeats=5) == {"net": pytest.approx(3)}
    assert len(slow_at_first.calls) == WARM_UP + 5


def test_latency_of_several_is_measured_by_turns(clock):
    calls = []
    runners = {name: Runner(clock, seconds, calls=calls, name=name) for name, seconds in (("a", 0.004), ("b", 0.001))}
    assert measure_latency_ms(runners, repeats=3) == {"a": pytest.approx(4), "b": pytest.approx(1)}
    assert calls[2 * WARM_UP :] == ["a", "b"] * 3


def test_latency_ratio_survives_a_machine_that_slows_down(clock):
    slowing = [1, 2, 4, 8, 16]
    runners = {
        name: Runner(clock, *[seconds] * WARM_UP, *(seconds * factor for factor in slowing))
        for name, seconds in (("dense", 0.004), ("pruned", 0.001))
    }
    measured = measure_latency_ms(runners, repeats=5)
    assert measured["dense"] / measured["pruned"] == pytest.approx(4)


def test_latency_of_nothing_is_nothing(clock):
    assert measure_latency_ms({}) == {}
    assert clock.seconds == 0


class Watched(nn.Linear):
    """Notes the batch and the threads of every call."""

    def __init__(self):
        super().__init__(3, 2)
        self.seen = set()

    def forward(self, x):
        self.seen.add((len(x), torch.get_num_threads(), self.training))
        return super().forward(x)


def subject(model):
    return Subject(model, torch.zeros(1, 3), None, None, torch.device("cpu"), 1)


@pytest.mark.usefixtures("seeded_torch")
@pytest.mark.parametrize(
    ("objective", "seen"),
    [(LatencyMs(), (1, 1, False)), (LatencyMs(batch=4), (4, 1, False)), (LatencyMs(batch=4, threads=2), (4, 2, False))],
    ids=lambda one: getattr(one, "name", ""),
)
def test_latency_is_measured_at_the_batch_and_with_the_threads_of_its_name(objective, seen):
    model = Watched().train()
    with torch_threads(1):
        milliseconds = objective.measure(subject(model))
    assert milliseconds > 0
    assert seen in model.seen
    assert model.training


@pytest.mark.usefixtures("seeded_torch", "onnx_installed")
def test_latency_in_another_runtime_never_calls_the_network_but_to_export_it():
    model = Watched()
    assert LatencyMs(batch=4, runtime="onnxruntime").measure(subject(model)) > 0
    assert model.seen <= {(1, torch.get_num_threads(), False)}  # a copy is exported; the samples are found by a call
