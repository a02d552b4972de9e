"""An ONNX file: the network as a graph, for ONNX Runtime and whatever else reads the format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch

from evoprune.data.trees import tensors_in
from evoprune.errors import UnsupportedModelError
from evoprune.exporters.base import Exportable, Runner
from evoprune.exporters.data_reads import refuse_data_reads
from evoprune.exporters.flat_call import FlatCall, call_of_many, calls_of_several, runs_alike
from evoprune.nn_utils.calling import arguments_of
from evoprune.nn_utils.flat import input_names
from evoprune.nn_utils.quiet import first_line
from evoprune.nn_utils.runtimes.onnx_sessions import GraphNames, check_installed, onnx_bytes, onnx_session
from evoprune.nn_utils.weights import weights_of
from evoprune.rng import preserved_generators

MOST_BYTES: Final = 2_000_000_000
"""An ONNX file is one protobuf message, of which none is larger than 2 GiB."""


class OnnxFile:
    """A `.onnx` file with all its weights inside, whose inputs and outputs have the names that the network gives them.

    The number of samples is free wherever the graph was seen to compute the same for several numbers of them; otherwise it is
    that of the example inputs, and ONNX Runtime refuses others.

    Raises:
        MissingDependencyError: onnx or onnxruntime is not installed.
    """

    suffix = ".onnx"
    needs_inputs = True

    def __init__(self) -> None:
        check_installed("writing ONNX")

    def write(self, network: Exportable, path: Path) -> None:
        """Trace the network and write its graph."""
        _check_size(network)
        example = FlatCall(network.model, network.example_inputs)
        refuse_data_reads(example.flat, example.tensors, "an ONNX file")
        path.write_bytes(_with_free_batch(network, example) or _written(example, {}))

    def read(self, network: Exportable, path: Path) -> Runner:
        """A session of ONNX Runtime."""
        return _runner(network, path.read_bytes())


def _with_free_batch(network: Exportable, example: FlatCall) -> bytes | None:
    """The file for any number of samples; None where there is none that computes the same."""
    calls = calls_of_several(network)
    if calls is None:
        return None
    several, more = calls
    try:
        content = _written(several, several.free(more))
    except UnsupportedModelError:
        return None
    return content if runs_alike(_runner(network, content), [example, several, more, *call_of_many(network)]) else None


def _written(call: FlatCall, free: dict[str, dict[int, str]]) -> bytes:
    names = GraphNames(call.input_names, call.output_names, free)
    try:
        with torch.no_grad(), preserved_generators():
            return onnx_bytes(call.model, call.call, call.tensors, names)
    except Exception as error:  # of whatever kind, inside torch
        raise UnsupportedModelError(
            f"{type(call.model).__name__} can't be written as ONNX: {first_line(error)}",
            "try torch-export, or export the weights alone: safetensors",
        ) from error


def _runner(network: Exportable, content: bytes) -> Runner:
    session = onnx_session(content)
    given = {one.name for one in session.get_inputs()}

    def run(inputs: Any) -> Any:
        call = arguments_of(network.model, inputs)
        names, tensors = input_names(network.model, call), tensors_in(call)
        feed = {name: one.detach().numpy() for name, one in zip(names, tensors, strict=True) if name in given}
        return [torch.from_numpy(one) for one in session.run(None, feed)]

    return run


def _check_size(network: Exportable) -> None:
    size = sum(one.numel() * one.element_size() for one in weights_of(network.model).values())
    if size > MOST_BYTES:
        raise UnsupportedModelError(
            f"an ONNX file holds {MOST_BYTES / 1e9:.0f} GB at most, the weights of {type(network.model).__name__} are "
            f"{size / 1e9:.1f} GB",
            "use torch-export, which has no such limit",
        )
