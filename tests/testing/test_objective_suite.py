import pytest

from evoprune.objectives.accuracy import Accuracy, WorstClassAccuracy
from evoprune.objectives.cost import Macs, Params, PeakActivationBytes, SizeBytes
from evoprune.objectives.latency import LatencyMs
from evoprune.objectives.loss import MeanLoss
from evoprune.objectives.mask_measures import LayerSparsity, Sparsity
from evoprune.testing.objective_suite import ObjectiveSuite


class TestAccuracy(ObjectiveSuite):
    def objective(self):
        return Accuracy()


class TestMacs(ObjectiveSuite):
    def objective(self):
        return Macs()


class TestParams(ObjectiveSuite):
    def objective(self):
        return Params()


class TestSizeBytes(ObjectiveSuite):
    def objective(self):
        return SizeBytes()


class TestPeakActivationBytes(ObjectiveSuite):
    def objective(self):
        return PeakActivationBytes()


class TestWorstClassAccuracy(ObjectiveSuite):
    def objective(self):
        return WorstClassAccuracy()


class TestMeanLoss(ObjectiveSuite):
    def objective(self):
        return MeanLoss()


class TestLatencyMs(ObjectiveSuite):
    repeatable = False

    def objective(self):
        return LatencyMs()


class TestLatencyMsAtABatch(ObjectiveSuite):
    repeatable = False

    def objective(self):
        return LatencyMs(3)


class TestSparsity(ObjectiveSuite):
    def objective(self):
        return Sparsity()


class TestLayerSparsity(ObjectiveSuite):
    def objective(self):
        return LayerSparsity()


class Wrong:
    name, maximize, needs_training = "wrong", True, False

    def measure(self, subject):
        return self.value(subject)


class Trains(Wrong):
    def value(self, subject):
        subject.model.fc.bias.data += 1
        return 1.0


class LooksAtWeights(Wrong):
    def value(self, subject):
        return float(subject.model.fc.weight.detach().abs().sum())


class Infinite(Wrong):
    def value(self, subject):
        return float("inf")


@pytest.mark.parametrize(
    ("objective", "test", "message"),
    [
        (Infinite(), "test_measure_gives_a_finite_number", "can't be compared"),
        (Trains(), "test_measure_leaves_no_trace", "weights or buffers changed"),
        (LooksAtWeights(), "test_value_depends_on_the_weights_only_where_it_says_so", "weights decide"),
    ],
)
def test_suite_fails_an_objective_that_breaks_the_contract(objective, test, message):
    class Suite(ObjectiveSuite):
        def objective(self):
            return objective

    with pytest.raises(AssertionError, match=message):
        getattr(Suite(), test)()
