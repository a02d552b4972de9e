"""What a model costs by counting: MACs, parameters, bytes. No data, no training."""

from __future__ import annotations

from evoprune.objectives.base import Subject


class Macs:
    """Multiply-accumulates of one sample's forward pass."""

    name = "macs"
    maximize = False
    needs_training = False

    def measure(self, subject: Subject) -> float:
        """The count."""
        return float(subject.compute.macs)


class Params:
    """Number of parameters, shared ones once."""

    name = "params"
    maximize = False
    needs_training = False

    def measure(self, subject: Subject) -> float:
        """The count."""
        return float(subject.compute.params)


class SizeBytes:
    """Bytes of the weights as a safetensors file."""

    name = "size_bytes"
    maximize = False
    needs_training = False

    def measure(self, subject: Subject) -> float:
        """The file's size."""
        return float(subject.compute.size_bytes)


class PeakActivationBytes:
    """Most bytes of activations alive at once in one sample's forward pass."""

    name = "peak_activation_bytes"
    maximize = False
    needs_training = False

    def measure(self, subject: Subject) -> float:
        """The peak."""
        return float(subject.compute.peak_activation_bytes)
