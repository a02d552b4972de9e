"""Conformance suite for `Objective`: what every measure of a model has to hold, as tests that an extension inherits."""

from __future__ import annotations

import math
import pickle
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.nn_utils.calling import named_tensors
from evoprune.objectives.base import Objective, Subject, Zeros
from evoprune.rng import isolated_rng
from evoprune.testing.tiny import tiny_recipe


class ObjectiveSuite(ABC):
    """Inherit in a module that pytest collects, and name the objective: every test below then runs on it.

    Example:
        class TestWorstClass(ObjectiveSuite):
            def objective(self):
                return WorstClass()

    Attributes:
        repeatable: Whether the same model has the same value twice; False for what a clock measures.
    """

    repeatable: bool = True

    @abstractmethod
    def objective(self) -> Objective:
        """The objective under test."""

    def model(self) -> nn.Module:
        """A network to measure: the one of the tiny recipe, which knows images [n, 3, 8, 8] and four classes."""
        return tiny_recipe()[0]

    def test_measure_gives_a_finite_number(self) -> None:
        """A float, whatever the weights."""
        value = self.objective().measure(self._subject())
        assert isinstance(value, float), f"{type(value).__name__} is no float"
        assert math.isfinite(value), f"{value} can't be compared"

    def test_measure_leaves_no_trace(self) -> None:
        """Weights, buffers, gradients, modes and torch's generator are as before."""
        model = self.model().train()
        before, generator = self._state(model), torch.get_rng_state()
        self.objective().measure(self._subject(model))
        same = all(torch.equal(one, other) for one, other in zip(before, self._state(model), strict=True))
        assert same, "weights or buffers changed"
        assert all(module.training for module in model.modules()), "a module was left in another mode"
        assert all(one.grad is None and one.requires_grad for one in model.parameters()), "gradients were left behind"
        assert torch.equal(torch.get_rng_state(), generator), "random numbers were drawn from the global generator"

    def test_value_is_a_function_of_the_model(self) -> None:
        """The same model has the same value, however often and in whatever batches it is measured."""
        if not self.repeatable:
            return
        values = [self.objective().measure(self._subject(batch_size=size)) for size in (64, 64, 24)]
        assert values[0] == values[1], "the same model has another value the second time"
        assert math.isclose(values[0], values[2], rel_tol=1e-6), "the value depends on the size of batches"

    def test_value_depends_on_the_weights_only_where_it_says_so(self) -> None:
        """What needs no training is measured before it, and must not change by it."""
        objective, model = self.objective(), self.model()
        if objective.needs_training or not self.repeatable:
            return
        before = objective.measure(self._subject(model))
        with isolated_rng(1):
            for parameter in model.parameters():
                nn.init.normal_(parameter)
        assert objective.measure(self._subject(model)) == before, "needs_training is False, but weights decide"

    def test_objective_travels_to_other_processes(self) -> None:
        """It can be pickled, and its copy goes by the same name."""
        objective = self.objective()
        copied: Objective = pickle.loads(pickle.dumps(objective))
        assert (copied.name, copied.maximize, copied.needs_training) == (
            objective.name,
            objective.maximize,
            objective.needs_training,
        )
        assert objective.name.partition("@")[0].isidentifier(), f"{objective.name!r} can't stand in a constraint"

    def _subject(self, model: nn.Module | None = None, *, batch_size: int = 64) -> Subject:
        task, example_inputs = self._given
        return Subject(
            model or self.model(),
            example_inputs,
            task.val,
            task.metric,
            torch.device("cpu"),
            batch_size,
            loss=task.loss,
            zeros=Zeros(0.25, 0.5),
        )

    @cached_property
    def _given(self) -> tuple[Any, Tensor]:
        _, task, example_inputs = tiny_recipe()
        return task, example_inputs

    @staticmethod
    def _state(model: nn.Module) -> list[Tensor]:
        return [tensor.detach().clone() for tensor in named_tensors(model).values()]
