"""What rules see of the tracer: the labels of tensors, and where in the model an operation runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor, nn

from evoprune.space.tracing.labels import Couplings, Labels, Vector


class LabelTable(Protocol):
    """The labels of all tensors that a trace has come across."""

    couplings: Couplings

    @property
    def module(self) -> str:
        """Name of the module that is running; empty for the model itself."""

    def labels(self, tensor: Tensor) -> Labels:
        """What is known about `tensor`."""

    def put(self, tensor: Tensor, dims: dict[int, Vector], *, active: bool) -> None:
        """Record the labels of `tensor`."""

    def taint(self, tensor: Tensor, atoms: Vector, reason: str) -> None:
        """Freeze `atoms` as soon as anything reads `tensor`."""

    def is_named(self, tensor: Tensor) -> bool:
        """Whether `tensor` is a parameter or buffer of the model."""

    def runs(self, kind: type[nn.Module]) -> bool:
        """Whether the module that is running is of a kind."""

    def attributes(self, module: str | None = None) -> Mapping[str, object]:
        """Attributes of a module, or of the one that is running."""

    def maker(self, tensor: Tensor) -> str | None:
        """The module whose code made `tensor` of a single number; None for other tensors."""

    def reading(self, sizes: list[int]) -> int:
        """Which of the dimensions that the running module splits one into may be cut, from the end."""

    def pausing(self) -> AbstractContextManager[None]:
        """Follow nothing for a while."""
