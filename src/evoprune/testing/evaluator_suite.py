"""Conformance suite for `Evaluator`: what every way to measure candidates has to hold, as tests that an extension inherits."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from evoprune.evaluation.base import Bounds, Evaluator, evaluate
from evoprune.genome import BitGenome
from evoprune.nn_utils.calling import named_tensors
from evoprune.objectives.constraint import Constraint
from evoprune.results import Evaluation, Status
from evoprune.rng import isolated_rng


class EvaluatorSuite(ABC):
    """Inherit in a module that pytest collects, and make the evaluator: every test below then runs on it.

    Example:
        class TestPrecisionEvaluator(EvaluatorSuite):
            def evaluator(self, bounds):
                return PrecisionEvaluator(*tiny_recipe(), bounds)

            def genome(self, number):
                return BitGenome.from_bits(np.array([True, bool(number), False]))

            def dense(self, evaluator):
                return evaluator.model
    """

    @abstractmethod
    def evaluator(self, bounds: Bounds) -> Evaluator:
        """A new evaluator that is always the same, with these bounds and at least one fidelity."""

    @abstractmethod
    def genome(self, number: int) -> BitGenome:
        """A valid genome; that of 0 is another one than that of 1."""

    @abstractmethod
    def dense(self, evaluator: Evaluator) -> nn.Module:
        """The dense network that the evaluator's candidates are made from."""

    def test_stages_give_finite_numbers_under_names_of_their_own(self) -> None:
        """At least one stage, and no name twice."""
        stages = list(self.evaluator(Bounds()).measure(self.genome(0), 0))
        names = [name for stage in stages for name in stage]
        assert names, "nothing was measured"
        assert len(names) == len(set(names)), "a value was measured twice"
        assert all(name.isidentifier() for name in names), "a name can't stand in a constraint"
        assert all(math.isfinite(value) for stage in stages for value in stage.values()), "a value is not finite"

    def test_evaluation_is_a_function_of_the_genome(self) -> None:
        """Whatever was measured before, and whatever state random generators are in."""
        evaluator = self.evaluator(Bounds())
        first = self._evaluation(evaluator)
        evaluate(evaluator, self.genome(1))
        with isolated_rng(99):
            again = self._evaluation(evaluator)
        assert first == again, "the same genome has other values the second time"
        assert first == self._evaluation(self.evaluator(Bounds())), "another evaluator gives the genome other values"

    def test_measuring_leaves_no_trace(self) -> None:
        """The dense network's weights, buffers, modes and flags, and torch's generator, are as before."""
        evaluator = self.evaluator(Bounds())
        model, generator = self.dense(evaluator), torch.get_rng_state()
        before, modes = self._state(model), [module.training for module in model.modules()]
        flags = [parameter.requires_grad for parameter in model.parameters()]
        evaluate(evaluator, self.genome(0))
        same = all(torch.equal(one, other) for one, other in zip(before, self._state(model), strict=True))
        assert same, "weights or buffers of the dense network changed"
        assert [module.training for module in model.modules()] == modes, "a module was left in another mode"
        assert [parameter.requires_grad for parameter in model.parameters()] == flags, "a requires_grad changed"
        assert torch.equal(torch.get_rng_state(), generator), "random numbers were drawn from the global generator"

    def test_candidate_over_a_bound_is_not_measured_further(self) -> None:
        """It is INFEASIBLE with the values of the first stage, and the bounds are those that the evaluator was given."""
        first = dict(next(iter(self.evaluator(Bounds()).measure(self.genome(0), 0))))
        name, value = next(iter(first.items()))
        bound = Constraint(name, at_most=True, bound=value - abs(value) - 1, relative=False)
        evaluation = self._evaluation(self.evaluator(Bounds((bound,))))
        assert evaluation.status is Status.INFEASIBLE, f"a broken bound gives {evaluation.status}"
        assert evaluation.violation > 0, "the violation is not counted"
        assert dict(evaluation.objectives) == first, "more was measured than the first stage"

    def test_micro_batch_is_a_number_of_samples(self) -> None:
        """0 stands for no limit."""
        size = self.evaluator(Bounds()).micro_batch
        assert isinstance(size, int), f"{type(size).__name__} is no int"
        assert size >= 0, f"{size} samples"

    def _evaluation(self, evaluator: Evaluator) -> Evaluation:
        return evaluate(evaluator, self.genome(0))[0]

    @staticmethod
    def _state(model: nn.Module) -> list[Tensor]:
        return [tensor.detach().clone() for tensor in named_tensors(model).values()]
