"""What a model costs: multiply-accumulates, parameters, bytes, peak activation memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from evoprune.data.trees import tensors_in
from evoprune.nn_utils.calling import named_tensors, run_example, undisturbed
from evoprune.nn_utils.dispatch import WatchingMode
from evoprune.nn_utils.flops import flops_of, is_uncounted, operation_name
from evoprune.nn_utils.quantised import packed_weights
from evoprune.nn_utils.samples import samples_in
from evoprune.nn_utils.weights import weights_of


@dataclass(frozen=True)
class ComputeReport:
    """Cost of one model.

    Attributes:
        macs: Multiply-accumulates of convolutions and matrix products for one sample.
        params: Parameters, shared ones once.
        size_bytes: Length of the weights as a safetensors file.
        peak_activation_bytes: Largest number of bytes per sample of tensors alive at once; inputs count, the model's own don't.
        uncounted: Names of operations that ran and may multiply and accumulate, but for which there is no formula: `macs` leaves
            them out.
    """

    macs: int
    params: int
    size_bytes: int
    peak_activation_bytes: int
    uncounted: tuple[str, ...] = ()


def count(model: nn.Module, example_inputs: Any, *, samples: int | None = None) -> ComputeReport:
    """Count what `model` costs on one sample; the model is untouched.

    The model runs in evaluation mode, with attention in its plain form. MACs and activation bytes are divided by the number of
    samples in the example inputs. What counts stands in `evoprune.nn_utils.flops`; the packed weights of layers that are
    quantised already are parameters as well.

    Args:
        model: Any module.
        example_inputs: A tensor, a tuple of positional or a dict of keyword arguments for one forward pass.
        samples: Number of samples that they hold; found out when None, by the rule of `evoprune.nn_utils.samples`.

    Raises:
        UnsupportedModelError: The model can't run on the inputs.
    """
    meter = _metered(model, example_inputs)
    samples = samples or samples_in(model, example_inputs)
    packed = packed_weights(model)
    return ComputeReport(
        macs=round(meter.flops / 2 / samples),
        params=sum(tensor.numel() for tensor in (*model.parameters(), *packed)),
        size_bytes=_file_size(model, packed),
        peak_activation_bytes=round(meter.peak_bytes / samples),
        uncounted=tuple(meter.uncounted),
    )


def uncounted_operations(model: nn.Module, example_inputs: Any) -> tuple[str, ...]:
    """What `count` says of operations that MACs leave out, without the rest.

    Raises:
        UnsupportedModelError: The model can't run on the inputs.
    """
    return tuple(_metered(model, example_inputs).uncounted)


@torch.inference_mode(False)
def _metered(model: nn.Module, example_inputs: Any) -> Meter:
    meter = Meter({StorageWeakRef(tensor.untyped_storage()).cdata for tensor in named_tensors(model).values()})
    for tensor in tensors_in(example_inputs):
        meter.add(tensor)
    with undisturbed(model), meter:
        run_example(model, example_inputs)
    return meter


def _file_size(model: nn.Module, packed: Sequence[Tensor]) -> int:
    """Bytes of a safetensors file of the weights; it has no place for packed ones, which count as they are."""
    weights = weights_of(model)
    if packed:
        found = (model.named_parameters, model.named_buffers)
        ordinary = {name for each in found for name, _ in each(remove_duplicate=False)}
        weights = {name: tensor for name, tensor in weights.items() if name in ordinary}
    return len(save(weights)) + sum(tensor.numel() * tensor.element_size() for tensor in packed)


class Meter(WatchingMode):
    """Adds up FLOPs by torch's own formulas, and follows the storages of all results while they live.

    Args:
        ignored: Storages that don't count, by address: those of the model's own tensors.
    """

    def __init__(self, ignored: set[int]) -> None:
        super().__init__()
        self.flops = 0
        self.peak_bytes = 0
        self.uncounted: dict[str, None] = {}
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
        if is_uncounted(func) and (parts := self.in_parts(func, types, args, kwargs)) is not NotImplemented:
            return parts
        result = func(*args, **kwargs)
        flops = flops_of(func, args, kwargs, result)
        if flops is None:
            self.uncounted[operation_name(func)] = None
        else:
            self.flops += flops
        self._live = {key: entry for key, entry in self._live.items() if not entry[0].expired()}
        for tensor in tensors_in(result):
            self.add(tensor)
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self._live.values()))
        return result
