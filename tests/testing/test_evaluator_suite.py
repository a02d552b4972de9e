import numpy as np
import pytest
import torch
from torch import nn

from evoprune.genome import BitGenome
from evoprune.testing.evaluator_suite import EvaluatorSuite


class Wrong:
    micro_batch = 0

    def __init__(self, bounds):
        self.bounds, self.model = bounds, nn.Linear(3, 2)

    def measure(self, genome, fidelity):
        yield {"size": float(genome.bits.sum())}


class Drawing(Wrong):
    def measure(self, genome, fidelity):
        yield {"chance": float(torch.rand(()))}


class Learning(Wrong):
    def measure(self, genome, fidelity):
        self.model.bias.data += 1
        yield {"size": 1.0}


class Repeating(Wrong):
    def measure(self, genome, fidelity):
        yield {"size": 1.0}
        yield {"size": 2.0}


class Deaf(Wrong):
    @property
    def bounds(self):
        from evoprune.evaluation.base import Bounds

        return Bounds()

    @bounds.setter
    def bounds(self, bounds):
        pass


@pytest.mark.parametrize(
    ("kind", "test", "message"),
    [
        (Drawing, "test_evaluation_is_a_function_of_the_genome", "other values"),
        (Drawing, "test_measuring_leaves_no_trace", "global generator"),
        (Learning, "test_measuring_leaves_no_trace", "weights or buffers"),
        (Repeating, "test_stages_give_finite_numbers_under_names_of_their_own", "measured twice"),
        (Deaf, "test_candidate_over_a_bound_is_not_measured_further", "a broken bound gives ok"),
    ],
    ids=str,
)
def test_suite_fails_an_evaluator_that_breaks_the_contract(kind, test, message, seeded_torch):
    class Suite(EvaluatorSuite):
        def evaluator(self, bounds):
            return kind(bounds)

        def genome(self, number):
            return BitGenome.from_bits(np.array([True, bool(number)]))

        def dense(self, evaluator):
            return evaluator.model

    with pytest.raises(AssertionError, match=message):
        getattr(Suite(), test)()
