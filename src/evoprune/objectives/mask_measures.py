"""How sparse weight masks are, counted from the masks alone."""

from __future__ import annotations

from evoprune.errors import MeasurementError
from evoprune.objectives.base import Subject, Zeros


class Sparsity:
    """Fraction of zeros among all prunable weights, 0 to 1."""

    name = "sparsity"
    maximize = True
    needs_training = False

    def measure(self, subject: Subject) -> float:
        """The share of zeros."""
        return _zeros(subject).share


class LayerSparsity:
    """Fraction of zeros among the weights that are searched now, 0 to 1: those of a layer, or all."""

    name = "layer_sparsity"
    maximize = True
    needs_training = False

    def measure(self, subject: Subject) -> float:
        """The share of zeros."""
        return _zeros(subject).searched_share


def _zeros(subject: Subject) -> Zeros:
    if subject.zeros is None:
        raise MeasurementError("only weight masks have a sparsity")
    return subject.zeros
