"""Finished networks by the clock: which rows there are, which are left out and why, and which are slow."""

import pytest
import torch
from torch import nn

from evoprune.nn_utils.runtimes import onnx_sessions
from evoprune.run.timing import model_timing
from evoprune.run.timing.model_timing import ModelTiming, TimingPlan

pytestmark = pytest.mark.usefixtures("seeded_torch")
CPU = torch.device("cpu")
EAGER_ALONE = TimingPlan(batch=8, onnxruntime=False)


class Dense(nn.Module):
    def __init__(self, width=256, calls=0):
        super().__init__()
        self.one, self.two, self.calls = nn.Linear(16, width), nn.Linear(width, 4), calls

    def forward(self, x):
        x = self.one(x)
        for _ in range(self.calls):
            x = x + 1
        return self.two(x)


def timed(dense, pruned, plan=EAGER_ALONE, example=None, **more):
    example = torch.zeros(1, 16) if example is None else example
    return ModelTiming({"baseline": dense, "pruned": pruned, **more}, example, CPU, 1, plan).measured()


def test_rows_are_batch_one_and_a_larger_one_in_each_runtime(onnx_installed):
    timings, of_example = timed(Dense(), Dense(8), TimingPlan(batch=8), criterion=Dense(16))
    rows = [(one.batch, one.runtime.partition(" ")[0]) for one in timings.passes]
    assert rows == [(1, "eager"), (8, "eager"), (1, "onnxruntime"), (8, "onnxruntime")]
    assert of_example.keys() == {"baseline", "pruned", "criterion"}
    first = timings.passes[0]
    assert of_example["pruned"] == first.pruned.median_ms
    assert 0 < first.pruned.median_ms <= first.pruned.p95_ms
    assert (timings.device, timings.threads, timings.left_out) == ("cpu", 1, {})
    assert timings.processor


def test_smaller_network_that_takes_longer_is_slow_and_says_why():
    timings, _ = timed(Dense(), Dense(8, calls=300))
    row = timings.passes[0]
    assert row.slow
    assert any(why.startswith("launch-bound") for why in row.why)


def test_network_of_as_many_macs_is_never_slow():
    timings, _ = timed(Dense(), Dense(calls=300))
    assert [one.slow for one in timings.passes] == [False, False]


def test_faster_network_is_not_slow():
    timings, _ = timed(Dense(4096), Dense(64))
    assert [one.slow for one in timings.passes] == [False, False]


def test_batch_is_halved_until_a_pass_is_short(monkeypatch):
    monkeypatch.setattr(model_timing, "LONGEST_S", 0.0)
    timings, _ = timed(Dense(), Dense(8))
    assert [one.batch for one in timings.passes] == [1]
    assert timings.left_out["batch 8"].startswith("a pass takes about ")


def test_missing_runtime_is_named(monkeypatch):
    monkeypatch.setattr(onnx_sessions.importlib.util, "find_spec", lambda name: None)
    timings, _ = timed(Dense(), Dense(8), TimingPlan(batch=8))
    assert [one.runtime for one in timings.passes] == ["eager", "eager"]
    assert timings.left_out == {"onnxruntime": "not installed: pip install 'evoprune[onnx]'"}


class NoExport(Dense):
    def forward(self, x):
        return torch.linalg.eigvals(super().forward(x).unsqueeze(2) @ torch.ones(len(x), 1, 4)).abs()


def test_network_that_a_runtime_cannot_run_is_named(onnx_installed):
    timings, _ = timed(NoExport(), NoExport(8), TimingPlan(batch=8))
    assert [one.runtime for one in timings.passes] == ["eager", "eager"]
    assert "NoExport can't be run by onnxruntime" in timings.left_out["onnxruntime"]


class TwoAtOnce(Dense):
    def forward(self, x):
        return super().forward(x.reshape(2, 16))


def test_network_that_takes_one_batch_alone_is_timed_at_that(onnx_installed):
    timings, of_example = timed(TwoAtOnce(), TwoAtOnce(8), TimingPlan(batch=8), torch.rand(2, 16))
    assert [(one.batch, one.runtime.partition(" ")[0]) for one in timings.passes] == [(2, "eager"), (2, "onnxruntime")]
    assert of_example["baseline"] > 0
    assert set(timings.left_out) == {"batch 1", "batch 8"}


class OneAtATime(Dense):
    def forward(self, x):
        if len(x) > 1:
            raise ValueError("one at a time")
        return super().forward(x)


def test_network_that_refuses_a_batch_loses_that_row_alone():
    timings, _ = timed(OneAtATime(), OneAtATime(8))
    assert [one.batch for one in timings.passes] == [1]
    assert timings.left_out == {"batch 8": "ValueError: one at a time"}


@pytest.mark.slow
def test_compiled_networks_are_timed_where_asked_for():
    timings, _ = timed(Dense(), Dense(8), TimingPlan(batch=8, compiled=True, onnxruntime=False))
    compiled = [one for one in timings.passes if one.runtime == "torch.compile"]
    assert [one.batch for one in compiled] == [1, 8] or "torch.compile" in timings.left_out


def test_models_and_generators_are_left_as_they_were():
    dense, pruned, state = Dense().train(), Dense(8).train(), torch.get_rng_state()
    timed(dense, pruned)
    assert dense.training
    assert pruned.training
    assert torch.equal(torch.get_rng_state(), state)
