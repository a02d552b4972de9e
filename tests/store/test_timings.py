import json

import numpy as np
import pytest

from evoprune.store.comparison import Comparison
from evoprune.store.timings import PassTimes, TimedPass, Timings

MODEL = {"accuracy": 0.9, "params": 10}


def timings():
    slow = TimedPass(8, "eager", PassTimes(1, 2, 0.1, 7), PassTimes(1, 2, 0.1, 7), True, ("memory-bound: ...",))
    fast = TimedPass(1, "eager", PassTimes(1, 2, 0.1, 7), PassTimes(0.5, 2, 0.1, 7))
    return Timings("AMD EPYC", "cpu", 2, (fast, slow), {"onnxruntime": "not installed"})


def test_times_are_the_quantiles_of_the_passes():
    seconds = np.random.default_rng(0).gamma(2.0, 0.001, size=101)
    found = PassTimes.of(seconds.tolist())
    ordered = 1000 * np.sort(seconds)
    assert found.median_ms == pytest.approx(ordered[50])
    assert found.p95_ms == pytest.approx(ordered[95])
    assert (found.spread_ms, found.passes) == (pytest.approx(ordered[75] - ordered[25]), 101)


def test_timings_are_read_as_they_were_written():
    document = json.loads(json.dumps(timings().to_json()))
    assert Timings.from_json(document) == timings()
    compared = Comparison.from_json({"baseline": MODEL, "pruned": MODEL, "timings": document})
    assert compared.timings == timings()
    assert compared.to_json()["timings"] == document


@pytest.mark.parametrize(
    "change",
    [{"processor": 3}, {"passes": 3}, {"passes": [{}]}, {"left_out": {"a": 1}}, {"threads": None}],
    ids=str,
)
def test_timings_of_another_kind_are_refused(change):
    with pytest.raises((TypeError, ValueError, LookupError, AttributeError)):
        Timings.from_json({**timings().to_json(), **change})


@pytest.mark.parametrize("value", [-1.0, float("nan"), True])
def test_milliseconds_that_are_none_are_refused(value):
    with pytest.raises(ValueError, match="is no number of milliseconds"):
        PassTimes.from_json({"median_ms": value, "p95_ms": 1.0, "spread_ms": 0.0, "passes": 3})
