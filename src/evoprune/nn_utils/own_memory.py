"""Weights that lie in the same memory without being the same parameter: copies of a network don't keep such ties."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from evoprune.errors import UnsupportedModelError
from evoprune.nn_utils.calling import named_tensors
from evoprune.nn_utils.dispatch import storage_address


def require_own_memory(model: nn.Module) -> None:
    """Accept networks whose copies learn as they do.

    `copy.deepcopy`, files and worker processes give every parameter and buffer memory of its own. A weight that learns and whose
    memory has another name, as after `decoder.weight.data = encoder.weight.data`, would come apart from it in training.

    Raises:
        UnsupportedModelError: There is one.
    """
    at: dict[int, list[tuple[str, Tensor]]] = defaultdict(list)
    for name, tensor in named_tensors(model).items():
        if not is_lazy(tensor) and tensor.numel() and storage_address(tensor) and tensor.device.type != "meta":
            at[storage_address(tensor)].append((name, tensor))
    for held in at.values():
        for (first, one), (second, other) in combinations(held, 2):
            if (one.requires_grad or other.requires_grad) and _overlap(one, other):
                raise UnsupportedModelError(
                    f"{first} and {second} share memory without being one parameter: trained copies would not keep that",
                    "give both modules the same nn.Parameter (`decoder.weight = encoder.weight`), or compute one from the other "
                    "in forward",
                )


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors of one storage have an element in common."""
    (first, end), (start, last) = _span(one), _span(other)
    if end <= start or last <= first:
        return False
    gapless = one.nbytes == end - first and other.nbytes == last - start
    return gapless or bool(torch.isin(_places(one), _places(other)).any())


def _span(tensor: Tensor) -> tuple[int, int]:
    """The first place in the storage that a tensor reads, in bytes, and the one after its last."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    first = int(tensor.storage_offset())
    last = first + sum((int(size) - 1) * int(stride) for size, stride in steps)
    return first * tensor.element_size(), (last + 1) * tensor.element_size()


def _places(tensor: Tensor) -> Tensor:
    """Where in the storage each element of a tensor lies, in bytes."""
    first, end = (place // tensor.element_size() for place in _span(tensor))
    order = torch.arange(first, end).as_strided(tensor.shape, tensor.stride())
    return order.reshape(-1) * tensor.element_size()
