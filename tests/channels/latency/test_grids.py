import numpy as np
import pytest

from evoprune.channels.latency.grids import increasing


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
