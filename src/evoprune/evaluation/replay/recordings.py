"""Recordings of a network, one for each shape of batch, that have been compared with the network itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.data.trees import map_tensors, tensors_in
from evoprune.evaluation.replay.capture import NotCapturedError, capture, unfollowed
from evoprune.evaluation.replay.program import Program
from evoprune.evaluation.replay.tape import Tape
from evoprune.evaluation.replay.whole import run_whole
from evoprune.nn_utils.memory import is_out_of_memory


class Recordings:
    """Records a network on each new shape of batch, and checks the recording against it.

    Args:
        model: Network in eval mode, on the device of the batches.
        names: Parameters that candidates replace.
        values: Values of the tensors, in the same order.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], values: Sequence[Tensor]) -> None:
        self._model, self._names, self._values = model, names, values
        self._programs: dict[str, Program] = {}

    def runner(self, inputs: Any) -> Program:
        """What runs a batch of this shape.

        Raises:
            NotCapturedError: The network can't be replayed from a recording.
        """
        odd = unfollowed(inputs)
        if odd is not None:
            raise NotCapturedError(f"it takes a {odd.__name__}, where tensors, tuples, lists and dicts are followed")
        key = repr(map_tensors(inputs, lambda tensor: (tuple(tensor.shape), tensor.stride(), tensor.dtype)))
        if key not in self._programs:
            self._programs[key] = self._record(inputs)
        return self._programs[key]

    def _record(self, inputs: Any) -> Program:
        tape, output = capture(self._model, self._names, inputs)
        generator = torch.Generator().manual_seed(0)
        halved = [value * (torch.rand(value.shape, generator=generator) < 0.5).to(value) for value in self._values]
        whole = run_whole(self._model, dict(zip(self._names, halved, strict=True)), inputs)
        expected = [(self._values, output), (halved, whole)]
        for substitutes in (True, False):
            program = _built(tape, inputs, expected, substitutes=substitutes)
            if program is not None:
                return program
        raise NotCapturedError("its replayed output is not bit for bit that of the network")


def _built(tape: Tape, inputs: Any, expected: Iterable[tuple[Any, Any]], *, substitutes: bool) -> Program | None:
    """The tape as a program, if it gives what is expected for each set of values.

    Raises:
        NotCapturedError: An operation takes something that can't be written down again.
    """
    try:
        program = Program(tape, substitutes=substitutes)
        with torch.inference_mode():
            kept = program.prepare(inputs)
            right = all(same_bits(program.finish(kept, values), output) for values, output in expected)
    except Exception as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        raise NotCapturedError(f"its recording does not run: {type(error).__name__}: {error}") from error
    return program if right else None


def same_bits(one: Any, other: Any) -> bool:
    """Whether two outputs have equal tensors, in shape, strides and every bit but the sign of zero."""
    first, second = list(tensors_in(one)), list(tensors_in(other))
    return len(first) == len(second) and all(
        a.stride() == b.stride() and a.dtype == b.dtype and torch.equal(a, b)
        for a, b in zip(first, second, strict=True)
    )
