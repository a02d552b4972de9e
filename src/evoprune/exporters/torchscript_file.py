"""A TorchScript file: the network as a traced program, for libtorch and `torch.jit.load`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from evoprune.data.trees import tensors_in
from evoprune.errors import UnsupportedModelError
from evoprune.exporters.base import Exportable, Runner
from evoprune.exporters.data_reads import refuse_data_reads
from evoprune.exporters.flat_call import FlatCall, calls_of_several
from evoprune.nn_utils.calling import arguments_of
from evoprune.nn_utils.quiet import first_line, mute, quiet
from evoprune.rng import preserved_generators


class TorchScriptFile:
    """A `.pt` file, as `torch.jit.load(path)` takes it: a program that needs neither its source nor evoprune.

    It takes the tensors of the network's arguments one by one, and returns those of its results.
    """

    suffix = ".pt"
    needs_inputs = True

    def write(self, network: Exportable, path: Path) -> None:
        """Trace the network and write the program."""
        calls = calls_of_several(network)
        call = FlatCall(network.model, network.example_inputs) if calls is None else calls[0]
        refuse_data_reads(call.flat, call.tensors, "a TorchScript file")
        try:
            with torch.no_grad(), preserved_generators(), mute():
                program = torch.jit.trace(call.flat, tuple(call.tensors), check_trace=False, strict=False)
                torch.jit.save(program, path)
        except Exception as error:  # of whatever kind, inside torch
            raise UnsupportedModelError(
                f"{type(network.model).__name__} can't be written as TorchScript: {first_line(error)}",
                "try torch-export, or export the weights alone: safetensors",
            ) from error

    def read(self, network: Exportable, path: Path) -> Runner:
        """The program of the file."""
        with quiet():
            program = torch.jit.load(path, map_location="cpu")

        def run(inputs: Any) -> Any:
            return program(*tensors_in(arguments_of(network.model, inputs)))

        return run
