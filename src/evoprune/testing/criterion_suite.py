"""Conformance suite for `Criterion`: what every score of units has to hold, as tests that an extension inherits."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from evoprune.channels.analyze import analyze
from evoprune.channels.importance.base import Criterion, Examinee, Scores
from evoprune.nn_utils.calling import named_tensors, undisturbed
from evoprune.rng import isolated_rng
from evoprune.testing.tiny import SIDE, TinyCNN


class CriterionSuite(ABC):
    """Inherit in a module that pytest collects, and name the criterion: every test below then runs on it.

    Example:
        class TestEntropy(CriterionSuite):
            def criterion(self):
                return entropy

    Attributes:
        about_units: Whether a unit's score belongs to the unit, wherever it stands in its layer; False for random scores.
    """

    about_units: bool = True

    @abstractmethod
    def criterion(self) -> Criterion:
        """The criterion under test."""

    def test_scores_are_one_finite_number_per_unit(self) -> None:
        """[space.size], in the order of the space."""
        examinee = self._examinee(network())
        scores = self._scores(examinee)
        assert scores.shape == (examinee.space.size,), f"{scores.shape} for {examinee.space.size} units"
        assert np.isfinite(scores).all(), "a score is not finite"

    def test_scores_are_a_function_of_the_examinee(self) -> None:
        """The same network, data and seed give the same scores."""
        first, second = (self._scores(self._examinee(network())) for _ in range(2))
        assert np.array_equal(first, second), "the same examinee has other scores the second time"

    def test_model_is_left_alone(self) -> None:
        """Weights, buffers, gradients and flags are as before."""
        model = network()
        before = [tensor.detach().clone() for tensor in named_tensors(model).values()]
        frozen = model.get_parameter("fc.bias").requires_grad_(False)
        self._scores(self._examinee(model))
        same = all(torch.equal(one, other) for one, other in zip(before, named_tensors(model).values(), strict=True))
        assert same, "weights or buffers changed"
        assert all(one.grad is None for one in model.parameters()), "gradients were left behind"
        assert not frozen.requires_grad, "a parameter's requires_grad changed"

    def test_scores_move_with_the_units(self) -> None:
        """With the channels of a layer in another order, the scores are in that order too."""
        if not self.about_units:
            return
        model, order = network(), torch.tensor([3, 0, 7, 1, 6, 2, 5, 4])
        examinee = self._examinee(model)
        group = next(one for one in examinee.space.groups if one.name == "conv1")
        before = self._scores(examinee)[group.start : group.stop]
        after = self._scores(self._examinee(reordered(model, order)))[group.start : group.stop]
        assert np.allclose(after, before[order.numpy()], rtol=1e-4, atol=1e-7), "a score belongs to a position"

    def _scores(self, examinee: Examinee) -> Scores:
        with undisturbed(examinee.model), isolated_rng(examinee.seed):
            return np.asarray(self.criterion()(examinee), dtype=np.float64)

    def _examinee(self, model: nn.Module) -> Examinee:
        return Examinee(model, analyze(model, torch.zeros(1, 3, SIDE, SIDE)), data(), functional.cross_entropy, seed=0)


def network() -> TinyCNN:
    """A `TinyCNN` whose weights are always the same, BatchNorm's scales and shifts included."""
    with isolated_rng(5):
        model = TinyCNN()
        for bn in (model.bn1, model.bn2):
            nn.init.uniform_(bn.weight, 0.5, 1.5)
            nn.init.normal_(bn.bias, std=0.1)
    return model.eval()


def data() -> list[tuple[Tensor, Tensor]]:
    """Two batches of noise, [8, 3, 8, 8] float32 with [8] int64, always the same."""
    generator = torch.Generator().manual_seed(6)
    return [
        (torch.randn(8, 3, SIDE, SIDE, generator=generator), torch.randint(4, (8,), generator=generator))
        for _ in range(2)
    ]


def reordered(model: TinyCNN, order: Tensor) -> TinyCNN:
    """The same function with the channels of `conv1` in another order."""
    other = network()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        other.conv1.weight.copy_(model.conv1.weight[order])
        other.conv2.weight.copy_(model.conv2.weight[:, order])
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(other.bn1, name).copy_(getattr(model.bn1, name)[order])
    return other
