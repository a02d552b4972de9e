"""A network with the inputs that it is traced by, and which of their dimensions count samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.data.trees import tensors_in
from evoprune.errors import EvopruneError
from evoprune.exporters.base import Exportable, Runner
from evoprune.nn_utils.calling import Call, arguments_of, call_model, run_example
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.comparison import compare, outputs_of
from evoprune.nn_utils.flat import Flat, input_names, output_names
from evoprune.nn_utils.samples import at_batch, many_samples, samples_in

BATCH = "batch"
"""Name of the dimension that counts samples."""


@dataclass(frozen=True)
class FlatCall:
    """One call of a network, as tensors.

    Attributes:
        model: The network, in eval mode.
        inputs: Its inputs, as `example_inputs`.
    """

    model: nn.Module
    inputs: Any

    @cached_property
    def call(self) -> Call:
        """Arguments of the call."""
        return arguments_of(self.model, self.inputs)

    @cached_property
    def tensors(self) -> list[Tensor]:
        """Copies of the tensors that go in, which can be traced."""
        given = tensors_in(self.call)
        return [one.detach().clone(memory_format=torch.contiguous_format) for one in given]

    @property
    def flat(self) -> Flat:
        """A copy of the network that takes these tensors: networks that keep something from a pass keep what tracing leaves."""
        return Flat(clone(self.model), self.call).eval()

    @cached_property
    def input_names(self) -> list[str]:
        """A name for each tensor that goes in."""
        return input_names(self.model, self.call)

    @cached_property
    def results(self) -> Any:
        """What the network returns."""
        with torch.no_grad():
            return call_model(self.model, self.inputs)

    @cached_property
    def output_names(self) -> list[str]:
        """A name for each tensor that comes out."""
        return output_names(self.results, self.input_names)

    def free(self, other: FlatCall) -> dict[str, dict[int, str]]:
        """By the names of inputs and outputs, the dimensions in which another call, of more samples, is longer."""
        pairs = [
            *zip(self.input_names, self.tensors, other.tensors, strict=True),
            *zip(self.output_names, tensors_in(self.results), tensors_in(other.results), strict=True),
        ]
        found: dict[str, dict[int, str]] = {}
        for name, one, more in pairs:
            dims = [dim for dim, size in enumerate(one.shape) if size != more.shape[dim]]
            axes = {dim: BATCH if name in self.input_names else f"{BATCH}_{dim}" for dim in dims}
            found |= {name: axes} if axes else {}
        return found


def calls_of_several(network: Exportable) -> tuple[FlatCall, FlatCall] | None:
    """A call of two samples or more to trace by, for lengths of one count as fixed, and one of one more.

    None where no dimension of the inputs counts samples, or the network takes no other number of them.
    """
    model, example = network.model, network.example_inputs
    try:
        few = max(2, samples_in(model, example))
        several, more = (FlatCall(model, at_batch(model, example, size)) for size in (few, few + 1))
        run_example(model, several.inputs)
        run_example(model, more.inputs)
    except EvopruneError:
        return None
    return several, more


def call_of_many(network: Exportable) -> list[FlatCall]:
    """A call of many more samples than the example inputs have, since code may go by their number; none where that can't be."""
    model, example = network.model, network.example_inputs
    try:
        many = FlatCall(model, at_batch(model, example, many_samples(samples_in(model, example))))
        run_example(model, many.inputs)
    except EvopruneError:
        return []
    return [many]


def runs_alike(runner: Runner, calls: Iterator[FlatCall] | list[FlatCall]) -> bool:
    """Whether what was written runs on all the calls, and computes what the network does."""
    try:
        for call in calls:
            found = [tensor.detach() for tensor in tensors_in(runner(call.inputs))]
            if not compare(found, outputs_of(call.model, call.inputs)).agrees:
                return False
    except Exception:  # of whatever kind, inside a runtime
        return False
    return True
