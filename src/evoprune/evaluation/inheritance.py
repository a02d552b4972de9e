"""What a pruned network has learnt, handed on to another cut of the same dense network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from evoprune.errors import StoreCorruptedError
from evoprune.nn_utils.calling import named_tensors
from evoprune.nn_utils.weights import parse_weights, save_tensors
from evoprune.plan import Indices, PruningPlan

_NOTHING: Final[Mapping[int, Indices]] = {}


@dataclass(frozen=True)
class Trained:
    """A pruned network after its training.

    Attributes:
        plan: Says what it keeps of the dense network.
        tensors: Its parameters and buffers by name.
    """

    plan: PruningPlan
    tensors: Mapping[str, Tensor]


def trained_bytes(model: nn.Module) -> bytes:
    """Parameters and buffers as the bytes of a safetensors file, the same for equal ones."""
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in named_tensors(model).items()}
    return save_tensors(dict(sorted(tensors.items())))


def read_trained(content: bytes, plan: PruningPlan, origin: str) -> Trained:
    """Read what `trained_bytes` gave; `origin` is for the error message.

    Raises:
        StoreCorruptedError: It is something else.
    """
    return Trained(plan, parse_weights(content, origin))


@torch.no_grad()
def inherit(model: nn.Module, plan: PruningPlan, dense: nn.Module, parent: Trained) -> None:
    """Give a pruned network what its parent has learnt, in place.

    What both keep has the parent's values; what the parent had cut away keeps those of the dense network.

    Args:
        model: A network that was cut from `dense`.
        plan: Says what it keeps.
        dense: The dense network of both.
        parent: The parent after its training.

    Raises:
        StoreCorruptedError: Its weights are not those of what its plan keeps.
    """
    whole = named_tensors(dense)
    for name, tensor in named_tensors(model).items():
        kept, before = plan.kept.get(name, _NOTHING), parent.plan.kept.get(name, _NOTHING)
        same = _same(kept, before)
        value = parent.tensors.get(name)
        if value is None or value.shape != (tensor.shape if same else _shape(whole[name], before)):
            raise StoreCorruptedError(
                f"{name} of the trained weights is not of the network that they belong to",
                "restore the journal and the states of the run from a copy",
            )
        value = value.to(tensor.device)
        if not same:
            value = _taken(_put_back(whole[name].detach(), before, value), kept)
        tensor.copy_(value)


def _same(one: Mapping[int, Indices], other: Mapping[int, Indices]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[dim], other[dim]) for dim in one)


def _shape(whole: Tensor, kept: Mapping[int, Indices]) -> tuple[int, ...]:
    return tuple(len(kept[dim]) if dim in kept else size for dim, size in enumerate(whole.shape))


def _put_back(whole: Tensor, kept: Mapping[int, Indices], value: Tensor) -> Tensor:
    """`whole` with a part of it replaced: the positions that are kept in every dimension."""
    if not kept:
        return value
    dim, *others = kept
    positions = torch.as_tensor(kept[dim], device=whole.device)
    slices = whole.index_select(dim, positions)
    inner = {one: kept[one] for one in others}
    return whole.index_copy(dim, positions, _put_back(slices, inner, value) if inner else value)


def _taken(whole: Tensor, kept: Mapping[int, Indices]) -> Tensor:
    for dim, indices in kept.items():
        whole = whole.index_select(dim, torch.as_tensor(indices, device=whole.device))
    return whole
