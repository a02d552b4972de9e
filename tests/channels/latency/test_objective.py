from types import SimpleNamespace

import pytest
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.latency.objective import PredictedLatency, predicted
from evoprune.channels.surgery import prune
from evoprune.errors import MeasurementError
from evoprune.objectives.cost import Macs
from evoprune.objectives.latency import LatencyMs
from evoprune.space.latency_model import LatencyModel
from evoprune.testing.tiny import TinyCNN, tiny_recipe
from tests.space.latency_tables import table_of

pytestmark = pytest.mark.usefixtures("seeded_torch")


@pytest.fixture
def dense():
    model, _, example_inputs = tiny_recipe()
    return model, analyze(model, example_inputs)


@pytest.mark.parametrize("keep", [0.3, 0.7, 1.0])
def test_prediction_by_shapes_is_that_by_bits(dense, keep):
    model, space = dense
    table, bits = table_of(space), space.random_bits(keep, seed=3)
    small = SimpleNamespace(model=prune(model, space.plan(bits)))
    assert PredictedLatency("latency_ms", table).measure(small) == LatencyModel(space.groups, table).predict(bits)


def test_network_without_the_layers_is_refused(dense):
    objective = PredictedLatency("latency_ms", table_of(dense[1]))
    with pytest.raises(MeasurementError, match="which this one doesn't have"):
        objective.measure(SimpleNamespace(model=nn.Sequential(TinyCNN())))


def test_only_objectives_with_a_table_are_predicted(dense):
    table = table_of(dense[1])
    given = (Macs(), LatencyMs(), LatencyMs(256))
    found = predicted(given, {"latency_ms@batch=256": table})
    assert found[:2] == given[:2]
    assert found[2] == PredictedLatency("latency_ms@batch=256", table)
