"""How far a run of a network came: which modules ended, which were running, and what the ended ones returned, in short."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from evoprune.data.trees import tensors_in

_SAMPLED: Final = 256

Summary = tuple[tuple[int, ...], Tensor]
"""Shape and some of the values of a tensor, always those at the same places."""


@dataclass
class Journey:
    """One run.

    Attributes:
        running: Modules that have begun and not ended, outermost first.
        given: Shapes of the tensors that each of those was given by position.
        ended: Modules that have ended, in order, repeated calls included.
        summaries: What each of those returned; empty where nobody asked.
        summarised: Whether anybody asks.
    """

    running: list[str] = field(default_factory=list)
    given: list[list[tuple[int, ...]]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    summaries: list[list[Summary]] = field(default_factory=list)
    summarised: bool = False


@contextmanager
def followed(model: nn.Module, journey: Journey) -> Iterator[None]:
    """Note in `journey` what modules of `model` do for as long as this lasts."""
    names = {id(module): name for name, module in model.named_modules()}

    def enter(module: nn.Module, args: Any) -> None:
        if id(module) in names:
            journey.running.append(names[id(module)])
            journey.given.append([tuple(tensor.shape) for tensor in tensors_in(args)])

    def leave(module: nn.Module, _: Any, outputs: Any) -> None:
        if id(module) in names:
            if journey.running:
                journey.running.pop()
                journey.given.pop()
            journey.ended.append(names[id(module)])
            journey.summaries.append([summary(tensor) for tensor in tensors_in(outputs)] if journey.summarised else [])

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def summary(tensor: Tensor) -> Summary:
    """What tells one tensor from another, whatever their memory layout."""
    flat = tensor.detach().flatten()
    return tuple(tensor.shape), flat[:: max(1, flat.numel() // _SAMPLED)].clone()


def alike(one: Summary, other: Summary, tolerance: float) -> bool:
    """Whether two summaries may be of equal tensors."""
    (shape, values), (other_shape, others) = one, other
    if shape != other_shape:
        return False
    if not values.is_floating_point() or not values.numel():
        return torch.equal(values, others)
    try:
        gap = (values - others).abs().nan_to_num(posinf=0.0)
        return bool(gap.max() <= tolerance * others.abs().nan_to_num(posinf=0.0).max().clamp(min=1e-30))
    except RuntimeError:  # inside of `torch.vmap`
        return True
