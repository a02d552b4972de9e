"""How many samples example inputs hold: found by trying, for shapes alone don't tell.

A dimension counts the samples if a model gives each of them the same result whatever the others are. Sequences laid out
[time, batch, features] and inputs without a batch dimension are told apart in this way from [batch, ...].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.rnn import PackedSequence

from evoprune.data.trees import map_tensors, tensors_in
from evoprune.errors import MeasurementError, UnsupportedModelError
from evoprune.nn_utils.calling import run_example, undisturbed
from evoprune.rng import isolated_rng

_PLACES: Final = (0, 1)
_TOLERANCE: Final = {torch.float16: 1e-2, torch.bfloat16: 5e-2}
_SEQUENTIAL: Final = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


def samples_in(model: nn.Module, example_inputs: Any, outputs: Sequence[Tensor] | None = None) -> int:
    """Number of samples in the inputs of one forward pass; the model is untouched.

    The first of the first two dimensions that is one long or whose entries don't depend on each other counts the samples; inputs
    without one are a single sample. Where all depend on each other, as in a network that compares the samples of a batch, it is
    the first dimension that inputs and outputs share. Nothing is run where the layer that reads the inputs decides.

    Args:
        model: Any module.
        example_inputs: Inputs of one forward pass.
        outputs: All tensors of the outputs for them, if they are known.

    Raises:
        UnsupportedModelError: The model can't run on the inputs.
    """
    if isinstance(example_inputs, PackedSequence):
        return int(example_inputs.batch_sizes[0])
    given = [tensor for tensor in tensors_in(example_inputs) if tensor.dim() > 0]
    if not given:
        return 1
    found, place = _place(model, example_inputs, given, outputs)
    return _by_shape(model, given, found) if place is None else given[0].shape[place]


def many_samples(samples: int) -> int:
    """A number of samples that code which goes by small numbers of them takes for many."""
    return samples + 8


def at_batch(model: nn.Module, example_inputs: Any, batch: int) -> Any:
    """The example inputs, repeated or cut along the dimension that counts the samples until there are `batch`.

    Noise is added to floats that are repeated, so that no two samples are alike: processors learn to predict the branches of
    equal ones, and max-pooling takes half the time that it takes with data.

    Args:
        model: The network; untouched.
        example_inputs: Inputs of one forward pass.
        batch: Number of samples, at least 1.

    Raises:
        MeasurementError: The inputs have no such dimension.
        UnsupportedModelError: The model can't run on them.
    """
    given = [tensor for tensor in tensors_in(example_inputs) if tensor.dim() > 0]
    packed = isinstance(example_inputs, PackedSequence) or not given
    place = None if packed else _place(model, example_inputs, given)[1]
    if place is None:
        raise MeasurementError(
            f"the example inputs can't be repeated to a batch of {batch}: none of their dimensions counts samples",
            "give example inputs of one sample with a dimension of length 1 for it, or leave the batch out",
        )
    samples = given[0].shape[place]

    def repeated(tensor: Tensor) -> Tensor:
        dim = _dim(tensor, place, samples)
        if dim is None:
            return tensor
        times = -(-batch // samples)
        many = torch.cat([tensor] * times, dim=dim).narrow(dim, 0, batch).contiguous()
        return _unlike(many) if times > 1 and (many.is_floating_point() or many.is_complex()) else many

    return example_inputs if batch == samples else map_tensors(example_inputs, repeated)


def _place(
    model: nn.Module, example_inputs: Any, given: Sequence[Tensor], known: Sequence[Tensor] | None = None
) -> tuple[Sequence[Tensor], int | None]:
    """The outputs of the model, and the dimension that counts the samples; None where there is none."""
    if known is not None:
        samples = given[0].shape[0]
        if samples == 1 or _is_obvious(model, given, known):
            return known, 0
        if _independent(model, example_inputs, [one for one in known if one.dim() > 0], 0, samples):
            return known, 0
    outputs = _run(model, example_inputs)
    for place, samples in zip(_PLACES, given[0].shape, strict=False):
        if samples == 1 or _independent(model, example_inputs, outputs, place, samples):
            return outputs, place
    return outputs, None


def _is_obvious(model: nn.Module, given: Sequence[Tensor], outputs: Sequence[Tensor]) -> bool:
    """Whether the first dimension counts the samples since a layer reads the inputs as a batch, and all outputs are as long.

    If they depended on each other it would be that dimension all the same.
    """
    modules = list(model.modules())
    first, batch = given[0], given[0].shape[0]
    if any(isinstance(module, _SEQUENTIAL) for module in modules) or not first.is_floating_point():
        return False
    convolutions = [module for module in modules if isinstance(module, _ConvNd)]
    reads = any(
        first.dim() == len(module.kernel_size) + 2 and first.shape[1] == module.in_channels for module in convolutions
    )
    if first.dim() == 2 and not convolutions:
        reads = any(weight.dim() == 2 and weight.shape[1] == first.shape[1] for weight in model.parameters())
    return reads and all(tensor.dim() > 0 and tensor.shape[0] == batch for tensor in (*given, *outputs))


def _run(model: nn.Module, inputs: Any) -> list[Tensor]:
    """The outputs that have dimensions; what is drawn at random is the same every time, and so is what the model keeps."""
    with undisturbed(model), isolated_rng(0):
        return [tensor.detach() for tensor in tensors_in(run_example(model, inputs)) if tensor.dim() > 0]


def _independent(model: nn.Module, inputs: Any, outputs: Sequence[Tensor], place: int, samples: int) -> bool:
    """Whether the results for the first and for the last sample stay as they are when all others change.

    Where a model can't take other values in all of its inputs, or answers with other shapes, as it does to the lengths of
    sequences, they change in its first input alone.
    """
    told = _unmoved(model, inputs, outputs, place, samples)
    if told is None:
        told = _unmoved(model, inputs, outputs, place, samples, first_alone=True)
    return bool(told)


def _unmoved(
    model: nn.Module, inputs: Any, outputs: Sequence[Tensor], place: int, samples: int, *, first_alone: bool = False
) -> bool | None:
    """The answer of `_independent`; None where the model doesn't take the others' values."""
    spread = [[dim for dim, size in enumerate(one.shape) if size and size % samples == 0] for one in outputs]
    if not any(spread):
        return False
    first = next(tensor for tensor in tensors_in(inputs) if tensor.dim() > 0)
    for kept in (0, samples - 1):

        def with_others(tensor: Tensor, kept: int = kept) -> Tensor:
            dim = _dim(tensor, place, samples)
            if dim is None or (first_alone and tensor is not first):
                return tensor
            return _unlike(tensor).index_copy(
                dim, torch.tensor([kept], device=tensor.device), tensor.narrow(dim, kept, 1)
            )

        try:
            changed = _run(model, map_tensors(inputs, with_others))
        except UnsupportedModelError:  # whatever a model may raise on values that it wasn't made for
            return None
        if [one.shape for one in changed] != [one.shape for one in outputs]:
            return None
        pairs = zip(outputs, changed, spread, strict=True)
        spread = [[dim for dim in dims if _same(one, other, dim, kept, samples)] for one, other, dims in pairs]
        if not any(spread):
            return False
    return True


def _dim(tensor: Tensor, place: int, samples: int) -> int | None:
    if tensor.dim() > place and tensor.shape[place] == samples:
        return place
    places = [other for other, size in enumerate(tensor.shape) if size == samples]
    return places[0] if len(places) == 1 else None


def _unlike(tensor: Tensor) -> Tensor:
    """A tensor of the same kind with other values, all of which a model may take."""
    if tensor.is_floating_point() or tensor.is_complex():
        noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        return (tensor + noise.to(tensor.device)).to(tensor.dtype)
    if tensor.dtype == torch.bool or tensor.numel() == 0:
        return tensor
    low, high = int(tensor.min()), int(tensor.max())
    if low == high:
        return tensor + (1 if low == 0 else -1)
    return low + (tensor - low + 1) % (high - low + 1)


def _same(one: Tensor, other: Tensor, dim: int, kept: int, samples: int) -> bool:
    """Whether the part of two results that belongs to one sample, along a dimension, is the same."""
    length = one.shape[dim] // samples
    first, second = (each.narrow(dim, kept * length, length) for each in (one, other))
    if not one.is_floating_point() and not one.is_complex():
        return torch.equal(first, second)
    finite = first[first.isfinite()].abs()
    atol = (float(finite.max()) if finite.numel() else 0.0) * _TOLERANCE.get(one.dtype, 1e-4)
    return torch.allclose(first, second, rtol=0.0, atol=atol, equal_nan=True)


def _by_shape(model: nn.Module, given: Sequence[Tensor], outputs: Sequence[Tensor]) -> int:
    """Where no dimension holds independent samples."""
    first = given[0].shape[0]
    if given[0].dim() == 1 and given[0].is_floating_point():
        return 1
    kinds = [module for module in model.modules() if isinstance(module, (*_SEQUENTIAL, _ConvNd))]
    if any(isinstance(module, _SEQUENTIAL) for module in kinds):
        return 1
    if any(isinstance(module, _ConvNd) and given[0].dim() == len(module.kernel_size) + 1 for module in kinds):
        return 1
    shared = all(tensor.shape[0] == first for tensor in (*given, *outputs))
    return max(1, first) if shared else 1
