"""What a model costs: multiply-accumulates, parameters, bytes, peak activation memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from evoprune.artifact import weight_bytes
from evoprune.space.calling import batch_size, named_tensors, run_example, tensors_in, undisturbed
from evoprune.space.dispatching import WatchingMode
from evoprune.space.flops import flop_formula


@dataclass(frozen=True)
class ComputeReport:
    """Cost of one model.

    Attributes:
        macs: Multiply-accumulates of convolutions and matrix products for one sample.
        params: Parameters, shared ones once.
        size_bytes: Length of the weights as a safetensors file.
        peak_activation_bytes: Most bytes of tensors other than the model's own alive at once, with the inputs, per sample.
    """

    macs: int
    params: int
    size_bytes: int
    peak_activation_bytes: int


def count(model: nn.Module, example_inputs: Any) -> ComputeReport:
    """Count what `model` costs on one sample; the model is untouched.

    The model runs once, in evaluation mode, with attention in its plain form. Example inputs may be a batch of b, the
    first dimension of the first tensor among them: MACs and activation bytes are divided by b.

    Raises:
        UnsupportedModelError: The model can't run on the inputs.
    """
    meter = Meter({StorageWeakRef(tensor.untyped_storage()).cdata for tensor in named_tensors(model).values()})
    for tensor in tensors_in(example_inputs):
        meter.add(tensor)
    with undisturbed(model), meter:
        run_example(model, example_inputs)
    samples = batch_size(example_inputs)
    return ComputeReport(
        macs=round(meter.flops / 2 / samples),
        params=sum(parameter.numel() for parameter in model.parameters()),
        size_bytes=len(weight_bytes(model)),
        peak_activation_bytes=round(meter.peak_bytes / samples),
    )


class Meter(WatchingMode):
    """Adds up FLOPs by torch's own formulas, and follows the storages of all results while they live.

    Args:
        ignored: Storages that don't count, by address: those of the model's own tensors.
    """

    def __init__(self, ignored: set[int]) -> None:
        super().__init__()
        self.flops = 0
        self.peak_bytes = 0
        self._ignored = ignored
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's storage from now on."""
        if tensor.layout != torch.strided:
            return
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)
        if reference.cdata not in self._ignored:
            self._live[reference.cdata] = (reference, storage.nbytes())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, forget the storages that have gone, count those that have come."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        formula = flop_formula(func)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=result)
        self._live = {key: entry for key, entry in self._live.items() if not entry[0].expired()}
        for tensor in tensors_in(result):
            self.add(tensor)
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self._live.values()))
        return result
