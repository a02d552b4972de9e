"""ONNX Runtime: networks exported to ONNX and run on the CPU."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.data.trees import tensors_in
from evoprune.errors import MeasurementError, MissingDependencyError
from evoprune.nn_utils.calling import Call
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.flat import Flat
from evoprune.nn_utils.quiet import mute
from evoprune.nn_utils.runtimes.base import Runner
from evoprune.nn_utils.runtimes.names import ONNXRUNTIME
from evoprune.rng import preserved_generators

_NEEDED: Final = ("onnx", ONNXRUNTIME)
_ERRORS_ONLY: Final = 3


def check_installed(what: str = f"runtime={ONNXRUNTIME}") -> None:
    """See that networks can be exported and run, without loading anything.

    Args:
        what: What needs that, for the message.

    Raises:
        MissingDependencyError: A package is missing.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"{what} needs {' and '.join(missing)}, which is not installed",
            "pip install 'evoprune[onnx]'",
        )


@dataclass(frozen=True)
class GraphNames:
    """Names in an ONNX file.

    Attributes:
        inputs: One name for each tensor that goes in.
        outputs: One for each that comes out; numbers when None.
        free: Dimensions that may have any length, by input or output, with a name for each.
    """

    inputs: Sequence[str]
    outputs: Sequence[str] | None = None
    free: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


def onnx_bytes(module: nn.Module, call: Call, tensors: Sequence[Tensor], names: GraphNames) -> bytes:
    """The ONNX file of a module, by a copy of it on the CPU; the module takes the tensors of the call one by one.

    Args:
        module: Any module; untouched.
        call: Arguments of one call.
        tensors: The tensors in it, made outside of inference mode.
        names: Names for them.
    """
    file: Any = io.BytesIO()
    copy = clone(module).to("cpu").eval()
    with mute():
        # The exporter by TorchScript: that of torch.export (torch 2.9's default) needs onnxscript, and seconds for what takes
        # milliseconds here, for hundreds of layers.
        torch.onnx.export(
            Flat(copy, call),
            tuple(tensors),
            file,
            input_names=list(names.inputs),
            output_names=None if names.outputs is None else list(names.outputs),
            dynamic_axes={name: dict(axes) for name, axes in names.free.items()} or None,
            dynamo=False,
        )
    exported: bytes = file.getvalue()
    return exported


def onnx_session(content: bytes) -> Any:
    """A session of ONNX Runtime on the CPU, with as many threads as torch has at this moment."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = _ERRORS_ONLY
    # Threads that wait for the next call would take the processor from the sessions that are timed by turns.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class OnnxRuntime:
    """Runs sessions of ONNX Runtime, with the optimisations and the threads of a default one.

    Raises:
        MissingDependencyError: A package is missing.
    """

    in_blocks = True

    def __init__(self) -> None:
        check_installed()
        import onnxruntime

        self._values = onnxruntime.OrtValue
        self.label = f"{ONNXRUNTIME} {onnxruntime.__version__}"

    def device(self, wanted: torch.device) -> torch.device:
        """The CPU."""
        del wanted
        return torch.device("cpu")

    def runner(self, module: nn.Module, call: Call) -> Runner:
        """A function that runs a session of the exported module on memory that is its own.

        Raises:
            MeasurementError: The module can't be exported, or the session can't run it.
        """
        try:
            return self._runner(module, call)
        except Exception as error:  # whatever exporter and session raise at a module that isn't made for them
            reason = str(error).strip().partition("\n")[0]
            raise MeasurementError(
                f"{type(module).__name__} can't be run by {ONNXRUNTIME}: {type(error).__name__}: {reason}",
                "leave the runtime out of the latency's name to measure PyTorch itself",
            ) from error

    def idle(self) -> Runner:
        """A session of a network that does nothing: layers alone pay for a whole session each, networks once."""
        return self._runner(nn.ReLU(), ((torch.zeros(1),), {}))

    def _runner(self, module: nn.Module, call: Call) -> Runner:
        with torch.inference_mode(False), torch.no_grad(), preserved_generators():
            # What is made under inference_mode can't be traced, and neither can it be changed afterwards.
            tensors = [one.detach().clone(memory_format=torch.contiguous_format) for one in tensors_in(call)]
            exported = onnx_bytes(module, call, tensors, GraphNames(_names(tensors)))
        session = onnx_session(exported)
        binding = session.io_binding()
        given = {one.name for one in session.get_inputs()}
        feed = {name: one.numpy() for name, one in zip(_names(tensors), tensors, strict=True) if name in given}
        results = session.run(None, feed)
        # Outputs go to the same memory every time: pages of new ones would cost more than narrow layers do.
        outputs = [one.name for one in session.get_outputs()]
        bound = [self._values.ortvalue_from_numpy(one) for one in (*feed.values(), *results)]
        for name, value in zip((*feed, *outputs), bound, strict=True):
            (binding.bind_ortvalue_input if name in feed else binding.bind_ortvalue_output)(name, value)

        def run() -> object:
            session.run_with_iobinding(binding)
            return bound

        return run


def _names(tensors: Sequence[Tensor]) -> list[str]:
    return [f"input_{number}" for number in range(len(tensors))]
