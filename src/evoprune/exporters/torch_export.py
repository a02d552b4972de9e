"""A `torch.export` archive: the network as a program that needs neither its source nor evoprune."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from evoprune.data.trees import map_tensors
from evoprune.errors import UnsupportedModelError
from evoprune.exporters.base import Exportable, Runner
from evoprune.nn_utils.calling import call_model
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.quiet import first_line, quiet


class TorchExportArchive:
    """A `.pt2` file, as `torch.export.load(path).module()` takes it.

    The number of samples stays free where the network allows it: wherever doubling the first dimension of every input is just a
    larger batch. Otherwise the sizes are those of the example inputs.
    """

    suffix = ".pt2"
    needs_inputs = True

    def write(self, network: Exportable, path: Path) -> None:
        """Trace the network and write the program."""
        torch.export.save(_traced(network), path)

    def read(self, network: Exportable, path: Path) -> Runner:
        """The program of the file."""
        module = torch.export.load(path).module()
        return lambda inputs: call_model(module, inputs)


def _traced(network: Exportable) -> ExportedProgram:
    # Sizes of 0 and 1 count as fixed, whatever is declared.
    several = map_tensors(network.example_inputs, lambda one: torch.cat([one, one]) if one.dim() else one)
    free = map_tensors(several, lambda one: {0: Dim("batch")} if one.dim() else None)
    try:
        program = _exported(network, several, free)
        call_model(program.module(), network.example_inputs)
    except Exception:  # of whatever kind, inside torch
        return _static(network)
    return program


def _static(network: Exportable) -> ExportedProgram:
    try:
        return _exported(network, network.example_inputs, None)
    except Exception as error:
        raise UnsupportedModelError(
            f"torch.export can't follow {type(network.model).__name__}: {first_line(error)}",
            "branches that depend on data are the usual cause; export the weights alone, or rewrite the branch with torch.where",
        ) from error


def _exported(network: Exportable, inputs: Any, free: Any) -> ExportedProgram:
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}
    shapes = free
    if isinstance(inputs, Mapping):
        keywords = dict(inputs)
    else:
        arguments = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
        shapes = None if free is None else (free,) if isinstance(inputs, Tensor) else tuple(free)
    # A copy: networks that keep something from a pass keep what tracing leaves, such as tensors without memory.
    with torch.no_grad(), quiet():
        return torch.export.export(clone(network.model), arguments, keywords, dynamic_shapes=shapes, strict=False)
