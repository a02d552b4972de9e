"""The seam for exports: a finished network as a file that others can use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import nn


@dataclass(frozen=True)
class Exportable:
    """What an exporter is given.

    Attributes:
        model: The network, on the CPU, in eval mode; exporters leave it as it is.
        example_inputs: Inputs of one forward pass, as for `evoprune.analyze`; None where nobody gave any.
    """

    model: nn.Module
    example_inputs: Any = None


Runner = Callable[[Any], Any]
"""From inputs, as `example_inputs`, to outputs."""


class Exporter(Protocol):
    """One file format.

    What was written is read again and compared with the network before anybody is told that it is there.
    """

    @property
    def suffix(self) -> str:
        """Suffix of the files, with its dot."""

    @property
    def needs_inputs(self) -> bool:
        """Whether example inputs are needed: True for whatever follows the network through a forward pass."""

    def write(self, network: Exportable, path: Path) -> None:
        """Write the file, and beside it, under the same stem, others that belong to it.

        Raises:
            UnsupportedModelError: The format can't express this network; says which part of it and why.
            MissingDependencyError: A library is needed that is not installed.
        """

    def read(self, network: Exportable, path: Path) -> Runner:
        """What the file holds, ready to run: the program in it, or a copy of the network with its weights."""
